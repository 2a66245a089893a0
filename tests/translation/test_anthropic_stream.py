from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services.translation.conversation import FinishReason
from api.services.translation.dialects.anthropic_messages.replies import decode_reply
from api.services.translation.dialects.anthropic_messages.stream import StreamDecoder
from api.services.translation.dialects.openai_chat.replies import ReplyContext, encode_reply
from api.services.translation.dialects.openai_chat.stream import StreamEncoder
from api.services.translation.events import (
    Event,
    Heartbeat,
    ReplyFailed,
    ReplyFinished,
    ReplyStarted,
    TextAdded,
    fold,
)
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.streams import TranslatedStream
from api.services.translation.usage import Usage
from tests.translation.accumulating import accumulate
from tests.translation.feeding import cut, feed_all, pieces_of, read_chunks
from tests.translation.messages import events_of, json_values, messages, sse_of

CONTEXT = ReplyContext(model="m", created=1, includes_usage=True)
START: dict[str, Any] = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "claude", "usage": {"input_tokens": 10, "output_tokens": 1}},
}
TEXT: dict[str, Any] = {
    "type": "content_block_delta",
    "index": 0,
    "delta": {"type": "text_delta", "text": "Hi"},
}
END: list[dict[str, Any]] = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]


def decode(data: bytes, size: int = 0, **options: Any) -> list[Event]:
    decoder = StreamDecoder(**options)
    events = [event for piece in pieces_of(data, size) for event in decoder.feed(piece)]
    return events + decoder.close()


def translate(pieces: list[bytes]) -> tuple[bytes, Failure | None]:
    stream = TranslatedStream(StreamDecoder(), StreamEncoder(CONTEXT))
    return feed_all(stream, pieces), stream.failure


@given(messages, st.integers(1, 5))
def test_a_streamed_message_is_the_same_reply_as_the_whole_one(message: dict[str, Any], piece: int) -> None:
    assert fold(decode(sse_of(events_of(message, piece)))) == decode_reply(message)


@given(messages)
def test_the_chunks_add_up_to_the_completion(message: dict[str, Any]) -> None:
    output, failure = translate([sse_of(events_of(message))])
    assert failure is None
    whole = encode_reply(fold(decode(sse_of(events_of(message)))), CONTEXT)
    assert accumulate(read_chunks(output), drops_refused_calls=True) == whole


@given(
    messages,
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.lists(st.integers(0, 10_000), max_size=8),
)
def test_any_cut_gives_the_same_client_bytes(
    message: dict[str, Any], line_end: str, is_named: bool, places: list[int]
) -> None:
    whole, _ = translate([sse_of(events_of(message))])
    data = sse_of(events_of(message), line_end, is_named=is_named)
    assert translate(cut(data, places)) == (whole, None)
    assert translate(pieces_of(data, 1)) == (whole, None)


@given(messages, st.integers(0, 10_000))
def test_a_stream_that_breaks_off_anywhere_has_failed(message: dict[str, Any], place: int) -> None:
    data = sse_of(events_of(message))
    # Without its last empty line the last event is still whole.
    data = data[: place % (len(data) - len('"}\n\n'))]
    output, failure = translate([data])
    assert failure is not None
    assert failure.kind is FailureKind.UPSTREAM_STREAM_INTERRUPTED
    assert b"[DONE]" not in output
    assert b'"finish_reason":"' not in output


def test_the_last_event_needs_no_empty_line() -> None:
    data = sse_of([START, TEXT, *END]).removesuffix(b"\n\n")
    assert isinstance(decode(data)[-1], ReplyFinished)


@given(
    st.binary(max_size=300)
    | st.lists(json_values, max_size=5).map(
        lambda values: "".join(f"data: {json.dumps(value)}\n\n" for value in values).encode()
    )
)
def test_any_bytes_give_output_or_a_failure(data: bytes) -> None:
    events = decode(data)
    assert isinstance(events[-1], ReplyFailed)


_names = st.sampled_from(
    ["type", "index", "delta", "content_block", "message", "usage", "text", "partial_json", "thinking", "signature",
     "citation", "citations", "stop_reason", "stop_details", "error", "id", "name", "input", "data", "model"]
)  # fmt: skip
_kinds = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
     "message_stop", "ping", "error", "text_delta", "input_json_delta", "thinking_delta", "signature_delta",
     "citations_delta", "text", "tool_use", "thinking", "redacted_thinking", "overloaded_error", "end_turn", "refusal"]
)  # fmt: skip
_nonsense = st.recursive(
    json_values | _kinds,
    lambda children: st.dictionaries(_names, children, max_size=5),
    max_leaves=10,
)
_events = st.lists(
    st.builds(
        lambda kind, rest: {**rest, "type": kind}, _kinds, st.dictionaries(_names, _nonsense, max_size=5)
    ),
    max_size=8,
)


