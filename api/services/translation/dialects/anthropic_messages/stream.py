"""An Anthropic stream, read into neutral events.

A machine without I/O: any cut of the bytes gives the same events, and any bytes at all
give events, the last of which may be a failure. Unknown events, blocks and deltas are
passed over, as Anthropic asks of its clients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from api.services.translation.conversation import (
    FinishReason,
    JsonObject,
    RedactedThinkingPart,
    ThinkingPart,
    UrlCitation,
)
from api.services.translation.dialects.anthropic_messages.content import ContentRecorder
from api.services.translation.dialects.anthropic_messages.failures import decode_reported_failure
from api.services.translation.dialects.anthropic_messages.replies import (
    decode_arguments,
    decode_citations,
    decode_explanation,
    decode_finish,
    decode_id,
    decode_reply,
    text_of,
)
from api.services.translation.dialects.anthropic_messages.usage import (
    decode_service_tier,
    decode_usage,
    merge_usage,
)
from api.services.translation.events import (
    CitationsAdded,
    Event,
    Heartbeat,
    ReasoningAdded,
    RefusalAdded,
    ReplyFailed,
    ReplyFinished,
    ReplyStarted,
    TextAdded,
    ThinkingFinished,
    ToolArgumentsAdded,
    ToolCallStarted,
    interrupted,
)
from api.services.translation.failures import Failure
from api.services.translation.json_text import load_json
from api.services.translation.sse import Frame, FrameSplitter
from api.services.translation.streams import PlainFrames
from api.services.translation.upstream_responses import invalid_response, read_object
from api.services.translation.usage import Usage, sum_usage


@dataclass(slots=True)
class _Block:
    """A content block that has not stopped yet."""

    kind: str
    index: int = -1  # among the blocks of its kind that the client sees
    start: int = 0  # where its text begins in the whole reply's
    tool_input: Any = None
    has_arguments: bool = False
    thinking: list[str] = field(default_factory=list)
    signature: str = ""
    citations: list[Any] = field(default_factory=list)


class StreamDecoder:
    """One stream, from its first byte to its last.

    `message_stop` is what ends it. Without one it has failed, even if all its text
    arrived and the connection closed politely.

    With `holds_pauses`, a message that paused between server tools does not finish:
    `paused_content` is what to send back to the upstream. `resume` then awaits the bytes
    of its answer, which continue the same reply; `end_pause` finishes it as it is.
    """

    def __init__(self, secrets: Iterable[str] = (), *, holds_pauses: bool = False) -> None:
        self.paused_content: list[JsonObject] | None = None
        self._secrets = tuple(secrets)
        self._recorder = ContentRecorder() if holds_pauses else None
        self._earlier_usage: Usage | None = None
        self._splitter = FrameSplitter()
        self._blocks: dict[int, _Block] = {}
        self._wire_usage: JsonObject = {}
        self._stop_reason: Any = None
        self._stop_details: Any = None
        self._citations: list[UrlCitation] = []
        self._text_length = 0
        self._tool_calls = 0
        self._thoughts = 0
        self._is_started = False
        self._is_done = False
        self._latest: int | None = None  # the block that started last, while it is open
        self._passed_over: list[bytes] = []

    @property
    def plain_frames(self) -> PlainFrames | None:
        if self._latest is None or self._is_done or not self._splitter.is_between_frames:
            return None
        block = self._blocks[self._latest]
        shape = _PLAIN_DELTAS.get(block.kind)
        if shape is None:
            return None
        kind, name, event = shape
        before = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
            b'"delta":{"type":"%b","%b":"' % (self._latest, kind.encode(), name.encode())
        )
        return PlainFrames(before, b'"}', b"}\n\n", event, block.index)

    def pass_over(self, texts: list[bytes]) -> None:
        # Read together and later: nothing of them is asked for before the next frame.
        self._passed_over += texts

    def _catch_up(self) -> None:
        """Do for all that was passed over what a single delta with all its text would have done."""
        if self._latest is None or not self._passed_over:
            return
        kind, name, _ = _PLAIN_DELTAS[self._blocks[self._latest].kind]
        text = load_json(b'"%b"' % b"".join(self._passed_over))
        self._passed_over.clear()
        self._block_delta({"index": self._latest, "delta": {"type": kind, name: text}}, [])

    @property
    def usage(self) -> Usage | None:
        return sum_usage(self._earlier_usage, decode_usage(self._wire_usage))

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        if self._is_done:
            return events
        self._catch_up()
        for frame in self._splitter.feed(data):
            self._read(frame, events)
            if self._is_done:
                return events
        if self._splitter.failure is not None:
            self._fail(self._splitter.failure, events)
        return events

    def close(self) -> list[Event]:
        events: list[Event] = []
        if self._is_done:
            return events
        self._catch_up()
        for frame in self._splitter.close():
            # The end of the bytes may have cut it: what does not parse was not meant to be read.
            if frame.data is not None and read_object(frame.data) is not None:
                self._read(frame, events)
        if not self._is_done:
            self._fail(interrupted(), events)
        return events

    def decode_unstreamed(self, body: bytes) -> list[Event]:
        """The upstream answered with one JSON message instead of a stream: the events that tell it."""
        events: list[Event] = []
        wire = read_object(body)
        try:
            if wire is None:
                raise invalid_response()
            reply = decode_reply(wire, self._secrets)
        except Failure as failure:
            self._fail(failure, events)
            return events
        is_refused = reply.finish is FinishReason.CONTENT_FILTER
        self._message_start({"message": wire}, events)
        for index, block in enumerate(wire["content"]):
            if not (is_refused and text_of(block, "type") == "tool_use"):
                place = {"index": index, "content_block": block}
                self._block_start(place, events)
                self._block_stop(place, events)
        self._message_delta({"delta": wire}, events)
        self._message_stop({}, events)
        return events

    def resume(self) -> None:
        """The same reply goes on in another stream: usage is counted anew and summed, all else continues."""
        self._earlier_usage = self.usage
        self._wire_usage = {}
        self._splitter = FrameSplitter()
        self._blocks = {}
        self._latest = None
        self._recorder = ContentRecorder()
        self._stop_reason = self._stop_details = None
        self.paused_content = None
        self._is_done = False

    def end_pause(self) -> list[Event]:
        """Nobody continues the reply: what there is of it is the whole."""
        events: list[Event] = []
        if self.paused_content is not None:
            self.paused_content = None
            self._finish(events)
        return events

    def _read(self, frame: Frame, events: list[Event]) -> None:
        data = frame.data
        if not data or data == b"[DONE]":
            return
        try:
            wire = load_json(data)
        except Failure:
            wire = None
        if type(wire) is not dict:
            self._fail(interrupted(), events)
            return
        kind = wire.get("type")
        if type(kind) is not str:
            kind = frame.event
        handler = _HANDLERS.get(kind) if kind is not None else None
        if handler is not None:
            handler(self, wire, events)

    def _message_start(self, wire: JsonObject, events: list[Event]) -> None:
        message = wire.get("message")
        if isinstance(message, dict):
            merge_usage(self._wire_usage, message.get("usage"))
            self._start(events, decode_id(message.get("id")), text_of(message, "model"))

    def _start(self, events: list[Event], reply_id: str = "", model: str = "") -> None:
        if not self._is_started:
            self._is_started = True
            events.append(ReplyStarted(reply_id, model))

    def _block_start(self, wire: JsonObject, events: list[Event]) -> None:
        self._start(events)
        content = wire.get("content_block")
        if not isinstance(content, dict):
            content = {}
        block = _Block(text_of(content, "type"), start=self._text_length)
        self._blocks[_index_of(wire)] = block
        self._latest = _index_of(wire)
        if self._recorder is not None:
            self._recorder.start(_index_of(wire), content)
        match block.kind:
            case "text":
                self._add_text(text_of(content, "text"), events)
                if isinstance(content.get("citations"), list):
                    block.citations += content["citations"]
            case "tool_use":
                block.index, self._tool_calls = self._tool_calls, self._tool_calls + 1
                block.tool_input = content.get("input") or None
                events.append(ToolCallStarted(block.index, text_of(content, "id"), text_of(content, "name")))
            case "thinking":
                block.index, self._thoughts = self._thoughts, self._thoughts + 1
                block.signature = text_of(content, "signature")
                self._add_reasoning(block, text_of(content, "thinking"), events)
            case "redacted_thinking":
                part = RedactedThinkingPart(text_of(content, "data"))
                events.append(ThinkingFinished(self._thoughts, part))
                self._thoughts += 1
            case _:
                pass  # server tools and what is to come: their deltas are passed over too

    def _block_delta(self, wire: JsonObject, events: list[Event]) -> None:
        delta = wire.get("delta")
        if type(delta) is not dict:
            return
        if self._recorder is not None:
            self._recorder.add(_index_of(wire), delta)
        kind = delta.get("type")
        if kind == "text_delta":
            self._add_text(text_of(delta, "text"), events)
            return
        block = self._blocks.get(_index_of(wire))
        if block is None:
            return
        if kind == "input_json_delta":
            json = text_of(delta, "partial_json")
            if json and block.kind == "tool_use":
                block.has_arguments = True
                events.append(ToolArgumentsAdded(block.index, json))
        elif kind == "thinking_delta":
            if block.kind == "thinking":
                self._add_reasoning(block, text_of(delta, "thinking"), events)
        elif kind == "signature_delta":
            block.signature = text_of(delta, "signature") or block.signature
        elif kind == "citations_delta":
            block.citations.append(delta.get("citation"))

    def _add_text(self, text: str, events: list[Event]) -> None:
        if text:
            if not self._is_started:
                self._start(events)
            self._text_length += len(text)
            events.append(TextAdded(text))

    def _add_reasoning(self, block: _Block, text: str, events: list[Event]) -> None:
        if text:
            block.thinking.append(text)
            events.append(ReasoningAdded(text))

    def _block_stop(self, wire: JsonObject, events: list[Event]) -> None:
        self._latest = None
        self._stop_block(self._blocks.pop(_index_of(wire), None), events)

    def _stop_block(self, block: _Block | None, events: list[Event]) -> None:
        if block is None:
            return
        if block.kind == "tool_use" and not block.has_arguments:
            events.append(ToolArgumentsAdded(block.index, decode_arguments(block.tool_input)))
        elif block.kind == "thinking":
            part = ThinkingPart("".join(block.thinking), block.signature)
            events.append(ThinkingFinished(block.index, part))
        elif block.kind == "text" and block.citations:
            self._citations += decode_citations(block.citations, block.start, self._text_length)

    def _message_delta(self, wire: JsonObject, _: list[Event]) -> None:
        merge_usage(self._wire_usage, wire.get("usage"))
        delta = wire.get("delta")
        if isinstance(delta, dict) and delta.get("stop_reason") is not None:
            self._stop_reason = delta["stop_reason"]
            self._stop_details = delta.get("stop_details")

    def _message_stop(self, _: JsonObject, events: list[Event]) -> None:
        if not self._is_started:
            self._fail(interrupted(), events)
            return
        for index in sorted(self._blocks):
            self._stop_block(self._blocks[index], events)
        if self._recorder is not None and self._stop_reason == "pause_turn":
            self._is_done = True
            self.paused_content = self._recorder.finish()
            return
        self._finish(events)

    def _finish(self, events: list[Event]) -> None:
        if self._citations:
            events.append(CitationsAdded(tuple(self._citations)))
        reason = decode_finish(self._stop_reason)
        if reason is FinishReason.CONTENT_FILTER:
            explanation = decode_explanation(self._stop_details)
            if explanation is not None:
                events.append(RefusalAdded(explanation))
        self._is_done = True
        events.append(ReplyFinished(reason, self.usage, decode_service_tier(self._wire_usage)))

    def _error(self, wire: JsonObject, events: list[Event]) -> None:
        self._fail(decode_reported_failure(wire, self._secrets), events)

    def _ping(self, _: JsonObject, events: list[Event]) -> None:
        events.append(Heartbeat())

    def _fail(self, failure: Failure, events: list[Event]) -> None:
        self._is_done = True
        events.append(ReplyFailed(failure, self.usage))


def _index_of(wire: JsonObject) -> int:
    index = wire.get("index")
    return index if type(index) is int else -1


_PLAIN_DELTAS: Final[Mapping[str, tuple[str, str, type[Event]]]] = {
    "text": ("text_delta", "text", TextAdded),
    "thinking": ("thinking_delta", "thinking", ReasoningAdded),
    "tool_use": ("input_json_delta", "partial_json", ToolArgumentsAdded),
}
"""By a block's kind: the delta that adds to it, which member of it is the text, and what it says."""

_HANDLERS: Final[Mapping[str, Callable[[StreamDecoder, JsonObject, list[Event]], None]]] = {
    "content_block_delta": StreamDecoder._block_delta,
    "content_block_start": StreamDecoder._block_start,
    "content_block_stop": StreamDecoder._block_stop,
    "error": StreamDecoder._error,
    "message_delta": StreamDecoder._message_delta,
    "message_start": StreamDecoder._message_start,
    "message_stop": StreamDecoder._message_stop,
    "ping": StreamDecoder._ping,
}
