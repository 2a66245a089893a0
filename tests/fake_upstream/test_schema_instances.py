"""What the pretended model fills into schemas."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fake_upstream.schema_instances import make_instance

NODE: dict[str, Any] = {
    "type": "object",
    "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["next"],
}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, "some value"),
        (True, None),
        (
            {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]},
            {"a": "some a"},
        ),
        ({"type": "object", "required": ["undeclared"]}, {"undeclared": "some undeclared"}),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
        ({"type": "integer", "exclusiveMinimum": 7}, 8),
        ({"type": "integer", "maximum": -3}, -4),
        ({"type": "number", "minimum": 0.3}, 0.5),
        ({"type": ["null", "string"], "minLength": 12}, "some value.."),
        ({"type": "string", "maxLength": 3}, "som"),
        ({"type": "string", "format": "date"}, "2026-01-02"),
        ({"type": "null"}, None),
        ({"enum": ["x", "y"]}, "x"),
        ({"const": 0}, 0),
        ({"default": False}, False),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, 1),
        (
            {"allOf": [{"required": ["a"]}, {"properties": {"a": {"type": "integer"}}}], "type": "object"},
            {"a": 1},
        ),
        ({"$ref": "#/$defs/x~1y", "$defs": {"x/y": {"const": "found"}}}, "found"),
    ],
)
def test_an_instance_fits_its_schema(schema: Any, expected: Any) -> None:
    assert make_instance(schema) == expected


def test_words_of_the_user_fill_strings_in_order() -> None:
    schema = {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a", "b"]}
    assert make_instance(schema, ["Beijing"]) == {"a": "Beijing", "b": "some b"}


def test_recursion_ends() -> None:
    value = make_instance({**NODE, "$defs": {"node": NODE}})
    depth = 0
    while value is not None:
        value, depth = value["next"], depth + 1
    assert 0 < depth < 20
