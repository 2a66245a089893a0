"""Chat completion chunks, written from neutral events.

Owns what OpenAI's clients rely on: one id in all chunks, the role first and once, tool
calls counted from 0, the finish reason once, the usage chunk only where it was asked
for, `[DONE]` last, and never a `[DONE]` after a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from api.services.translation.conversation import JsonObject
from api.services.translation.dialects.openai_chat.replies import (
    ReplyContext,
    encode_citation,
    encode_finish,
    encode_id,
    encode_thinking,
)
from api.services.translation.dialects.openai_chat.usage import encode_usage
from api.services.translation.events import (
    CitationsAdded,
    Event,
    ReasoningAdded,
    RefusalAdded,
    ReplyFinished,
    ReplyStarted,
    TextAdded,
    ThinkingFinished,
    ToolArgumentsAdded,
    ToolCallStarted,
)
from api.services.translation.json_text import dump_json
from api.services.translation.sse import DONE

_ROLE: Final = b'{"role":"assistant","content":"","refusal":null}'


class StreamEncoder:
    """One stream. All that the chunks have in common is written once, when the reply starts.

    The role waits for the first event that carries output: until then nothing is sent,
    and another upstream may still answer. A failure is not written here.
    """

    def __init__(self, context: ReplyContext) -> None:
        self._context = context
        self._has_role = False
        self._head = self._before = self._after = b""
        self._set_id("")

    def encode(self, events: list[Event]) -> bytes:
        chunks: list[bytes] = []
        for event in events:
            writer = _WRITERS.get(type(event))
            if writer is not None:
                writer(self, event, chunks)
        return b"".join(chunks)

    def around(self, event: type[Event], index: int) -> tuple[bytes, bytes] | None:
        if not self._has_role:
            return None
        if event is TextAdded:
            before, after = b'{"content":"', b'"}'
        elif event is ReasoningAdded:
            before, after = b'{"reasoning_content":"', b'"}'
        elif event is ToolArgumentsAdded and not self._context.uses_legacy_functions:
            before, after = b'{"tool_calls":[{"index":%d,"function":{"arguments":"' % index, b'"}}]}'
        else:
            return None
        return self._before + before, after + self._after

    def _set_id(self, reply_id: str) -> None:
        head: JsonObject = {
            "id": encode_id(reply_id, self._context),
            "object": "chat.completion.chunk",
            "created": self._context.created,
            "model": self._context.model,
        }
        self._head = b"data: " + dump_json(head)[:-1]
        self._before = self._head + b',"choices":[{"index":0,"delta":'
        usage = b',"usage":null' if self._context.includes_usage else b""
        self._after = b',"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"

    def _add(self, delta: bytes, chunks: list[bytes]) -> None:
        if not self._has_role:
            self._has_role = True
            chunks.append(self._before + _ROLE + self._after)
        chunks.append(self._before + delta + self._after)

    def _started(self, event: ReplyStarted, chunks: list[bytes]) -> None:
        self._set_id(event.id)

    def _text(self, event: TextAdded, chunks: list[bytes]) -> None:
        self._add(b'{"content":' + dump_json(event.text) + b"}", chunks)

    def _reasoning(self, event: ReasoningAdded, chunks: list[bytes]) -> None:
        self._add(b'{"reasoning_content":' + dump_json(event.text) + b"}", chunks)

    def _thinking(self, event: ThinkingFinished, chunks: list[bytes]) -> None:
        # List deltas without an index make the SDK's helper raise when two arrive.
        block = {"index": event.index, **encode_thinking(event.part)}
        self._add(dump_json({"thinking_blocks": [block]}), chunks)

    def _tool_call(self, event: ToolCallStarted, chunks: list[bytes]) -> None:
        function: JsonObject = {"name": event.name, "arguments": ""}
        if self._context.uses_legacy_functions:
            if event.index == 0:  # the old shape holds one call
                self._add(dump_json({"function_call": function}), chunks)
            return
        call = {"index": event.index, "id": event.id, "type": "function", "function": function}
        self._add(dump_json({"tool_calls": [call]}), chunks)

    def _arguments(self, event: ToolArgumentsAdded, chunks: list[bytes]) -> None:
        # Index and arguments only: the SDKs append, and would double a repeated id or name.
        json = dump_json(event.json)
        if self._context.uses_legacy_functions:
            if event.index == 0:
                self._add(b'{"function_call":{"arguments":' + json + b"}}", chunks)
            return
        call = b'{"tool_calls":[{"index":%d,"function":{"arguments":' % event.index
        self._add(call + json + b"}}]}", chunks)

    def _citations(self, event: CitationsAdded, chunks: list[bytes]) -> None:
        annotations = [encode_citation(citation) for citation in event.citations]
        self._add(dump_json({"annotations": annotations}), chunks)

    def _refusal(self, event: RefusalAdded, chunks: list[bytes]) -> None:
        self._add(b'{"refusal":' + dump_json(event.text) + b"}", chunks)

    def _finished(self, event: ReplyFinished, chunks: list[bytes]) -> None:
        if not self._has_role:
            self._has_role = True
            chunks.append(self._before + _ROLE + self._after)
        rest: JsonObject = {
            "choices": [
                {
                    "index": 0,
                    "delta": {},
                    "logprobs": None,
                    "finish_reason": encode_finish(event.reason, self._context),
                }
            ]
        }
        if event.service_tier is not None:
            rest["service_tier"] = event.service_tier
        if self._context.includes_usage:
            rest["usage"] = None
        chunks.append(self._chunk(rest))
        if self._context.includes_usage:
            usage = None if event.usage is None else encode_usage(event.usage)
            tier = {} if event.service_tier is None else {"service_tier": event.service_tier}
            chunks.append(self._chunk({"choices": [], **tier, "usage": usage}))
        chunks.append(DONE)

    def _chunk(self, rest: JsonObject) -> bytes:
        return self._head + b"," + dump_json(rest)[1:] + b"\n\n"


_WRITERS: Final[Mapping[type, Callable[[StreamEncoder, Any, list[bytes]], None]]] = {
    CitationsAdded: StreamEncoder._citations,
    ReasoningAdded: StreamEncoder._reasoning,
    RefusalAdded: StreamEncoder._refusal,
    ReplyFinished: StreamEncoder._finished,
    ReplyStarted: StreamEncoder._started,
    TextAdded: StreamEncoder._text,
    ThinkingFinished: StreamEncoder._thinking,
    ToolArgumentsAdded: StreamEncoder._arguments,
    ToolCallStarted: StreamEncoder._tool_call,
}
