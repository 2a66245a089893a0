"""The client's `tools` and `tool_choice`, and the `functions` that came before them.

Owns the checks that OpenAI makes of them: names, duplicates, a choice of something that
is not there. Entries in Anthropic's own shape are taken too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from api.services.translation.conversation import (
    JsonObject,
    NativePart,
    Tool,
    ToolChoice,
    ToolChoiceMode,
)
from api.services.translation.dialects.openai_chat.checks import (
    empty_array,
    missing,
    read_array,
    read_bool,
    read_choice,
    read_object,
    read_string,
    require_item,
    require_object,
    require_string,
    unsupported_value,
    wrong,
    wrong_type,
    wrong_value,
)
from api.services.translation.dialects.openai_chat.parts import read_cache
from api.services.translation.ignored import Ignored

# OpenAI stops at 64 characters, Anthropic at 128.
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}\Z")
_SERVER_TOOL: Final = re.compile(r"[a-z][a-z_]*_\d{8}\Z")

_MODES: Final = {
    "none": ToolChoiceMode.NONE,
    "auto": ToolChoiceMode.AUTO,
    "required": ToolChoiceMode.REQUIRED,
}

_TOOL: Final = frozenset({"type", "function", "custom"})
_FUNCTION: Final = frozenset({"name", "description", "parameters", "strict"})
_CUSTOM: Final = frozenset({"name", "description", "format"})
_ANTHROPIC: Final = frozenset({"type", "name", "description", "input_schema", "strict"})
_EXTRAS: Final = frozenset(
    {"cache_control", "defer_loading", "eager_input_streaming", "input_examples", "allowed_callers"}
)
_CALLERS: Final = (
    "direct",
    "code_execution_20250825",
    "code_execution_20260120",
    "code_execution_20260521",
)


@dataclass(frozen=True, slots=True)
class ToolUse:
    """All that a request says about tools."""

    tools: tuple[Tool, ...] = ()
    choice: ToolChoice | None = None
    is_parallel: bool | None = None
    uses_legacy_functions: bool = False


def decode_tool_use(body: JsonObject, ignored: Ignored, *, is_stream: bool) -> ToolUse:
    is_parallel = read_bool(body, "parallel_tool_calls")
    listed = read_array(body, "tools")
    functions = read_array(body, "functions")
    if listed is not None and functions is not None:
        raise wrong("functions", "'tools' and 'functions' cannot be used together. Please use only 'tools'.")
    if functions is not None:
        return _decode_legacy(body, functions, ignored)
    tools = tuple(
        _decode_tool(item, f"tools[{index}]", index, ignored, is_stream=is_stream)
        for index, item in enumerate(listed or ())
    )
    _check_unique(tools)
    choice = _decode_choice(body.get("tool_choice"), tools)
    if choice is not None and not tools:
        _check_needless(choice, "tool_choice", "tools", is_empty_list=listed is not None, ignored=ignored)
        choice = None
    if body.get("function_call") not in (None, "none", "auto"):
        raise wrong("function_call", "'function_call' is only allowed when 'functions' are specified.")
    return ToolUse(tools, choice, is_parallel)


def check_name(name: str, param: str) -> None:
    """A name that any upstream takes. The message is about the pattern, the value may be anything."""
    if not _NAME.match(name):
        raise wrong(
            param,
            f"Invalid '{param}': string does not match pattern. "
            "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
        )


def _decode_legacy(body: JsonObject, functions: list[Any], ignored: Ignored) -> ToolUse:
    tools = tuple(
        _decode_function(require_item(item, f"functions[{index}]"), {}, f"functions[{index}]", index, ignored)
        for index, item in enumerate(functions)
    )
    _check_unique(tools)
    call = body.get("function_call")
    choice: ToolChoice | None = None
    if isinstance(call, dict):
        choice = _named(require_string(call, "name", "function_call"), tools, "function_call")
    elif call is not None:
        if not isinstance(call, str):
            raise wrong_type("function_call", "one of a string or object", call)
        if call not in ("none", "auto"):
            raise wrong_value("function_call", call, ("none", "auto"))
        choice = ToolChoice(_MODES[call])
    if not tools:
        choice = None
    # A legacy reply holds one call and no more.
    return ToolUse(tools, choice, is_parallel=False, uses_legacy_functions=True)


def _decode_tool(item: Any, path: str, index: int, ignored: Ignored, *, is_stream: bool) -> Tool:
    item = require_item(item, path)
    kind = read_string(item, "type", path)
    if kind != "function" and isinstance(item.get("input_schema"), dict) and kind in (None, "custom"):
        return _decode_anthropic_tool(item, path, index, ignored)
    if kind is None:
        raise missing(f"{path}.type")
    if kind == "function":
        ignored.add_unknown(item, _TOOL | _EXTRAS, "tools.")
        function = require_object(item, "function", path)
        return _decode_function(function, item, f"{path}.function", index, ignored)
    if kind == "custom":
        if is_stream:
            raise unsupported_value(
                f"{path}.type", "Unsupported value: custom tools cannot be streamed with this model."
            )
        ignored.add_unknown(item, _TOOL | _EXTRAS, "tools.")
        return _decode_custom(require_object(item, "custom", path), item, f"{path}.custom", index, ignored)
    if _SERVER_TOOL.match(kind) or kind == "mcp_toolset":
        name = read_string(item, "name", path)
        if name is None and "toolset" not in kind:
            raise missing(f"{path}.name")
        if name is not None:
            check_name(name, f"{path}.name")
        native = NativePart("anthropic_messages", item, path=path)
        return Tool(name or "", native=native, index=index, path=f"{path}.name")
    raise wrong_value(f"{path}.type", kind, ("function", "custom"))


def _decode_function(function: JsonObject, item: JsonObject, path: str, index: int, ignored: Ignored) -> Tool:
    name = require_string(function, "name", path)
    check_name(name, f"{path}.name")
    ignored.add_unknown(function, _FUNCTION | _EXTRAS, "tools.function.")
    return Tool(
        name=name,
        description=read_string(function, "description", path) or None,
        parameters=read_object(function, "parameters", path),
        is_strict=bool(read_bool(function, "strict", path)),
        cache=read_cache(item, path) or read_cache(function, path),
        extras=_read_extras(function, path) | _read_extras(item, path),
        index=index,
        path=f"{path}.parameters",
    )


def _decode_custom(custom: JsonObject, item: JsonObject, path: str, index: int, ignored: Ignored) -> Tool:
    name = require_string(custom, "name", path)
    check_name(name, f"{path}.name")
    ignored.add_unknown(custom, _CUSTOM | _EXTRAS, "tools.custom.")
    form = read_object(custom, "format", path)
    if form is not None:
        place = f"{path}.format"
        if read_choice(form, "type", ("text", "grammar"), place) is None:
            raise missing(f"{place}.type")
        if form["type"] == "grammar":
            grammar = require_object(form, "grammar", place)
            for field in ("syntax", "definition"):
                require_string(grammar, field, f"{place}.grammar")
    return Tool(
        name=name,
        description=read_string(custom, "description", path) or None,
        parameters=form,
        is_custom=True,
        cache=read_cache(item, path) or read_cache(custom, path),
        extras=_read_extras(custom, path) | _read_extras(item, path),
        index=index,
        path=f"{path}.format",
    )


def _decode_anthropic_tool(item: JsonObject, path: str, index: int, ignored: Ignored) -> Tool:
    name = require_string(item, "name", path)
    check_name(name, f"{path}.name")
    ignored.add_unknown(item, _ANTHROPIC | _EXTRAS, "tools.")
    return Tool(
        name=name,
        description=read_string(item, "description", path) or None,
        parameters=require_object(item, "input_schema", path),
        is_strict=bool(read_bool(item, "strict", path)),
        cache=read_cache(item, path),
        extras=_read_extras(item, path),
        index=index,
        path=f"{path}.input_schema",
    )


def _read_extras(source: JsonObject, path: str) -> JsonObject:
    """Fields of Anthropic's tools, which may stand beside the function or in it."""
    if source.keys().isdisjoint(_EXTRAS):
        return {}
    extras: JsonObject = {}
    for name in ("defer_loading", "eager_input_streaming"):
        flag = read_bool(source, name, path)
        if flag is not None:
            extras[name] = flag
    examples = read_array(source, "input_examples", path)
    if examples is not None:
        for index, example in enumerate(examples):
            require_item(example, f"{path}.input_examples[{index}]")
        extras["input_examples"] = examples
    callers = read_array(source, "allowed_callers", path)
    if callers is not None:
        for index, caller in enumerate(callers):
            if caller not in _CALLERS:
                raise wrong_value(f"{path}.allowed_callers[{index}]", caller, _CALLERS)
        extras["allowed_callers"] = callers
    return extras


