"""What OpenAI refuses about tools, the tool choice and the response format."""

from __future__ import annotations

import re
from typing import Any

from tests.fake_upstream.openai_wording import Shape, bad_value, check_shape, require
from tests.fake_upstream.rejection import Rejected
from tests.fake_upstream.schema_soundness import find_fault

_NAME = "^[a-zA-Z0-9_-]+$"


def check_tools(body: dict[str, Any]) -> None:
    if body.get("tools") and body.get("functions"):
        raise Rejected(
            "Only one of 'tools' and 'functions' may be given: 'functions' is deprecated in favor of 'tools'."
        )
    for index, tool in enumerate(body.get("tools") or []):
        path = f"tools[{index}]"
        check_shape(tool, path, Shape("object"))
        kind = require(tool, "type", path)
        if kind not in ("function", "custom"):
            raise bad_value(kind, f"{path}.type", ("function", "custom"))
        definition = require(tool, kind, path)
        check_shape(definition, f"{path}.{kind}", Shape("object"))
        _check_definition(definition, f"{path}.{kind}")
    for index, function in enumerate(body.get("functions") or []):
        check_shape(function, f"functions[{index}]", Shape("object"))
        _check_definition(function, f"functions[{index}]")


def check_tool_choice(body: dict[str, Any]) -> None:
    tools = body.get("tools") or []
    for name in ("tool_choice", "parallel_tool_calls"):
        if body.get(name) is not None and not tools:
            raise Rejected(f"'{name}' is only allowed when 'tools' are specified.", param=name)
    choice = body.get("tool_choice")
    names = {tool[tool["type"]]["name"] for tool in tools}
    match choice:
        case None | "auto" | "none" | "required":
            return
        case str():
            raise bad_value(choice, "tool_choice", ("none", "auto", "required"))
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required", "tools": [*allowed]}}:
            wanted = [_allowed_name(tool) for tool in allowed]
        case {"type": "function", "function": {"name": str(name)}} | {
            "type": "custom",
            "custom": {"name": str(name)},
        }:
            wanted = [name]
        case _:
            raise Rejected("Invalid value for 'tool_choice'.", param="tool_choice", code="invalid_value")
    for entry in wanted:
        if entry not in names:
            raise Rejected(
                f"Tool choice '{entry}' not found in 'tools' parameter.",
                param="tool_choice",
                code="invalid_value",
            )


def check_response_format(body: dict[str, Any]) -> None:
    chosen = body.get("response_format")
    if chosen is None:
        return
    kind = require(chosen, "type", "response_format")
    if kind not in ("text", "json_object", "json_schema"):
        raise bad_value(kind, "response_format.type", ("json_object", "json_schema", "text"))
    if kind == "json_object" and "json" not in str(body["messages"]).lower():
        raise Rejected(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            param="messages",
        )
    if kind == "json_schema":
        path = "response_format.json_schema"
        definition = require(chosen, "json_schema", "response_format")
        check_shape(definition, path, Shape("object"))
        name = require(definition, "name", path)
        _check_name(name, f"{path}.name")
        check_shape(require(definition, "schema", path), f"{path}.schema", Shape("object"))
        _check_sound(
            definition["schema"], f"response_format '{name}'", "response_format", "invalid_json_schema"
        )
        if definition.get("strict"):
            _check_strict(definition["schema"], f"response_format '{name}'", "response_format", ())


def _allowed_name(tool: Any) -> str:
    match tool:
        case {"type": "function", "function": {"name": str(name)}} | {
            "type": "custom",
            "custom": {"name": str(name)},
        }:
            return name
    raise Rejected("Invalid value for 'tool_choice'.", param="tool_choice", code="invalid_value")


def _check_sound(schema: Any, what: str, param: str, code: str) -> None:
    fault = find_fault(schema)
    if fault:
        raise Rejected(f"Invalid schema for {what}: {fault}.", param=param, code=code)


def _check_definition(definition: dict[str, Any], path: str) -> None:
    name = require(definition, "name", path)
    _check_name(name, f"{path}.name")
    schema = definition.get("parameters")
    if schema is None:
        return
    check_shape(schema, f"{path}.parameters", Shape("object"))
    _check_sound(schema, f"function '{name}'", f"{path}.parameters", "invalid_function_parameters")
    kind = schema.get("type", "object" if not schema else None)
    if kind != "object":
        raise Rejected(
            f"Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \"object\"', "
            f"got 'type: \"{kind}\"'.",
            param=f"{path}.parameters",
            code="invalid_function_parameters",
        )
    if definition.get("strict"):
        _check_strict(schema, f"function '{name}'", f"{path}.parameters", ())


def _check_name(name: Any, path: str) -> None:
    check_shape(name, path, Shape("string"))
    if not re.fullmatch(_NAME, name):
        raise Rejected(
            f"Invalid '{path}': string does not match pattern. Expected a string that matches the pattern '{_NAME}'.",
            param=path,
            code="invalid_value",
        )
    if len(name) > 64:
        raise Rejected(
            f"Invalid '{path}': string too long. Expected a string with maximum length 64, but got a string "
            f"with length {len(name)} instead.",
            param=path,
            code="string_above_max_length",
        )


def _check_strict(schema: Any, what: str, param: str, context: tuple[str, ...]) -> None:
    """Strict schemas close every object and require every property."""
    if not isinstance(schema, dict):
        return
    code = "invalid_function_parameters" if what.startswith("function") else "invalid_json_schema"
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False:
            raise Rejected(
                f"Invalid schema for {what}: In context={context!r}, 'additionalProperties' is required to be "
                "supplied and to be false.",
                param=param,
                code=code,
            )
        missing = set(properties) - set(schema.get("required") or [])
        if missing:
            raise Rejected(
                f"Invalid schema for {what}: In context={context!r}, 'required' is required to be supplied and "
                f"to be an array including every key in properties. Missing '{min(missing)}'.",
                param=param,
                code=code,
            )
        for name, inner in properties.items():
            _check_strict(inner, what, param, (*context, "properties", name))
    if "items" in schema:
        _check_strict(schema["items"], what, param, (*context, "items"))
    for branch in schema.get("anyOf") or []:
        _check_strict(branch, what, param, (*context, "anyOf"))
    for inner in (schema.get("$defs") or {}).values():
        _check_strict(inner, what, param, (*context, "$defs"))
