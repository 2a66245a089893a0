"""Small oddities of OpenAI-compatible upstreams, as data, and what they change in a body.

A quirk is a fact about a provider that an operator can set, never a provider's name. The
default is an upstream that takes everything as it comes. `apply_quirks` never changes
its input: it copies what it must and shares the rest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from api.services.translation.conversation import JsonObject
from api.services.translation.ignored import Ignored


class TokenParam(StrEnum):
    """Under which name a limit of output tokens is sent."""

    AS_IS = "as_is"
    MAX_TOKENS = "max_tokens"
    MAX_COMPLETION_TOKENS = "max_completion_tokens"


class DeveloperRole(StrEnum):
    """What becomes of messages with the role `developer`."""

    AS_IS = "as_is"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Quirks:
    """What an upstream wants otherwise. `strips_extensions`: fields that only Claude knows are taken out."""

    token_param: TokenParam = TokenParam.AS_IS
    sends_stream_options: bool = True
    developer_role: DeveloperRole = DeveloperRole.AS_IS
    strips_extensions: bool = False


NO_QUIRKS: Final = Quirks()


class InvalidQuirk(ValueError):
    """An operator's quirk that is not one. The text is for the operator."""


def check_quirks(mapping: Mapping[str, Any]) -> list[str]:
    """What is wrong with an operator's quirks, one sentence each; empty when nothing is."""
    problems = []
    for name, value in mapping.items():
        default = _DEFAULTS.get(name)
        if default is None:
            problems.append(f"There is no quirk '{name}'. There are: {', '.join(_DEFAULTS)}.")
        elif isinstance(default, bool):
            if not isinstance(value, bool):
                problems.append(f"Quirk '{name}' must be true or false.")
        elif not isinstance(value, str) or value not in set(type(default)):
            problems.append(f"Quirk '{name}' must be one of {', '.join(type(default))}.")
    return problems


def override_quirks(quirks: Quirks, mapping: Mapping[str, Any]) -> Quirks:
    """The quirks with an operator's own (as JSON values). Raises InvalidQuirk for a wrong one."""
    if not mapping:
        return quirks
    problems = check_quirks(mapping)
    if problems:
        raise InvalidQuirk(" ".join(problems))
    values: dict[str, Any] = {name: type(_DEFAULTS[name])(value) for name, value in mapping.items()}
    return dataclasses.replace(quirks, **values)


_DEFAULTS: Final[Mapping[str, bool | TokenParam | DeveloperRole]] = {
    column.name: getattr(NO_QUIRKS, column.name) for column in dataclasses.fields(Quirks)
}


def may_change(body: JsonObject, quirks: Quirks) -> bool:
    """Whether `apply_quirks` has anything to look at. Not so for most bodies, and this is a quick look."""
    if quirks is NO_QUIRKS:
        return False
    is_plain = (
        (quirks.sends_stream_options or "stream_options" not in body)
        and (quirks.token_param is TokenParam.AS_IS or _TOKEN_PARAMS.isdisjoint(body))
        and quirks.developer_role is DeveloperRole.AS_IS
        and not (quirks.strips_extensions and _may_hold_extensions(body))
    )
    return not is_plain


def apply_quirks(body: JsonObject, quirks: Quirks, ignored: Ignored) -> JsonObject:
    """The body as this upstream wants it, keys in their order; what is taken out is noted in `ignored`."""
    if quirks is NO_QUIRKS:
        return body
    if not quirks.sends_stream_options and body.get("stream_options") is not None:
        body = {key: value for key, value in body.items() if key != "stream_options"}
        ignored.add("stream_options")
    if quirks.token_param is not TokenParam.AS_IS:
        body = _rename_token_param(body, quirks.token_param)
    if quirks.developer_role is DeveloperRole.SYSTEM:
        body = _replace_messages(body, _as_system)
    if quirks.strips_extensions:
        body = _strip_extensions(body, ignored)
    return body


