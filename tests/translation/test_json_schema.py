"""Schemas are rewritten without losing what a model should know."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from anthropic import transform_schema
from hypothesis import given
from hypothesis import strategies as st

from api.services.translation.json_schema import (
    MAX_OPTIONAL,
    MAX_UNIONS,
    Complexity,
    InvalidSchema,
    close_schema,
    flatten_root,
    measure,
    tool_schema,
)
from tests.fake_upstream.anthropic_schemas import check_output_schema

STRING = {"type": "string"}
INTEGER = {"type": "integer"}

scalars = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "format": "email", "minLength": 2},
        {"type": "string", "format": "color", "description": "A colour."},
        {"type": "integer", "minimum": 1, "maximum": 9, "title": "N"},
        {"type": "number", "multipleOf": 0.5, "default": True},
        {"type": "boolean", "description": "Yes?"},
        {"type": "null"},
        {"enum": ["a", 1, None]},
        {"type": "string", "enum": ["a", "b"]},
        {"type": "string", "enum": [], "x-order": {"k": [1]}},
        {"const": "x", "type": "string", "title": "T"},
        {"$ref": "#/$defs/D", "description": "dropped"},
        {"type": "array", "minItems": 1, "maxItems": 3},
        {"type": "array", "minItems": 2},
        {"type": "array", "uniqueItems": True},
    ]
)


def _nested(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(children, min_size=1, max_size=3)
    names = st.sampled_from(["a", "b", "$ref", "définition"])
    return st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, children),
        st.builds(lambda key, branches: {key: branches}, st.sampled_from(["anyOf", "oneOf", "allOf"]), some),
        st.builds(
            lambda properties, rest: {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                **rest,
            },
            st.dictionaries(names, children, min_size=1, max_size=3),
            st.sampled_from([{}, {"additionalProperties": False}, {"description": "d", "minProperties": 1}]),
        ),
    )


@given(st.recursive(scalars, _nested, max_leaves=12))
def test_a_closed_schema_is_what_the_anthropic_sdk_would_send(schema: dict[str, Any]) -> None:
    root = {"$defs": {"D": STRING}, "type": "object", "properties": {"x": schema}, "required": ["x"]}
    before = copy.deepcopy(root)
    assert close_schema(root) == transform_schema(root)
    assert root == before


def test_unsupported_keywords_move_into_the_description() -> None:
    assert close_schema({"type": "integer", "minimum": 1, "description": "A number."}) == {
        "type": "integer",
        "description": "A number.\n\n{minimum: 1}",
    }


def test_a_list_of_types_is_kept() -> None:
    assert close_schema({"type": ["string", "null"], "format": "date", "maxLength": 3}) == {
        "type": ["string", "null"],
        "format": "date",
        "description": "{maxLength: 3}",
    }
    assert close_schema({"type": ["object", "null"], "properties": {"a": STRING}}) == {
        "type": ["object", "null"],
        "properties": {"a": STRING},
        "additionalProperties": False,
    }


def test_notes_for_tools_are_not_for_the_model() -> None:
    assert close_schema({"$schema": "https://json-schema.org/x", "$id": "i", "type": "string"}) == STRING


def test_old_definitions_are_found() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/definitions/A~1B"}},
        "definitions": {"A/B": STRING},
    }
    assert close_schema(schema) == {
        "$defs": {"A/B": STRING},
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A~1B"}},
        "additionalProperties": False,
    }


def test_a_reference_to_the_first_use_is_written_out() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "object", "properties": {"n": INTEGER}},
            "b": {"$ref": "#/properties/a"},
            "c": {"anyOf": [{"type": "null"}, {"$ref": "#/properties/a/properties/n"}]},
        },
    }
    closed = close_schema(schema)
    assert closed is not None
    assert closed["properties"]["b"] == closed["properties"]["a"]
    assert closed["properties"]["c"] == {"anyOf": [{"type": "null"}, INTEGER]}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"description": "no type"},
        {"type": "any"},
        {"type": 3},
        {"type": []},
        {"type": "object"},
        {"type": "object", "additionalProperties": True},
        {"type": "object", "additionalProperties": STRING},
        {"type": "object", "properties": {"a": True}},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": [1]},
        {"type": "object", "properties": {"a": STRING}, "required": ["b"]},
        {"type": "object", "properties": {"a": STRING}, "required": "a"},
        {"type": "array", "items": [STRING, STRING]},
        {"enum": [{"a": 1}]},
        {"anyOf": [STRING], "allOf": [STRING]},
        {"anyOf": [STRING, {}]},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/Missing"},
        {"$ref": "#"},
        {"$ref": 1},
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "array", "items": {"$ref": "#/$defs/A"}}}},
        {
            "type": "object",
            "properties": {"a": {"type": "array", "items": {"$ref": "#/properties/a"}}},
        },
        {
            "$defs": {"A": {"type": "array", "items": {"$ref": "#/properties/a"}}},
            "type": "object",
            "properties": {"a": {"type": "array", "items": {"$ref": "#/$defs/A"}}},
        },
        {
            "$defs": {
                "A": {"type": "array", "items": {"$ref": "#/$defs/B"}},
                "B": {"type": "array", "items": {"$ref": "#/$defs/A"}},
            },
            "$ref": "#/$defs/A",
        },
    ],
)
def test_what_cannot_be_said_is_not_closed(schema: dict[str, Any]) -> None:
    assert close_schema(schema) is None


def test_references_that_multiply_are_not_written_out_forever() -> None:
    levels = {
        f"p{level}": {
            "type": "object",
            "properties": {
                "left": {"$ref": f"#/properties/p{level + 1}"},
                "right": {"$ref": f"#/properties/p{level + 1}"},
            },
        }
        for level in range(40)
    }
    schema = {"type": "object", "properties": {**levels, "p40": STRING}}
    assert close_schema(schema) is None
    flat = flatten_root(
        {
            "$defs": {f"D{level}": {"allOf": [{"$ref": f"#/$defs/D{level + 1}"}] * 2} for level in range(60)},
            "$ref": "#/$defs/D0",
        }
    )
    assert flat["properties"] == {}


def test_what_the_limits_count() -> None:
    closed = close_schema(
        {
            "type": "object",
            "properties": {
                "a": STRING,
                "b": {"anyOf": [STRING, {"type": "null"}]},
                "c": {"type": ["string", "null"]},
                "d": {"type": "array", "items": {"type": "object", "properties": {"e": STRING, "f": STRING}}},
            },
            "required": ["a", "b"],
        }
    )
    assert closed is not None
    assert measure(closed) == Complexity(optional=4, unions=2)
    assert Complexity(MAX_OPTIONAL, MAX_UNIONS).is_allowed
    assert not (Complexity(MAX_OPTIONAL, 0) + Complexity(1, 0)).is_allowed
    assert not (Complexity(0, MAX_UNIONS) + Complexity(0, 1)).is_allowed


@pytest.mark.parametrize("parameters", [None, {}])
def test_a_tool_without_parameters_takes_an_empty_object(parameters: dict[str, Any] | None) -> None:
    assert tool_schema(parameters) == ({"type": "object", "properties": {}}, False)


def test_a_tool_schema_keeps_what_it_does_not_know() -> None:
    parameters = {
        "properties": None,
        "required": None,
        "$defs": {"D": STRING},
        "additionalProperties": {"anyOf": [STRING]},
        "x-k": 1,
    }
    schema, is_flattened = tool_schema(parameters)
    assert schema == {
        "type": "object",
        "properties": {},
        "$defs": {"D": STRING},
        "additionalProperties": {"anyOf": [STRING]},
        "x-k": 1,
    }
    assert next(iter(schema)) == "type"
    assert not is_flattened
    assert parameters["properties"] is None


def test_a_nullable_object_is_an_object() -> None:
    assert tool_schema({"type": ["null", "object"], "properties": {"a": STRING}})[0]["type"] == "object"


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "string"},
        {"type": None},
        {"type": ["string", "null"]},
        {"type": {"a": 1}},
        {"properties": []},
        {"properties": {}, "required": "a"},
        {"properties": {}, "required": [1]},
    ],
)
def test_a_tool_schema_that_no_upstream_takes_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidSchema):
        tool_schema(parameters)


def test_branches_of_a_union_join_and_require_what_all_require() -> None:
    schema = {
        "type": "object",
        "properties": {"action": STRING},
        "required": ["action"],
        "oneOf": [
            {"properties": {"action": {"const": "a"}, "x": STRING, "n": INTEGER}, "required": ["n", "x"]},
            {"properties": {"action": {"const": "b"}, "x": INTEGER, "n": INTEGER}, "required": ["n"]},
        ],
        "description": "kept",
    }
    assert tool_schema(schema) == (
        {
            "type": "object",
            "properties": {"action": STRING, "x": {"anyOf": [STRING, INTEGER]}, "n": INTEGER},
            "required": ["action", "n"],
            "description": "kept",
        },
        True,
    )


def test_all_branches_of_an_intersection_are_required() -> None:
    schema = {
        "$defs": {"Named": {"type": "object", "properties": {"name": STRING}, "required": ["name"]}},
        "allOf": [
            {"$ref": "#/$defs/Named"},
            {"properties": {"age": INTEGER, "name": {"minLength": 1}}, "required": ["age"]},
        ],
    }
    assert tool_schema(schema)[0] == {
        "type": "object",
        "$defs": schema["$defs"],
        "properties": {"name": {"allOf": [STRING, {"minLength": 1}]}, "age": INTEGER},
        "required": ["name", "age"],
    }


def test_a_reference_at_the_root_is_written_out() -> None:
    schema = {"$ref": "#/$defs/T", "$defs": {"T": {"properties": {"a": STRING}, "required": ["a"]}}}
    assert tool_schema(schema)[0] == {
        "type": "object",
        "$defs": schema["$defs"],
        "properties": {"a": STRING},
        "required": ["a"],
    }


@pytest.mark.parametrize("reference", ["#/$defs/Loop", "#/nowhere", "https://example.com"])
def test_a_root_that_leads_nowhere_is_an_empty_object(reference: str) -> None:
    schema = {"$ref": reference, "$defs": {"Loop": {"$ref": "#/$defs/Loop"}}}
    assert tool_schema(schema)[0]["properties"] == {}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just("#/$defs/a"),
        lambda children: (
            st.lists(children, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "properties",
                        "required",
                        "anyOf",
                        "oneOf",
                        "allOf",
                        "$ref",
                        "$defs",
                        "items",
                        "enum",
                        "a",
                    ]
                ),
                children,
                max_size=5,
            )
        ),
        max_leaves=30,
    )
)
def test_any_json_in_a_schema_is_closed_or_refused(value: Any) -> None:
    root = {"type": "object", "properties": {"a": value}, "$defs": {"a": value}}
    close_schema(root)
    for parameters in (root, value):
        if isinstance(parameters, dict):
            try:
                schema, _ = tool_schema(parameters)
            except InvalidSchema:
                continue
            assert schema["type"] == "object"
            assert schema.keys().isdisjoint({"anyOf", "oneOf", "allOf"})


ODD_VALUES: list[Any] = [
    *(None, True, 0, 1, -1, 1.0, 2**64, 10**400, "", "x", "\ud83d", "object", "uuid", "#/$defs/a"),
    *([], [1], ["q"], [None], [[]], [{}], ["object"], {}, {"a": 1}, STRING, [STRING], {"q": {}}),
]


@pytest.mark.parametrize(
    "keyword",
    [
        "type",
        "enum",
        "const",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "$defs",
        "properties",
        "required",
        "items",
        "minItems",
        "maxItems",
        "minimum",
        "format",
        "description",
        "title",
        "additionalProperties",
        "not",
        "pattern",
        "default",
    ],
)
def test_a_keyword_with_an_odd_value_is_closed_so_that_it_compiles_or_not_at_all(keyword: str) -> None:
    for value in ODD_VALUES:
        odd = {keyword: value}
        for schema in (
            odd,
            {"type": "object", "properties": {"q": STRING}, "required": ["q"]} | odd,
            {"type": "object", "properties": {"q": {"type": ["string", "null"]} | odd}},
            {"type": "object", "properties": {"q": {"type": "array", "items": STRING} | odd}},
            {"anyOf": [{"type": "object", "properties": {"q": STRING}} | odd, {"type": "null"}]},
            {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "properties": {"q": INTEGER}} | odd}},
        ):
            closed = close_schema(schema)
            if closed is not None:
                check_output_schema(closed, "schema")
                measure(closed)
