"""Tools and the choice among them, as Anthropic takes them.

Owns the way down from what a model refuses: a strict schema that is too much becomes a
plain one, a forced choice that the model does not know becomes a free one among fewer
tools. Names were checked by whoever read the request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from api.services.translation.conversation import (
    ChatRequest,
    JsonObject,
    Tool,
    ToolChoice,
    ToolChoiceMode,
    WebSearch,
)
from api.services.translation.dialects.anthropic_messages.blocks import DIALECT, encode_cache
from api.services.translation.dialects.anthropic_messages.target import Target
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.ignored import Ignored
from api.services.translation.json_schema import (
    MAX_STRICT_TOOLS,
    Complexity,
    InvalidSchema,
    close_schema,
    measure,
    tool_schema,
)

_WEB_SEARCH: Final = "web_search"
_MAX_USES: Final = {"low": 3, "medium": 5, "high": 10}

_FORCING: Final = (ToolChoiceMode.REQUIRED, ToolChoiceMode.NAMED)
_CHOICES: Final = {
    ToolChoiceMode.AUTO: "auto",
    ToolChoiceMode.NONE: "none",
    ToolChoiceMode.REQUIRED: "any",
    ToolChoiceMode.NAMED: "tool",
}

_UNAVAILABLE: Final[JsonObject] = {
    "name": "unavailable",
    "description": "Stands for tools of earlier turns. It cannot be called.",
    "input_schema": {"type": "object", "properties": {}},
}


@dataclass(frozen=True, slots=True)
class EncodedTools:
    tools: list[JsonObject]
    choice: JsonObject | None
    is_forced: bool


_NO_TOOLS: Final = EncodedTools([], None, is_forced=False)


def encode_tools(
    request: ChatRequest, target: Target, complexity: Complexity, ignored: Ignored
) -> EncodedTools:
    """The tools of a request. `complexity` is what the response format already takes of the limits."""
    if not request.tools and request.web_search is None:
        return _NO_TOOLS
    choice = request.tool_choice
    listed = _allowed(request.tools, choice)
    if choice is not None and choice.mode in _FORCING and not target.capabilities.takes_forced_tool:
        ignored.add(request.name_of("tool_choice"))
        listed = tuple(tool for tool in listed if choice.name in (None, tool.name))
        choice = ToolChoice(ToolChoiceMode.AUTO)
    strict = _Strictness(target, complexity, ignored)
    tools = [_encode_tool(tool, strict, ignored) for tool in listed]
    if request.web_search is not None:
        tools.append(_encode_web_search(request, request.web_search))
    if not tools:
        return _NO_TOOLS
    encoded = _encode_choice(choice, is_parallel=request.is_parallel)
    return EncodedTools(tools, encoded, is_forced=choice is not None and choice.mode in _FORCING)


def stand_in() -> EncodedTools:
    """For models that want `tools` wherever the conversation holds calls, and a request without any."""
    return EncodedTools([dict(_UNAVAILABLE)], {"type": "none"}, is_forced=False)


class _Strictness:
    """Hands out `strict` while the limits of a request last."""

    def __init__(self, target: Target, complexity: Complexity, ignored: Ignored) -> None:
        self._is_known = target.capabilities.structured_outputs
        self._complexity = complexity
        self._count = 0
        self._ignored = ignored

    def close(self, schema: JsonObject) -> JsonObject | None:
        """The schema of a strict tool, or None where this tool cannot be one."""
        closed = close_schema(schema) if self._is_known and self._count < MAX_STRICT_TOOLS else None
        # A closed schema may say its values without a type; a tool's root has to have one.
        if closed is not None and closed.get("type") == "object":
            complexity = self._complexity + measure(closed)
            if complexity.is_allowed:
                self._complexity = complexity
                self._count += 1
                return closed
        self._ignored.add("tools.function.strict")
        return None


def _allowed(tools: tuple[Tool, ...], choice: ToolChoice | None) -> tuple[Tool, ...]:
    if choice is None or choice.allowed is None:
        return tools
    allowed = frozenset(choice.allowed)
    return tuple(tool for tool in tools if tool.name in allowed)


def _encode_tool(tool: Tool, strict: _Strictness, ignored: Ignored) -> JsonObject:
    if tool.native is not None:
        if tool.native.dialect != DIALECT:
            raise Failure(
                FailureKind.UNSUPPORTED_VALUE,
                "Unsupported value: this tool is not supported with this model.",
                param=tool.path or None,
            )
        return dict(tool.native.block)
    encoded: JsonObject = {"name": tool.name}
    description = _description(tool)
    if description:
        encoded["description"] = description
    if tool.cache is not None:
        encoded["cache_control"] = encode_cache(tool.cache)
    schema = _free_text_schema() if tool.is_custom else _schema(tool, ignored)
    if tool.is_strict:
        closed = strict.close(schema)
        if closed is not None:
            schema = closed
            encoded["strict"] = True
    encoded["input_schema"] = schema
    encoded.update(tool.extras)
    return encoded


def _schema(tool: Tool, ignored: Ignored) -> JsonObject:
    try:
        schema, is_flattened = tool_schema(tool.parameters)
    except InvalidSchema as invalid:
        raise Failure(
            FailureKind.INVALID_REQUEST,
            f"Invalid schema for function '{tool.name}': {invalid}.",
            param=tool.path or None,
            code="invalid_function_parameters",
        ) from None
    if is_flattened:
        ignored.add("tools.function.parameters")
    return schema


def _description(tool: Tool) -> str | None:
    if not tool.is_custom or not tool.parameters or tool.parameters.get("type") != "grammar":
        return tool.description
    grammar = tool.parameters["grammar"]
    hint = f"The input must match this {grammar['syntax']} grammar:\n{grammar['definition']}"
    return f"{tool.description}\n\n{hint}" if tool.description else hint


def _free_text_schema() -> JsonObject:
    return {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


def _encode_web_search(request: ChatRequest, search: WebSearch) -> JsonObject:
    param = request.name_of("web_search")
    if any(tool.name == _WEB_SEARCH for tool in request.tools):
        raise Failure(
            FailureKind.INVALID_REQUEST,
            f"Invalid '{param}': there is a tool named '{_WEB_SEARCH}' in 'tools' already.",
            param=param,
        )
    encoded: JsonObject = {
        "type": "web_search_20250305",
        "name": _WEB_SEARCH,
        "max_uses": _MAX_USES[search.context_size or "medium"],
    }
    if search.location:
        encoded["user_location"] = {"type": "approximate", **search.location}
    return encoded


def _encode_choice(choice: ToolChoice | None, *, is_parallel: bool | None) -> JsonObject | None:
    if choice is None:
        if is_parallel is not False:
            return None
        choice = ToolChoice(ToolChoiceMode.AUTO)
    encoded: JsonObject = {"type": _CHOICES[choice.mode]}
    if choice.name is not None and choice.mode is ToolChoiceMode.NAMED:
        encoded["name"] = choice.name
    if is_parallel is False and choice.mode is not ToolChoiceMode.NONE:
        encoded["disable_parallel_tool_use"] = True
    return encoded