@given(_events, st.booleans())
def test_known_events_full_of_nonsense_never_raise(events: list[dict[str, Any]], holds_pauses: bool) -> None:
    decoder = StreamDecoder(holds_pauses=holds_pauses)
    stream = TranslatedStream(decoder, StreamEncoder(CONTEXT))
    feed_all(stream, [sse_of(events)])
    assert stream.is_finished or stream.failure is not None or decoder.paused_content is not None


@given(json_values)
def test_any_whole_body_in_place_of_a_stream_gives_output_or_a_failure(body: Any) -> None:
    stream = TranslatedStream(StreamDecoder(), StreamEncoder(CONTEXT))
    stream.feed_unstreamed(json.dumps(body).encode())
    assert stream.is_finished or stream.failure is not None


@given(messages)
def test_a_whole_message_in_place_of_a_stream_becomes_that_stream(message: dict[str, Any]) -> None:
    stream = TranslatedStream(StreamDecoder(), StreamEncoder(CONTEXT))
    output = stream.feed_unstreamed(json.dumps(message).encode())
    assert stream.is_finished
    assert stream.has_output
    assert accumulate(read_chunks(output)) == encode_reply(decode_reply(message), CONTEXT)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"detail":"x"}'])
def test_a_body_that_is_no_message_never_becomes_an_empty_stream(body: bytes) -> None:
    stream = TranslatedStream(StreamDecoder(), StreamEncoder(CONTEXT))
    assert stream.feed_unstreamed(body) == b""
    assert stream.failure is not None
    assert stream.failure.kind is FailureKind.UPSTREAM_INVALID_RESPONSE
    assert not stream.has_output


def test_a_json_body_that_was_taken_for_a_stream_is_a_failure_too() -> None:
    stream = TranslatedStream(StreamDecoder(), StreamEncoder(CONTEXT))
    assert feed_all(stream, [b'{"type":"message","content":[]}']) == b""
    assert stream.failure is not None


def test_every_delta_is_out_at_once() -> None:
    stream = TranslatedStream(StreamDecoder(), StreamEncoder(CONTEXT))
    events = [
        START,
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "tool_use", "id": "t", "name": "f"},
        },
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": text},
            }
            for text in ['{"', "a", '":', "1}"]
        ),
    ]
    counts = [stream.feed(sse_of([event])).count(b"data: ") for event in events]
    assert counts == [0, 2, 1, 1, 1, 1]  # the role goes out with the first output


def test_nothing_goes_out_before_the_first_output() -> None:
    stream = TranslatedStream(StreamDecoder(), StreamEncoder(CONTEXT))
    empty_block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    assert stream.feed(sse_of([START, {"type": "ping"}, empty_block])) == b""
    assert not stream.has_output
    assert stream.upstream_model == "claude"
    assert stream.feed(sse_of([TEXT])) != b""
    assert stream.has_output


def test_what_was_counted_is_known_at_any_time() -> None:
    stream = TranslatedStream(StreamDecoder(), StreamEncoder(CONTEXT))
    assert stream.usage is None
    stream.feed(sse_of([START, TEXT]))
    assert stream.usage == Usage(input_tokens=10, output_tokens=1)
    stream.close()
    assert stream.failure is not None
    assert stream.usage == Usage(input_tokens=10, output_tokens=1)


def test_nothing_follows_the_end() -> None:
    stream = TranslatedStream(StreamDecoder(), StreamEncoder(CONTEXT))
    stream.feed(sse_of([START, TEXT, *END]))
    assert stream.is_finished
    assert stream.finish is FinishReason.STOP
    assert stream.feed(sse_of([TEXT])) == b""
    assert stream.close() == b""
    assert stream.failure is None


def test_a_heartbeat_is_no_output() -> None:
    assert decode(sse_of([{"type": "ping"}]))[0] == Heartbeat()


def test_output_without_a_start_is_tolerated_and_an_end_without_one_is_not() -> None:
    assert decode(sse_of([TEXT, *END]))[:2] == [ReplyStarted("", ""), TextAdded("Hi")]
    assert isinstance(decode(sse_of(END))[-1], ReplyFailed)


