"""Whether a value is a JSON Schema at all: the part that both APIs check before their own restrictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
BRANCHES = ("anyOf", "oneOf", "allOf")
_MAPS = ("properties", "$defs", "definitions")


def find_fault(schema: Any) -> str | None:
    """The first keyword with an impossible value, here or deeper; None when the schema is sound."""
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, dict):
        return f"{schema!r} is not of type 'object', 'boolean'"
    for keyword, is_sound in _KEYWORDS.items():
        if keyword in schema and not is_sound(schema[keyword]):
            return f"{schema[keyword]!r} is not valid for '{keyword}'"
    return next(filter(None, map(find_fault, inner_schemas(schema))), None)


def inner_schemas(schema: dict[str, Any]) -> Iterator[Any]:
    """The schemas right inside a sound one."""
    for keyword in _MAPS:
        yield from schema.get(keyword, {}).values()
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield schema[keyword]
    for keyword in BRANCHES:
        yield from schema.get(keyword, [])


def _is_type(value: Any) -> bool:
    kinds = value if isinstance(value, list) else [value]
    return bool(kinds) and all(kind in _TYPES for kind in kinds)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool)


_KEYWORDS: dict[str, Callable[[Any], bool]] = {
    "type": _is_type,
    "required": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "enum": _is_list,
    "examples": _is_list,
    "items": _is_schema,
    "additionalProperties": _is_schema,
    "format": _is_text,
    "$ref": _is_text,
    "description": _is_text,
    "title": _is_text,
    "multipleOf": lambda value: _is_number(value) and value > 0,
    **dict.fromkeys(_MAPS, _is_map),
    **dict.fromkeys(BRANCHES, _is_list),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _is_number),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _is_count),
}
