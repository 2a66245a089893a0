"""What Anthropic refuses about JSON schemas: nonsense anywhere, and what structured outputs cannot compile."""

from __future__ import annotations

from typing import Any

from tests.fake_upstream.rejection import Rejected
from tests.fake_upstream.schema_soundness import find_fault, inner_schemas

_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
_SUPPORTED = frozenset(
    {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "enum",
        "const",
        "anyOf",
        "allOf",
        "items",
        "minItems",
        "format",
        "$ref",
        "$defs",
        "definitions",
        "title",
        "description",
        "$schema",
        "$id",
    }
)


def check_json_schema(schema: Any, path: str) -> None:
    """That a tool's schema is a JSON Schema at all."""
    if find_fault(schema):
        raise Rejected(f"{path}: JSON schema is invalid. It must match JSON Schema draft 2020-12")


def check_output_schema(schema: Any, path: str) -> None:
    """That a schema can be compiled for constrained output."""
    check_json_schema(schema, path)
    _check_compilable(schema, schema, path, ())


def count_loose_parameters(schema: Any) -> tuple[int, int]:
    """Optional properties, and properties with union types, in a whole schema."""
    if not isinstance(schema, dict):
        return 0, 0
    properties = schema.get("properties", {})
    optional = len(set(properties) - set(schema.get("required", [])))
    unions = sum(
        1
        for inner in properties.values()
        if isinstance(inner, dict) and (isinstance(inner.get("type"), list) or "anyOf" in inner)
    )
    for inner in inner_schemas(schema):
        more = count_loose_parameters(inner)
        optional, unions = optional + more[0], unions + more[1]
    return optional, unions


def _check_compilable(schema: Any, root: Any, path: str, followed: tuple[str, ...]) -> None:
    if not isinstance(schema, dict):
        raise Rejected(f"{path}: boolean schemas are not supported")
    for keyword in schema:
        if keyword not in _SUPPORTED:
            kind = schema.get("type", "any")
            raise Rejected(f"{path}: For '{kind}' type, property '{keyword}' is not supported")
    if "$ref" in schema:
        _check_reference(schema, root, path, followed)
        return
    if not any(keyword in schema for keyword in ("type", "anyOf", "allOf", "enum", "const")):
        raise Rejected(f"{path}: schema must have a 'type', 'enum', 'const', 'anyOf', 'allOf' or '$ref'")
    if schema.get("format", _FORMATS[0]) not in _FORMATS:
        raise Rejected(f"{path}: String format '{schema['format']}' is not supported")
    if schema.get("minItems", 0) not in (0, 1):
        raise Rejected(f"{path}: For 'array' type, 'minItems' values other than 0 or 1 are not supported")
    if any(isinstance(value, dict | list) for value in schema.get("enum", [])):
        raise Rejected(f"{path}: 'enum' may only hold primitive values")
    kinds = schema.get("type")
    is_object = kinds == "object" or (isinstance(kinds, list) and "object" in kinds) or "properties" in schema
    if is_object and schema.get("additionalProperties") is not False:
        raise Rejected(f"{path}: For 'object' type, 'additionalProperties' must be explicitly set to false")
    for inner in inner_schemas(schema):
        _check_compilable(inner, root, path, followed)


def _check_reference(schema: dict[str, Any], root: Any, path: str, followed: tuple[str, ...]) -> None:
    reference = schema["$ref"]
    if not reference.startswith("#"):
        raise Rejected(f"{path}: External $ref '{reference}' is not supported")
    if reference in followed:
        raise Rejected(f"{path}: Circular $ref '{reference}' is not supported")
    target = root
    for step in reference[1:].strip("/").split("/"):
        if step:
            target = target.get(step) if isinstance(target, dict) else None
    if target is None:
        raise Rejected(f"{path}: $ref '{reference}' cannot be resolved")
    _check_compilable(target, root, path, (*followed, reference))