def test_a_block_that_never_stops_is_closed_at_the_end() -> None:
    block = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "tool_use", "id": "t", "name": "f"},
    }
    (call,) = fold(decode(sse_of([START, block, *END]))).tool_calls
    assert call.arguments == "{}"


def test_an_error_event_is_scrubbed() -> None:
    error = {"type": "error", "error": {"type": "api_error", "message": "key test-secret broke"}}
    (failed,) = decode(sse_of([error]), secrets=["test-secret"])
    assert isinstance(failed, ReplyFailed)
    assert failed.failure.message == "key [redacted] broke"


def test_an_event_that_is_too_large_is_a_failure() -> None:
    stream = TranslatedStream(StreamDecoder(), StreamEncoder(CONTEXT))
    stream.feed(sse_of([START, TEXT]))
    for _ in range(70):
        stream.feed(b"x" * 1024 * 1024)
    assert stream.failure is not None
    assert stream.failure.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


class TestPause:
    """A model that paused between its server tools."""

    first: ClassVar[dict[str, Any]] = {
        "id": "msg_1",
        "model": "claude",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "S"},
            {"type": "text", "text": "See "},
            {
                "type": "server_tool_use",
                "id": "srvtoolu_1",
                "name": "web_search",
                "input": {"query": "q"},
            },
        ],
        "stop_reason": "pause_turn",
        "stop_details": None,
        "usage": {"input_tokens": 10, "output_tokens": 2},
    }
    second: ClassVar[dict[str, Any]] = {
        "id": "msg_2",
        "model": "claude",
        "content": [
            {"type": "web_search_tool_result", "content": []},
            {"type": "thinking", "thinking": "so", "signature": "T"},
            {
                "type": "text",
                "text": "this",
                "citations": [{"type": "web_search_result_location", "url": "u", "title": "t"}],
            },
        ],
        "stop_reason": "end_turn",
        "stop_details": None,
        "usage": {"input_tokens": 20, "output_tokens": 3},
    }

    def open(self) -> TranslatedStream:
        return TranslatedStream(StreamDecoder(holds_pauses=True), StreamEncoder(CONTEXT))

    def test_it_hands_out_its_content_as_it_was_sent(self) -> None:
        stream = self.open()
        feed_all(stream, pieces_of(sse_of(events_of(self.first)), 1))
        assert (stream.is_finished, stream.failure) == (False, None)
        assert stream.paused_content == [
            {"type": "thinking", "thinking": "hm", "signature": "S"},
            {"type": "text", "text": "See "},
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        ]

    @pytest.mark.parametrize("is_streamed", [True, False])
    def test_its_continuation_continues_the_same_reply(self, is_streamed: bool) -> None:
        stream = self.open()
        output = feed_all(stream, [sse_of(events_of(self.first))])
        stream.resume()
        assert stream.paused_content is None
        if is_streamed:
            output += feed_all(stream, [sse_of(events_of(self.second))])
        else:
            output += stream.feed_unstreamed(json.dumps(self.second).encode())
        assert stream.is_finished
        chunks = read_chunks(output)
        assert len({chunk["id"] for chunk in chunks[:-1]}) == 1
        completion = accumulate(chunks)
        message = completion["choices"][0]["message"]
        assert message["content"] == "See this"
        assert [block["signature"] for block in message["thinking_blocks"]] == ["S", "T"]
        assert message["annotations"][0]["url_citation"]["start_index"] == 4
        assert completion["usage"]["total_tokens"] == 35
        assert stream.usage == Usage(input_tokens=30, output_tokens=5)

    def test_it_may_end_as_it_is(self) -> None:
        stream = self.open()
        output = feed_all(stream, [sse_of(events_of(self.first))]) + stream.end_pause()
        assert stream.is_finished
        assert stream.finish is FinishReason.STOP
        assert output.endswith(b"data: [DONE]\n\n")
        assert stream.end_pause() == b""

    def test_nobody_who_did_not_ask_sees_a_pause(self) -> None:
        stream = TranslatedStream(StreamDecoder(), StreamEncoder(CONTEXT))
        feed_all(stream, [sse_of(events_of(self.first))])
        assert stream.is_finished
        assert stream.paused_content is None

    def test_a_continuation_that_is_cut_is_a_failure(self) -> None:
        stream = self.open()
        feed_all(stream, [sse_of(events_of(self.first))])
        stream.resume()
        feed_all(stream, [sse_of(events_of(self.second)[:3])])
        assert stream.failure is not None
        assert stream.usage == Usage(input_tokens=30, output_tokens=3)
