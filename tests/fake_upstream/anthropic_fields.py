"""Field-by-field validation in the words of Anthropic's errors: `path: sentence`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tests.fake_upstream.rejection import Rejected

Kind = Literal["string", "integer", "number", "boolean", "list", "dictionary", "any"]
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "dictionary": (dict,),
}


@dataclass(frozen=True, slots=True)
class Field:
    kinds: tuple[Kind, ...]
    required: bool = False
    nullable: bool = False
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None


def string(*choices: str, required: bool = False, nullable: bool = False) -> Field:
    return Field(("string",), required, nullable, choices)


def check_fields(value: Any, fields: Mapping[str, Field], path: str) -> None:
    """An object with these fields and no others; a null is refused where the API has no null."""
    prefix = f"{path}." if path else ""
    if not isinstance(value, dict):
        raise Rejected(f"{path}: Input should be a valid dictionary")
    for name, field in fields.items():
        if name in value:
            check_field(value[name], field, prefix + name)
        elif field.required:
            raise Rejected(f"{prefix}{name}: Field required")
    for name in value:
        if name not in fields:
            raise Rejected(f"{prefix}{name}: Extra inputs are not permitted")


def check_field(value: Any, field: Field, path: str) -> None:
    if value is None and field.nullable:
        return
    if "any" in field.kinds:
        return
    if not any(_is_a(value, kind) for kind in field.kinds):
        raise Rejected(f"{path}: Input should be a valid {field.kinds[0]}")
    if field.choices and value not in field.choices:
        raise Rejected(f"{path}: Input should be {one_of(field.choices)}")
    if field.low is not None and value < field.low:
        raise Rejected(f"{path}: Input should be greater than or equal to {field.low}")
    if field.high is not None and value > field.high:
        raise Rejected(f"{path}: Input should be less than or equal to {field.high}")


def check_tag(value: Any, tags: Mapping[str, Any] | tuple[str, ...], path: str) -> str:
    """The `type` of a tagged object."""
    if not isinstance(value, dict):
        raise Rejected(f"{path}: Input should be a valid dictionary")
    if "type" not in value:
        raise Rejected(f"{path}.type: Field required")
    tag = value["type"]
    if not isinstance(tag, str) or tag not in tags:
        expected = ", ".join(f"'{name}'" for name in tags)
        raise Rejected(
            f"{path}: Input tag '{tag}' found using 'type' does not match any of the expected tags: {expected}"
        )
    return tag


def one_of(choices: tuple[str, ...]) -> str:
    quoted = [f"'{choice}'" for choice in choices]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _is_a(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])
