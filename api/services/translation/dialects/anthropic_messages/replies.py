"""An Anthropic message, read into a neutral reply.

Owns what blocks and stop reasons mean. Blocks of Anthropic's own server tools, and
blocks of kinds that did not exist when this was written, are left out: the client could
not answer them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from api.services.translation.conversation import (
    FinishReason,
    JsonObject,
    RedactedThinkingPart,
    Reply,
    ThinkingPart,
    ToolCallPart,
    UrlCitation,
)
from api.services.translation.dialects.anthropic_messages.failures import decode_reported_failure
from api.services.translation.dialects.anthropic_messages.usage import decode_service_tier, decode_usage
from api.services.translation.json_text import dump_json
from api.services.translation.upstream_responses import invalid_response, look_into, read_object
from api.services.translation.usage import sum_usage

ID_PREFIX: Final = "msg_"

_CALL: Final = b'"tool_use"'
_PAUSE: Final = b'"pause_turn"'

_FINISH_REASONS: Final[Mapping[str, FinishReason]] = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "pause_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}


def read_message(body: bytes, *, is_repeated: bool = False) -> JsonObject:
    """The bytes of a reply as an object, exact in what is written out again: the input of calls.

    `is_repeated`: all of it is, since the turn is to be continued.
    """
    message = read_object(body) if is_repeated or _CALL in body else look_into(body)
    if message is None:
        raise invalid_response("The upstream's reply could not be read: it is not a JSON object.")
    return message


def decode_reply(body: JsonObject, secrets: Iterable[str] = ()) -> Reply:
    """Raises the `Failure` of a 200 that is no message, or that reports an error."""
    if body.get("error"):
        raise decode_reported_failure(body, secrets)
    content = body.get("content")
    if not isinstance(content, list) or body.get("type", "message") != "message":
        raise invalid_response()
    text = _only_text(content)
    blocks = _read_blocks(content) if text is None else _NOTHING
    finish = decode_finish(body.get("stop_reason"))
    is_refused = finish is FinishReason.CONTENT_FILTER
    return Reply(
        id=decode_id(body.get("id")),
        upstream_model=text_of(body, "model"),
        finish=finish,
        usage=decode_usage(body.get("usage")),
        text=("".join(blocks.texts) if text is None else text) or None,
        refusal=decode_explanation(body.get("stop_details")) if is_refused else None,
        thinking=tuple(blocks.thinking),
        tool_calls=() if is_refused else tuple(blocks.tool_calls),
        citations=tuple(blocks.citations),
        service_tier=decode_service_tier(body.get("usage")),
    )


def may_be_paused(body: bytes) -> bool:
    """Whether it is worth while to ask whether the reply in these bytes `is_paused`."""
    return _PAUSE in body


def is_paused(body: JsonObject) -> bool:
    """Whether the model stopped for breath between server tools: send its content back and it goes on."""
    return body.get("stop_reason") == "pause_turn"


def join_replies(first: Reply, second: Reply) -> Reply:
    """One reply of a paused one and its continuation: both were paid for, and the later one ends it."""
    offset = len(first.text or "")
    moved = (
        replace(citation, start=citation.start + offset, end=citation.end + offset)
        for citation in second.citations
    )
    return replace(
        second,
        id=first.id,
        text=((first.text or "") + (second.text or "")) or None,
        thinking=first.thinking + second.thinking,
        tool_calls=()
        if second.finish is FinishReason.CONTENT_FILTER
        else first.tool_calls + second.tool_calls,
        citations=first.citations + tuple(moved),
        usage=sum_usage(first.usage, second.usage),
    )


def decode_finish(stop_reason: Any) -> FinishReason:
    """Strict clients refuse words they do not know, so that a new reason, or none, is a plain stop."""
    if not isinstance(stop_reason, str):
        return FinishReason.STOP
    return _FINISH_REASONS.get(stop_reason, FinishReason.STOP)


def decode_explanation(stop_details: Any) -> str | None:
    """The model's own words on why it refused; often there are none."""
    return text_of(stop_details, "explanation") or None


def decode_id(wire: Any) -> str:
    """The id without the prefix by which the dialect marks it."""
    return wire.removeprefix(ID_PREFIX) if isinstance(wire, str) else ""


def decode_arguments(tool_input: Any) -> str:
    """A call's arguments as JSON text: compact, letters as they are, and never empty."""
    return "{}" if tool_input is None else dump_json(tool_input).decode()


def decode_citations(wire: Any, start: int, end: int) -> list[UrlCitation]:
    """The web sources of the text from `start` to `end`. Places in documents have no counterpart."""
    citations = []
    for citation in wire if isinstance(wire, list) else ():
        if isinstance(citation, dict) and citation.get("type") == "web_search_result_location":
            url = text_of(citation, "url")
            citations.append(
                UrlCitation(url=url, title=text_of(citation, "title") or url, start=start, end=end)
            )
    return citations


def text_of(wire: Any, key: str) -> str:
    """The string under `key`, and an empty one for whatever else is there."""
    value = wire.get(key) if isinstance(wire, dict) else None
    return value if isinstance(value, str) else ""


def _only_text(content: list[Any]) -> str | None:
    """The text of a content that is one text without citations, as most are. None: there is more to read."""
    if len(content) != 1:
        return None
    block = content[0]
    if not isinstance(block, dict) or block.get("type") != "text" or block.get("citations"):
        return None
    text = block.get("text")
    return text if isinstance(text, str) else None


def _read_blocks(content: list[Any]) -> _Blocks:
    blocks = _Blocks()
    for block in content:
        if isinstance(block, dict):
            blocks.add(block)
    return blocks


class _Blocks:
    """The content so far. Texts join without a separator: citations split one sentence over many blocks."""

    __slots__ = ("citations", "length", "texts", "thinking", "tool_calls")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.length = 0
        self.thinking: list[ThinkingPart | RedactedThinkingPart] = []
        self.tool_calls: list[ToolCallPart] = []
        self.citations: list[UrlCitation] = []

    def add(self, block: JsonObject) -> None:
        match block.get("type"):
            case "text":
                text = text_of(block, "text")
                start, self.length = self.length, self.length + len(text)
                self.texts.append(text)
                if block.get("citations"):
                    self.citations += decode_citations(block["citations"], start, self.length)
            case "tool_use":
                self.tool_calls.append(
                    ToolCallPart(
                        id=text_of(block, "id"),
                        name=text_of(block, "name"),
                        arguments=decode_arguments(block.get("input")),
                    )
                )
            case "thinking":
                self.thinking.append(ThinkingPart(text_of(block, "thinking"), text_of(block, "signature")))
            case "redacted_thinking":
                self.thinking.append(RedactedThinkingPart(text_of(block, "data")))
            case _:
                pass


_NOTHING: Final = _Blocks()
