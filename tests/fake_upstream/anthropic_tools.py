"""What Anthropic refuses about tools and the tool choice."""

from __future__ import annotations

import re
from typing import Any

from tests.fake_upstream.anthropic_fields import Field, check_fields, check_tag, string
from tests.fake_upstream.anthropic_models import Capabilities
from tests.fake_upstream.anthropic_schemas import (
    check_json_schema,
    check_output_schema,
    count_loose_parameters,
)
from tests.fake_upstream.rejection import Rejected

_NAME = "^[a-zA-Z0-9_-]{1,128}$"
_CUSTOM = {
    "type": string("custom", nullable=True),
    "name": string(required=True),
    "input_schema": Field(("dictionary",), required=True),
    "description": string(),
    "cache_control": Field(("dictionary",), nullable=True),
    "strict": Field(("boolean",)),
    "defer_loading": Field(("boolean",)),
    "eager_input_streaming": Field(("boolean",), nullable=True),
    "input_examples": Field(("list",)),
    "allowed_callers": Field(("list",)),
}
_WEB_SEARCH = {
    "type": string(required=True),
    "name": string("web_search", required=True),
    "allowed_callers": Field(("list",)),
    "allowed_domains": Field(("list",), nullable=True),
    "blocked_domains": Field(("list",), nullable=True),
    "cache_control": Field(("dictionary",), nullable=True),
    "defer_loading": Field(("boolean",)),
    "max_uses": Field(("integer",), nullable=True, low=1),
    "strict": Field(("boolean",)),
    "user_location": Field(("dictionary",), nullable=True),
}
_LOCATION = {
    "type": string("approximate", required=True),
    **{name: string(nullable=True) for name in ("city", "country", "region", "timezone")},
}
_SERVER_TOOL = re.compile(
    r"(bash|code_execution|browser_toolset|memory|computer_toolset|text_editor|web_fetch|web_search"
    r"|tool_search_tool_bm25|tool_search_tool_regex)_20\d{6}"
)
_CHOICES = {
    "auto": {"disable_parallel_tool_use": Field(("boolean",))},
    "any": {"disable_parallel_tool_use": Field(("boolean",))},
    "tool": {"name": string(required=True), "disable_parallel_tool_use": Field(("boolean",))},
    "none": {},
}
_MAX_STRICT, _MAX_OPTIONAL, _MAX_UNIONS = 20, 24, 16


def check_tools(body: dict[str, Any], row: Capabilities) -> None:
    tools = body.get("tools") or []
    for index, tool in enumerate(tools):
        path = f"tools.{index}"
        if not isinstance(tool, dict):
            raise Rejected(f"{path}: Input should be a valid dictionary")
        kind = tool.get("type") or "custom"
        if kind != "custom":
            _check_server_tool(tool, path)
            continue
        check_fields(tool, _CUSTOM, f"{path}.custom")
        if not re.fullmatch(_NAME, tool["name"]):
            raise Rejected(f"{path}.custom.name: String should match pattern '{_NAME}'")
        _check_input_schema(tool["input_schema"], f"{path}.custom.input_schema")
        if tool.get("strict"):
            if not row.has_structured_outputs:
                raise Rejected(f"{path}.custom.strict: This model does not support strict tools.")
            check_output_schema(tool["input_schema"], f"{path}.custom.input_schema")
    names = [tool.get("name") for tool in tools]
    if len(set(names)) != len(names):
        raise Rejected("tools: Tool names must be unique.")
    _check_strict_limits([tool for tool in tools if tool.get("strict")])


def check_tool_choice(body: dict[str, Any], row: Capabilities) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        return
    tag = check_tag(choice, _CHOICES, "tool_choice")
    check_fields(choice, {"type": string(required=True), **_CHOICES[tag]}, f"tool_choice.{tag}")
    if not body.get("tools"):
        raise Rejected("tool_choice: tool_choice may only be specified while providing tools")
    if tag == "tool" and choice["name"] not in [tool["name"] for tool in body["tools"]]:
        raise Rejected(f"tool_choice: Tool '{choice['name']}' not found in provided tools")
    if tag in ("any", "tool"):
        if not row.takes_forced_tool:
            raise Rejected('tool_choice: type "tool" and "any" are not supported for this model.')
        if (body.get("thinking") or {}).get("type") == "enabled":
            raise Rejected("Thinking may not be enabled when tool_choice forces tool use.")


def _check_input_schema(schema: dict[str, Any], path: str) -> None:
    if "type" not in schema:
        raise Rejected(f"{path}.type: Field required")
    if schema["type"] != "object":
        raise Rejected(f"{path}.type: Input should be 'object'")
    if "properties" in schema and not isinstance(schema["properties"], dict):
        raise Rejected(f"{path}.properties: Input should be a valid dictionary")
    if any(keyword in schema for keyword in ("oneOf", "allOf", "anyOf")):
        raise Rejected(f"{path}: input_schema does not support oneOf, allOf, or anyOf at the top level")
    check_json_schema(schema, path)


def _check_server_tool(tool: dict[str, Any], path: str) -> None:
    kind = str(tool["type"])
    if not _SERVER_TOOL.fullmatch(kind):
        raise Rejected(
            f"{path}: Input tag '{kind}' found using 'type' does not match any of the expected tags: 'custom', "
            "'bash_20250124', 'code_execution_20250825', 'text_editor_20250728', 'web_search_20250305'"
        )
    if kind.startswith("web_search"):
        check_fields(tool, _WEB_SEARCH, f"{path}.{kind}")
        if tool.get("user_location"):
            check_fields(tool["user_location"], _LOCATION, f"{path}.{kind}.user_location")
    elif "name" not in tool:
        raise Rejected(f"{path}.{kind}.name: Field required")


def _check_strict_limits(strict: list[dict[str, Any]]) -> None:
    if len(strict) > _MAX_STRICT:
        raise Rejected(f"tools: at most {_MAX_STRICT} strict tools are allowed, got {len(strict)}")
    counts = [count_loose_parameters(tool["input_schema"]) for tool in strict]
    optional, unions = sum(count[0] for count in counts), sum(count[1] for count in counts)
    if optional > _MAX_OPTIONAL or unions > _MAX_UNIONS:
        raise Rejected(
            f"Schema is too complex for compilation. {optional} optional parameters (at most {_MAX_OPTIONAL}) and "
            f"{unions} parameters with union types (at most {_MAX_UNIONS}) in strict tools."
        )
