"""JSON schemas rewritten for upstreams that compile them, or that are picky at the root.

Owns two rewrites, both on copies: `close_schema` for structured outputs and strict tools,
where what the compiler does not know moves into the description; `flatten_root` for tool
schemas with a combinator at their root. A schema that cannot be said at all gives None,
and the caller falls back.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from api.services.translation.conversation import JsonObject

MAX_STRICT_TOOLS: Final = 20
MAX_OPTIONAL: Final = 24
MAX_UNIONS: Final = 16
"""Per request, over all strict tools and the response format together."""

_MAX_NODES: Final = 5000
_MAX_BRANCHES: Final = 500
"""References that are written out where they stand can grow without bound; these are the bounds."""

_TYPES: Final = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_COMBINATORS: Final = ("anyOf", "oneOf", "allOf")
_DEFINITIONS: Final = ("$defs", "definitions")
# Keywords for people and tools: nothing that a model should be told.
_NOTES: Final = frozenset({"$schema", "$id", "$comment"})


class _NotRepresentable(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Complexity:
    """What the upstream's limits count."""

    optional: int = 0
    unions: int = 0

    def __add__(self, other: Complexity) -> Complexity:
        return Complexity(self.optional + other.optional, self.unions + other.unions)

    @property
    def is_allowed(self) -> bool:
        return self.optional <= MAX_OPTIONAL and self.unions <= MAX_UNIONS


def close_schema(schema: JsonObject) -> JsonObject | None:
    """The schema as a compiler of structured outputs takes it, or None where it cannot be said.

    Objects are closed, unions are `anyOf`, and a keyword without support stands in the
    description as a hint. Not to be said: recursion, outside references, a schema
    without a type, and an open object, whose closed form could only be empty.
    """
    try:
        return _Closer(schema).close_root()
    except _NotRepresentable:
        return None


class _Closer:
    """One rewrite. `_nodes` counts what was written, `_open` holds the references being written out."""

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._definitions = _definitions(root)
        self._nodes = 0
        self._open: list[str] = []

    def close_root(self) -> JsonObject:
        closed: JsonObject = {}
        if self._definitions:
            closed["$defs"] = {name: self._close(schema) for name, schema in self._definitions.items()}
            _refuse_recursion(closed["$defs"])
        root = {key: value for key, value in self._root.items() if key not in _DEFINITIONS}
        return closed | self._close(root)

    def _close(self, schema: Any) -> JsonObject:
        self._nodes += 1
        if not isinstance(schema, dict) or self._nodes > _MAX_NODES:
            raise _NotRepresentable
        if "$ref" in schema:
            return self._close_reference(schema["$ref"])
        rest = {key: value for key, value in schema.items() if key not in _NOTES}
        if not rest.keys().isdisjoint(_DEFINITIONS):
            # References into a nested list of definitions are written out where they stand.
            rest = {key: value for key, value in rest.items() if key not in _DEFINITIONS}
        closed: JsonObject = {}
        types = self._close_kind(rest, closed)
        for key in ("description", "title"):
            if isinstance(rest.get(key), str):
                closed[key] = rest.pop(key)
        if "object" in types:
            self._close_object(rest, closed)
        if "string" in types and _is_text_of(_FORMATS, rest.get("format")):
            closed["format"] = rest.pop("format")
        if "array" in types:
            if rest.get("items") is not None:
                closed["items"] = self._close(rest.pop("items"))
            if type(rest.get("minItems")) is int and rest["minItems"] in (0, 1):
                closed["minItems"] = rest.pop("minItems")
        if rest:
            hints = "{" + ", ".join(f"{key}: {value}" for key, value in rest.items()) + "}"
            closed["description"] = (
                f"{closed['description']}\n\n{hints}" if "description" in closed else hints
            )
        return closed

    def _close_kind(self, rest: JsonObject, closed: JsonObject) -> tuple[str, ...]:
        """Write what says which values are meant: literals, a union or a type. Returns the types."""
        types = _types(rest.pop("type", None))
        enum = rest.get("enum")
        if isinstance(enum, list) and enum and all(_is_primitive(value) for value in enum):
            closed["enum"] = rest.pop("enum")
        if "const" in rest and _is_primitive(rest["const"]):
            closed["const"] = rest.pop("const")
        if closed:
            types = ()
        combinators = [key for key in _COMBINATORS if isinstance(rest.get(key), list)]
        if len(combinators) > 1:
            raise _NotRepresentable
        if combinators:
            key = combinators[0]
            closed["allOf" if key == "allOf" else "anyOf"] = [self._close(branch) for branch in rest.pop(key)]
        elif types:
            closed["type"] = types[0] if len(types) == 1 else list(types)
        elif not closed:
            raise _NotRepresentable
        return types

    def _close_object(self, rest: JsonObject, closed: JsonObject) -> None:
        properties = rest.pop("properties", None) or {}
        additional = rest.pop("additionalProperties", None)
        required = rest.pop("required", None)
        if not isinstance(properties, dict) or (not properties and additional is not False):
            raise _NotRepresentable
        closed["properties"] = {name: self._close(schema) for name, schema in properties.items()}
        closed["additionalProperties"] = False
        if required is not None:
            if not isinstance(required, list) or not all(_is_text_of(properties, name) for name in required):
                raise _NotRepresentable
            closed["required"] = required

    def _close_reference(self, reference: Any) -> JsonObject:
        name = _definition_name(reference)
        if name is not None and name in self._definitions:
            return {"$ref": f"#/$defs/{_escape(name)}"}
        # Some generators point at the first use of a schema instead of defining it.
        if not isinstance(reference, str) or reference in self._open:
            raise _NotRepresentable
        target = resolve(self._root, reference)
        self._open.append(reference)
        closed = self._close(target)
        self._open.pop()
        return closed