def _check_unique(tools: tuple[Tool, ...]) -> None:
    seen: set[str] = set()
    for tool in tools:
        if tool.name and tool.name in seen:
            param = f"{tool.path.rpartition('.')[0]}.name"
            raise wrong(param, f"Invalid '{param}': tool names must be unique.")
        seen.add(tool.name)


def _decode_choice(choice: Any, tools: tuple[Tool, ...]) -> ToolChoice | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in _MODES:
            raise wrong_value("tool_choice", choice, tuple(_MODES))
        return ToolChoice(_MODES[choice])
    if not isinstance(choice, dict):
        raise wrong_type("tool_choice", "one of a string or object", choice)
    kind = read_choice(choice, "type", ("function", "custom", "allowed_tools"), "tool_choice")
    if kind is None:
        raise missing("tool_choice.type")
    if kind == "allowed_tools":
        return _decode_allowed(choice, tools)
    chosen = require_object(choice, kind, "tool_choice")
    return _named(require_string(chosen, "name", f"tool_choice.{kind}"), tools, "tool_choice")


def _named(name: str, tools: tuple[Tool, ...], param: str) -> ToolChoice:
    if tools:
        _check_known(name, {tool.name for tool in tools}, param)
    return ToolChoice(ToolChoiceMode.NAMED, name=name)