_TOKEN_PARAMS: Final = frozenset({"max_completion_tokens", "max_tokens"})


def _rename_token_param(body: JsonObject, wanted: TokenParam) -> JsonObject:
    """One name for the limit, at the place of the first; `max_completion_tokens` beats `max_tokens`."""
    if body.keys().isdisjoint(_TOKEN_PARAMS) or body.keys() & _TOKEN_PARAMS == {wanted}:
        return body
    limit = body.get("max_completion_tokens")
    if limit is None:
        limit = body.get("max_tokens")
    renamed: JsonObject = {}
    for key, value in body.items():
        if key not in _TOKEN_PARAMS:
            renamed[key] = value
        elif wanted.value not in renamed:
            renamed[wanted.value] = limit
    return renamed


def _as_system(message: JsonObject) -> JsonObject:
    if message.get("role") != "developer":
        return message
    return {**message, "role": "system"}


def _replace_messages(body: JsonObject, change: Callable[[JsonObject], JsonObject]) -> JsonObject:
    messages = body.get("messages")
    if not isinstance(messages, list):
        return body
    changed = [change(message) if isinstance(message, dict) else message for message in messages]
    if all(new is old for new, old in zip(changed, messages, strict=True)):
        return body
    return {**body, "messages": changed}


# What our replies and Anthropic's API add to OpenAI's format.
_BODY_EXTENSIONS: Final = frozenset({"thinking", "output_config", "cache_control"})
_MESSAGE_EXTENSIONS: Final = frozenset({"thinking_blocks", "reasoning_content", "cache_control"})
_PART_EXTENSIONS: Final = frozenset({"cache_control"})


def _may_hold_extensions(body: JsonObject) -> bool:
    """Tools, and messages of several parts, may hold some inside."""
    if "tools" in body or not _BODY_EXTENSIONS.isdisjoint(body):
        return True
    messages = body.get("messages")
    if not isinstance(messages, list):
        return False
    for message in messages:
        if type(message) is dict and not (
            type(message.get("content")) is str and _MESSAGE_EXTENSIONS.isdisjoint(message)
        ):
            return True
    return False


def _strip_extensions(body: JsonObject, ignored: Ignored) -> JsonObject:
    def strip_message(message: JsonObject) -> JsonObject:
        message = _without(message, _MESSAGE_EXTENSIONS, "messages.", ignored)
        parts = message.get("content")
        if not isinstance(parts, list):
            return message
        stripped = [_without_part(part, "messages.content.", ignored) for part in parts]
        if all(new is old for new, old in zip(stripped, parts, strict=True)):
            return message
        return {**message, "content": stripped}

    body = _without(body, _BODY_EXTENSIONS, "", ignored)
    body = _replace_messages(body, strip_message)
    tools = body.get("tools")
    if isinstance(tools, list):
        stripped = [_without_tool_extensions(tool, ignored) for tool in tools]
        if any(new is not old for new, old in zip(stripped, tools, strict=True)):
            body = {**body, "tools": stripped}
    return body


def _without_tool_extensions(tool: Any, ignored: Ignored) -> Any:
    tool = _without_part(tool, "tools.", ignored)
    if not isinstance(tool, dict):
        return tool
    function = _without_part(tool.get("function"), "tools.function.", ignored)
    return tool if function is tool.get("function") else {**tool, "function": function}


def _without_part(part: Any, prefix: str, ignored: Ignored) -> Any:
    return _without(part, _PART_EXTENSIONS, prefix, ignored) if isinstance(part, dict) else part


def _without(value: JsonObject, names: frozenset[str], prefix: str, ignored: Ignored) -> JsonObject:
    if names.isdisjoint(value):
        return value
    for name in sorted(value.keys() & names):
        if value[name] is not None:
            ignored.add(prefix + name)
    return {key: item for key, item in value.items() if key not in names}
