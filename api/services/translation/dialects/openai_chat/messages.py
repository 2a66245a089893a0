"""The client's `messages` as turns.

Owns what each role may carry, the legacy `function` role and the ids that its calls
get. Whether calls and results fit together is for the dialect that sends them on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from api.services.translation.conversation import (
    CacheMark,
    DocumentPart,
    ImagePart,
    JsonObject,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Turn,
)
from api.services.translation.dialects.openai_chat.checks import (
    empty_array,
    missing,
    read_array,
    read_choice,
    read_object,
    read_string,
    require_item,
    require_object,
    require_string,
    wrong,
    wrong_type,
    wrong_value,
)
from api.services.translation.dialects.openai_chat.parts import (
    ASSISTANT_PARTS,
    SYSTEM_PARTS,
    TOOL_PARTS,
    USER_PARTS,
    decode_parts,
    decode_thinking,
    mark_part,
    read_cache,
)
from api.services.translation.dialects.openai_chat.tools import check_name
from api.services.translation.ignored import Ignored

ORPHAN_RESULT: Final = (
    "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
)

_ROLES: Final = ("system", "assistant", "user", "function", "tool", "developer")

_SPEAKERS: Final = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
}
"""Whose messages may be nothing but a text."""

_COMMON: Final = frozenset({"role", "content", "name", "cache_control"})
_ASSISTANT: Final = _COMMON | {
    "refusal",
    "tool_calls",
    "function_call",
    "audio",
    "thinking_blocks",
    "reasoning_content",
    # Replies carry the one and OpenAI's own helpers the other; no model reads them.
    "annotations",
    "parsed",
}
_TOOL: Final = _COMMON | {"tool_call_id"}
_CALLED: Final = frozenset({"name", "arguments", "input", "parsed_arguments"})
_CALL: Final = frozenset({"id", "type", "function", "custom", "index", "cache_control"})


def decode_turns(messages: Any, ignored: Ignored, cache_ttl: str | None = None) -> tuple[Turn, ...]:
    """Every message as one turn, in order. `cache_ttl` is that of breakpoints which name none."""
    if not isinstance(messages, list):
        raise wrong_type("messages", "an array of objects", messages)
    if not messages:
        raise empty_array("messages")
    reader: _Messages | None = None
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        turn = _decode_plain(index, message)
        if turn is None:
            reader = reader or _Messages(ignored, cache_ttl)
            turn = reader.decode(index, message)
        turns.append(turn)
    return tuple(turns)


def _decode_plain(index: int, message: Any) -> Turn | None:
    """The turn of a message that is a role and a text, as most are. None: there is more to look at."""
    if not isinstance(message, dict) or len(message) != 2:
        return None
    role, text = message.get("role"), message.get("content")
    if not isinstance(role, str) or not isinstance(text, str) or not text:
        return None
    speaker = _SPEAKERS.get(role)
    if speaker is None:
        return None
    return Turn(speaker, (TextPart(text, None, f"messages[{index}].content"),), True, index)


class _Messages:
    """Reads one message after the other; legacy results need the calls before them."""

    def __init__(self, ignored: Ignored, cache_ttl: str | None) -> None:
        self._ignored = ignored
        self._cache_ttl = cache_ttl
        self._function_calls: dict[str, str] = {}

    def decode(self, index: int, message: Any) -> Turn:
        path = f"messages[{index}]"
        message = require_item(message, path)
        if "role" not in message:
            raise missing(f"{path}.role")
        role = message["role"]
        if not isinstance(role, str):
            raise wrong_type(f"{path}.role", "a string", role)
        read = _ROLE_READERS.get(role)
        if read is None:
            raise wrong_value(f"{path}.role", role, _ROLES)
        turn = read(self, index, message, path)
        cache = read_cache(message, path, self._cache_ttl)
        return turn if cache is None else self._mark_last(turn, cache)

    def _mark_last(self, turn: Turn, cache: CacheMark) -> Turn:
        """A mark on a message stands after its last part."""
        if not turn.parts:
            self._ignored.add("messages.cache_control")
            return turn
        last = turn.parts[-1]
        if isinstance(last, ToolResultPart):
            last = replace(last, cache=cache)
        else:
            last = mark_part(last, cache, self._ignored)
        return replace(turn, parts=(*turn.parts[:-1], last))

    def _system(self, index: int, message: JsonObject, path: str) -> Turn:
        return self._texts_and_parts(Role.SYSTEM, SYSTEM_PARTS, index, message, path)

    def _user(self, index: int, message: JsonObject, path: str) -> Turn:
        return self._texts_and_parts(Role.USER, USER_PARTS, index, message, path)

    def _texts_and_parts(
        self, role: Role, supported: tuple[str, ...], index: int, message: JsonObject, path: str
    ) -> Turn:
        self._ignored.add_unknown(message, _COMMON, "messages.")
        if message.get("name") is not None:
            self._drop_name(message, path)
        place = f"{path}.content"
        if "content" not in message:
            raise missing(place)
        content = message["content"]
        if isinstance(content, str):
            return Turn(role, (TextPart(content, path=place),), is_plain_text=True, index=index)
        if not isinstance(content, list):
            raise wrong_type(place, "one of a string or array of objects", content)
        if not content:
            raise empty_array(place)
        parts = decode_parts(content, place, supported, self._ignored, cache_ttl=self._cache_ttl)
        return Turn(role, tuple(parts), index=index)

    def _assistant(self, index: int, message: JsonObject, path: str) -> Turn:
        self._ignored.add_unknown(message, _ASSISTANT, "messages.")
        if message.get("name") is not None:
            self._drop_name(message, path)
        parts: list[Part] = []
        thinking = read_array(message, "thinking_blocks", path)
        if thinking:
            parts += decode_thinking(thinking, f"{path}.thinking_blocks", self._ignored)
        elif message.get("reasoning_content"):
            # Unsigned text: no model would take it as its own thought.
            self._ignored.add("messages.reasoning_content")
        content = message.get("content")
        place = f"{path}.content"
        if isinstance(content, str):
            # Beside tool calls an empty string is as good as null.
            if content:
                parts.append(TextPart(content, path=place))
        elif isinstance(content, list):
            parts += decode_parts(content, place, ASSISTANT_PARTS, self._ignored, cache_ttl=self._cache_ttl)
        elif content is not None:
            raise wrong_type(place, "one of a string or array of objects", content)
        is_plain_text = isinstance(content, str) and len(parts) == 1
        refusal = read_string(message, "refusal", path)
        if refusal:
            parts.append(RefusalPart(refusal, path=f"{path}.refusal"))
        for position, call in enumerate(read_array(message, "tool_calls", path) or ()):
            parts.append(self._tool_call(call, f"{path}.tool_calls[{position}]"))
        function_call = read_object(message, "function_call", path)
        if function_call is not None:
            parts.append(self._function_call(function_call, index, f"{path}.function_call"))
        if read_object(message, "audio", path) is not None:
            self._ignored.add("messages.audio")
            if not parts:
                raise wrong(
                    f"{path}.audio",
                    f"Invalid '{path}.audio': earlier audio is not supported with this model.",
                )
        return Turn(Role.ASSISTANT, tuple(parts), is_plain_text and len(parts) == 1, index)

    def _tool_call(self, call: Any, path: str) -> Part:
        call = require_item(call, path)
        self._ignored.add_unknown(call, _CALL, "messages.tool_calls.")
        kind = read_choice(call, "type", ("function", "custom"), path) or "function"
        call_id = require_string(call, "id", path)
        if not call_id:
            raise wrong(f"{path}.id", f"Invalid '{path}.id': empty string.")
        body = require_object(call, kind, path)
        place = f"{path}.{kind}"
        self._ignored.add_unknown(body, _CALLED, f"messages.tool_calls.{kind}.")
        name = require_string(body, "name", place)
        check_name(name, f"{place}.name")
        field = "input" if kind == "custom" else "arguments"
        return ToolCallPart(
            id=call_id,
            name=name,
            arguments=read_string(body, field, place) or "",
            is_custom=kind == "custom",
            cache=read_cache(call, path, self._cache_ttl),
            path=f"{place}.{field}",
        )

    def _function_call(self, call: JsonObject, index: int, path: str) -> Part:
        name = require_string(call, "name", path)
        check_name(name, f"{path}.name")
        # The same id whenever the same history comes in: prompt caches depend on it.
        call_id = f"call_fn_{index}"
        self._function_calls[name] = call_id
        return ToolCallPart(
            id=call_id,
            name=name,
            arguments=read_string(call, "arguments", path) or "",
            path=f"{path}.arguments",
        )

    def _tool(self, index: int, message: JsonObject, path: str) -> Turn:
        self._ignored.add_unknown(message, _TOOL, "messages.")
        if message.get("name") is not None:
            self._drop_name(message, path)
        return self._result(require_string(message, "tool_call_id", path), index, message, path)

    def _function(self, index: int, message: JsonObject, path: str) -> Turn:
        self._ignored.add_unknown(message, _COMMON, "messages.")
        name = require_string(message, "name", path)
        if name not in self._function_calls:
            raise wrong(f"messages.[{index}].role", ORPHAN_RESULT)
        return self._result(self._function_calls[name], index, message, path)

    def _result(self, call_id: str, index: int, message: JsonObject, path: str) -> Turn:
        content = message.get("content")
        place = f"{path}.content"
        cache: CacheMark | None = None
        parts: tuple[TextPart | ImagePart | DocumentPart, ...] = ()
        if isinstance(content, str):
            parts = (TextPart(content, path=place),)
        elif isinstance(content, list):
            found = decode_parts(content, place, TOOL_PARTS, self._ignored, cache_ttl=self._cache_ttl)
            # A mark inside a result counts for the whole of it.
            for part in found:
                if isinstance(part, TextPart | ImagePart | DocumentPart):
                    cache = part.cache or cache
                    parts += (part if part.cache is None else replace(part, cache=None),)
        elif "content" not in message:
            raise missing(place)
        elif content is not None:
            raise wrong_type(place, "one of a string or array of objects", content)
        result = ToolResultPart(
            call_id, parts, is_plain_text=not isinstance(content, list), cache=cache, path=path
        )
        return Turn(Role.TOOL, (result,), index=index)

    def _drop_name(self, message: JsonObject, path: str) -> None:
        read_string(message, "name", path)
        self._ignored.add("messages.name")


_RoleReader: TypeAlias = Callable[[_Messages, int, JsonObject, str], Turn]

_ROLE_READERS: Final[Mapping[str, _RoleReader]] = {
    "system": _Messages._system,
    "developer": _Messages._system,
    "user": _Messages._user,
    "assistant": _Messages._assistant,
    "tool": _Messages._tool,
    "function": _Messages._function,
}