def _decode_allowed(choice: JsonObject, tools: tuple[Tool, ...]) -> ToolChoice:
    path = "tool_choice.allowed_tools"
    allowed = require_object(choice, "allowed_tools", "tool_choice")
    mode = read_choice(allowed, "mode", ("auto", "required"), path)
    if mode is None:
        raise missing(f"{path}.mode")
    entries = read_array(allowed, "tools", path)
    if entries is None:
        raise missing(f"{path}.tools")
    if not entries:
        raise empty_array(f"{path}.tools")
    known = {tool.name for tool in tools}
    names: list[str] = []
    for index, entry in enumerate(entries):
        place = f"{path}.tools[{index}]"
        entry = require_item(entry, place)
        kind = read_choice(entry, "type", ("function", "custom"), place) or "function"
        name = require_string(require_object(entry, kind, place), "name", f"{place}.{kind}")
        if tools:
            _check_known(name, known, "tool_choice")
        names.append(name)
    return ToolChoice(_MODES[mode], allowed=tuple(names))


def _check_known(name: str, known: set[str], param: str) -> None:
    if name not in known:
        raise wrong(param, f"Invalid value for '{param}': no tool with that name in 'tools'.")


def _check_needless(
    choice: ToolChoice, param: str, list_param: str, *, is_empty_list: bool, ignored: Ignored
) -> None:
    """A choice among no tools is refused, unless it forces nothing or the list is there and empty."""
    if choice.mode in (ToolChoiceMode.NONE, ToolChoiceMode.AUTO):
        return
    if not is_empty_list:
        raise wrong(param, f"'{param}' is only allowed when '{list_param}' are specified.")
    ignored.add(param)
