"""The parts of one message's content, and the marks on them, as neutral values.

Owns which part may stand in a message of which role. Besides OpenAI's parts it takes
back what our own replies add (thinking) and blocks of Anthropic's API in assistant
messages, which clients keep when they switch between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from api.services.translation.conversation import (
    AudioPart,
    CacheMark,
    DocumentPart,
    ImagePart,
    JsonObject,
    NativePart,
    Part,
    RedactedThinkingPart,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from api.services.translation.dialects.openai_chat.checks import (
    missing,
    read_choice,
    read_object,
    read_string,
    require_item,
    require_object,
    require_string,
    wrong_type,
    wrong_value,
)
from api.services.translation.dialects.openai_chat.media import decode_file, decode_image_url
from api.services.translation.ignored import Ignored
from api.services.translation.json_text import dump_json

SYSTEM_PARTS: Final = ("text",)
USER_PARTS: Final = ("text", "image_url", "input_audio", "file")
TOOL_PARTS: Final = ("text", "image_url", "file")
ASSISTANT_PARTS: Final = ("text", "refusal")

_KNOWN_FIELDS: Final = frozenset(
    {
        "type",
        "text",
        "image_url",
        "input_audio",
        "file",
        "refusal",
        "cache_control",
        "prompt_cache_breakpoint",
    }
)
_IMAGE_FIELDS: Final = frozenset({"url", "detail"})
_FILE_FIELDS: Final = frozenset({"file_data", "file_id", "filename"})

_PartReader: TypeAlias = Callable[[JsonObject, str, Ignored], Part | None]


def decode_parts(
    content: list[Any],
    path: str,
    supported: tuple[str, ...],
    ignored: Ignored,
    *,
    cache_ttl: str | None = None,
) -> list[Part]:
    """The parts of a content list. `cache_ttl` is that of breakpoints which name none."""
    takes_blocks = supported is ASSISTANT_PARTS
    parts: list[Part] = []
    for index, item in enumerate(content):
        place = f"{path}[{index}]"
        item = require_item(item, place)
        if "type" not in item:
            raise missing(f"{place}.type")
        kind = item["type"]
        if not isinstance(kind, str):
            raise wrong_type(f"{place}.type", "a string", kind)
        part: Part | None
        if kind in supported:
            part = _READERS[kind](item, place, ignored)
            ignored.add_unknown(item, _KNOWN_FIELDS, "messages.content.")
        elif takes_blocks and kind in _BLOCKS:
            part = _BLOCKS[kind](item, place, ignored)
        else:
            raise wrong_value(f"{place}.type", kind, supported)
        if part is not None:
            cache = read_cache(item, place, cache_ttl)
            parts.append(part if cache is None else mark_part(part, cache, ignored))
    return parts


def read_cache(source: JsonObject, path: str, ttl: str | None = None) -> CacheMark | None:
    """A prompt-cache breakpoint, in Anthropic's words or in OpenAI's."""
    if "cache_control" not in source and "prompt_cache_breakpoint" not in source:
        return None
    control = read_object(source, "cache_control", path)
    if control is not None:
        place = f"{path}.cache_control" if path else "cache_control"
        if read_choice(control, "type", ("ephemeral",), place) is None:
            raise missing(f"{place}.type")
        return CacheMark(read_choice(control, "ttl", ("5m", "1h"), place))
    breakpoint_ = read_object(source, "prompt_cache_breakpoint", path)
    if breakpoint_ is None:
        return None
    place = f"{path}.prompt_cache_breakpoint"
    if read_choice(breakpoint_, "mode", ("explicit",), place) is None:
        raise missing(f"{place}.mode")
    return CacheMark(decode_ttl(read_choice(breakpoint_, "ttl", ("30m", "12h"), place)) or ttl)


def decode_ttl(lifetime: str | None) -> str | None:
    """OpenAI's lifetimes are minimal ones: the longest that Anthropic has comes nearest."""
    return None if lifetime is None else "1h"


def mark_part(part: Part, cache: CacheMark, ignored: Ignored) -> Part:
    if isinstance(part, TextPart | ImagePart | DocumentPart | ToolCallPart):
        return replace(part, cache=cache)
    ignored.add("messages.cache_control")
    return part


def decode_thinking(blocks: list[Any], path: str, ignored: Ignored) -> list[Part]:
    """Thoughts that our replies gave out. Without its signature a thought cannot go back."""
    parts: list[Part] = []
    for index, block in enumerate(blocks):
        place = f"{path}[{index}]"
        block = require_item(block, place)
        reader = _THINKING.get(str(block.get("type")))
        if reader is None:
            raise wrong_value(f"{place}.type", block.get("type"), tuple(_THINKING))
        part = reader(block, place, ignored)
        if part is not None:
            parts.append(part)
    return parts