def _refuse_recursion(definitions: JsonObject) -> None:
    """Definitions that lead back to themselves cannot be compiled."""
    uses = {
        name: {used for used in map(_definition_name, _references(schema)) if used is not None}
        for name, schema in definitions.items()
    }
    try:
        TopologicalSorter(uses).prepare()
    except CycleError:
        raise _NotRepresentable from None


def measure(schema: JsonObject) -> Complexity:
    """Count the optional and the union-typed parameters of a closed schema."""
    total = Complexity()
    properties = schema.get("properties")
    if isinstance(properties, dict):
        total += Complexity(optional=len(properties.keys() - set(schema.get("required", ()))))
    if "anyOf" in schema or isinstance(schema.get("type"), list):
        total += Complexity(unions=1)
    for child in _children(schema):
        total += measure(child)
    return total


def _children(schema: JsonObject) -> Iterable[JsonObject]:
    yield from schema.get("$defs", {}).values()
    yield from schema.get("properties", {}).values()
    for key in ("anyOf", "allOf"):
        yield from schema.get(key, ())
    if "items" in schema:
        yield schema["items"]


class InvalidSchema(ValueError):
    """A tool's parameters that no upstream would take. The text is for the client."""


def tool_schema(parameters: JsonObject | None) -> tuple[JsonObject, bool]:
    """A tool's parameters as an object schema, and whether its root had to be flattened.

    Everything but the root is kept as it is, unknown keywords included. What is not the
    schema of an object raises InvalidSchema.
    """
    if not parameters:
        return {"type": "object", "properties": {}}, False
    kind = parameters.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise InvalidSchema(f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {_show(kind)}'")
    schema: JsonObject = {"type": "object"} | parameters | {"type": "object"}
    is_flattened = not parameters.keys().isdisjoint((*_COMBINATORS, "$ref"))
    if is_flattened:
        schema = flatten_root(schema)
    if "properties" in schema and schema["properties"] is None:
        schema["properties"] = {}
    if "required" in schema and schema["required"] is None:
        del schema["required"]
    if not isinstance(schema.get("properties", {}), dict):
        raise InvalidSchema("'properties' must be an object")
    required = schema.get("required", [])
    if not isinstance(required, list) or len(_texts(required)) != len(required):
        raise InvalidSchema("'required' must be an array of strings")
    return schema, is_flattened


def flatten_root(schema: JsonObject) -> JsonObject:
    """One object schema without a combinator or a reference at its root.

    The branches' properties join the root's. All that `allOf` requires stays required;
    of `anyOf` and `oneOf` only what every branch requires.
    """
    properties, required = _flatten(schema, schema, (), itertools.count())
    flat = {key: value for key, value in schema.items() if key not in (*_COMBINATORS, "$ref", "required")}
    flat["properties"] = properties
    if required:
        flat["required"] = required
    return flat


def _flatten(
    root: JsonObject, schema: Any, trail: tuple[str, ...], branches_seen: Iterator[int]
) -> tuple[JsonObject, list[str]]:
    """The properties and the required names of one branch, its own branches included."""
    if not isinstance(schema, dict) or len(trail) > 20 or next(branches_seen) > _MAX_BRANCHES:
        return {}, []
    own = schema.get("properties")
    properties: JsonObject = dict(own) if isinstance(own, dict) else {}
    required = dict.fromkeys(_texts(schema.get("required")))
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in trail:
        try:
            target = resolve(root, reference)
        except _NotRepresentable:
            target = {}
        _join(properties, required, [_flatten(root, target, (*trail, reference), branches_seen)], is_all=True)
    for key in _COMBINATORS:
        branches = schema.get(key)
        if isinstance(branches, list) and branches:
            flat = [_flatten(root, branch, (*trail, key), branches_seen) for branch in branches]
            _join(properties, required, flat, is_all=key == "allOf")
    return properties, list(required)


def _join(
    properties: JsonObject,
    required: dict[str, None],
    branches: list[tuple[JsonObject, list[str]]],
    *,
    is_all: bool,
) -> None:
    """Add what the branches say; a property that the root describes stays as the root has it."""
    found: dict[str, list[Any]] = {}
    for branch, _ in branches:
        for name, schema in branch.items():
            if schema not in found.setdefault(name, []):
                found[name].append(schema)
    for name, schemas in found.items():
        if name not in properties:
            combined = {"allOf" if is_all else "anyOf": schemas}
            properties[name] = schemas[0] if len(schemas) == 1 else combined
    names = [set(needed) for _, needed in branches]
    kept = set.union(*names) if is_all else set.intersection(*names)
    for _, needed in branches:
        required.update(dict.fromkeys(name for name in needed if name in kept))


def resolve(root: JsonObject, reference: str) -> Any:
    """What a local reference ("#/$defs/Item") points at; one that leads nowhere raises."""
    if not reference.startswith("#/"):
        raise _NotRepresentable
    value: Any = root
    for step in reference[2:].split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise _NotRepresentable
    return value


def _definitions(root: JsonObject) -> JsonObject:
    merged: JsonObject = {}
    for key in _DEFINITIONS:
        if isinstance(root.get(key), dict):
            merged |= root[key]
    return merged


def _definition_name(reference: Any) -> str | None:
    """The name that "#/$defs/Name" means, None for any other reference."""
    if not isinstance(reference, str):
        return None
    for key in _DEFINITIONS:
        prefix = f"#/{key}/"
        if reference.startswith(prefix) and "/" not in reference[len(prefix) :]:
            return reference[len(prefix) :].replace("~1", "/").replace("~0", "~")
    return None


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _references(value: Any) -> Iterable[str]:
    """Every reference in a schema, wherever it stands."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            if isinstance(item.get("$ref"), str):
                yield item["$ref"]
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _types(kind: Any) -> tuple[str, ...]:
    kinds = kind if isinstance(kind, list) else [] if kind is None else [kind]
    if len(_texts(kinds)) != len(kinds) or not _TYPES.issuperset(kinds):
        raise _NotRepresentable
    return tuple(dict.fromkeys(kinds))


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _is_text_of(known: Container[str], value: Any) -> bool:
    return isinstance(value, str) and value in known


def _is_primitive(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _show(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)[:100]