def _text(item: JsonObject, path: str, ignored: Ignored) -> Part:
    return TextPart(require_string(item, "text", path), path=path)


def _refusal(item: JsonObject, path: str, ignored: Ignored) -> Part:
    return RefusalPart(require_string(item, "refusal", path), path=path)


def _image(item: JsonObject, path: str, ignored: Ignored) -> Part:
    place = f"{path}.image_url"
    if isinstance(item.get("image_url"), str):
        return decode_image_url(item["image_url"], place)
    image = require_object(item, "image_url", path)
    ignored.add_unknown(image, _IMAGE_FIELDS, "messages.content.image_url.")
    url = require_string(image, "url", place)
    if read_choice(image, "detail", ("auto", "low", "high", "original"), place) not in (None, "auto"):
        ignored.add("messages.content.image_url.detail")
    return decode_image_url(url, f"{place}.url")


def _audio(item: JsonObject, path: str, ignored: Ignored) -> Part:
    audio = require_object(item, "input_audio", path)
    place = f"{path}.input_audio"
    return AudioPart(require_string(audio, "data", place), require_string(audio, "format", place), path=path)


def _file(item: JsonObject, path: str, ignored: Ignored) -> Part:
    file = require_object(item, "file", path)
    place = f"{path}.file"
    ignored.add_unknown(file, _FILE_FIELDS, "messages.content.file.")
    filename = read_string(file, "filename", place)
    part = decode_file(
        read_string(file, "file_data", place), read_string(file, "file_id", place), filename, place
    )
    if filename and isinstance(part, ImagePart):
        ignored.add("messages.content.file.filename")
    return part


def _thinking(item: JsonObject, path: str, ignored: Ignored) -> Part | None:
    signature = read_string(item, "signature", path)
    text = read_string(item, "thinking", path)
    if not signature:
        ignored.add("messages.thinking_blocks")
        return None
    return ThinkingPart(text or "", signature)


def _redacted_thinking(item: JsonObject, path: str, ignored: Ignored) -> Part | None:
    data = read_string(item, "data", path)
    if not data:
        ignored.add("messages.thinking_blocks")
        return None
    return RedactedThinkingPart(data)


def _tool_use(item: JsonObject, path: str, ignored: Ignored) -> Part:
    arguments = dump_json(require_object(item, "input", path)).decode()
    return ToolCallPart(
        id=require_string(item, "id", path),
        name=require_string(item, "name", path),
        arguments=arguments,
        path=f"{path}.input",
    )


def _server_tool_use(item: JsonObject, path: str, ignored: Ignored) -> Part:
    block = {
        "type": "server_tool_use",
        "id": require_string(item, "id", path),
        "name": read_choice(item, "name", ("web_search", "web_fetch"), path),
        "input": require_object(item, "input", path),
    }
    if block["name"] is None:
        raise missing(f"{path}.name")
    return NativePart("anthropic_messages", block, path=path)


def _web_search_result(item: JsonObject, path: str, ignored: Ignored) -> Part:
    content = item.get("content")
    place = f"{path}.content"
    if isinstance(content, list):
        for index, result in enumerate(content):
            result_place = f"{place}[{index}]"
            result = require_item(result, result_place)
            for name in ("type", "url", "title", "encrypted_content"):
                require_string(result, name, result_place)
            read_choice(result, "type", ("web_search_result",), result_place)
            read_string(result, "page_age", result_place)
    else:
        error = require_object(item, "content", path)
        read_choice(error, "type", ("web_search_tool_result_error",), place)
        for name in ("type", "error_code"):
            require_string(error, name, place)
    block = {
        "type": "web_search_tool_result",
        "tool_use_id": require_string(item, "tool_use_id", path),
        "content": content,
    }
    return NativePart("anthropic_messages", block, path=path)


_READERS: Final[Mapping[str, _PartReader]] = {
    "text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "input_audio": _audio,
    "file": _file,
}
_THINKING: Final[Mapping[str, _PartReader]] = {
    "thinking": _thinking,
    "redacted_thinking": _redacted_thinking,
}
_BLOCKS: Final[Mapping[str, _PartReader]] = {
    **_THINKING,
    "tool_use": _tool_use,
    "server_tool_use": _server_tool_use,
    "web_search_tool_result": _web_search_result,
}
