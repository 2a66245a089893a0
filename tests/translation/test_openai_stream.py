"""Chunks as the official SDK reads them, helper and error line included."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given, settings
from openai.types.chat import ChatCompletionChunk

from api.services.translation.conversation import FinishReason
from api.services.translation.dialects.anthropic_messages.replies import decode_reply
from api.services.translation.dialects.anthropic_messages.stream import StreamDecoder
from api.services.translation.dialects.openai_chat.failures import encode_stream_failure
from api.services.translation.dialects.openai_chat.replies import ReplyContext
from api.services.translation.dialects.openai_chat.stream import StreamEncoder
from api.services.translation.events import (
    CitationsAdded,
    Heartbeat,
    ReplyFailed,
    ReplyFinished,
    ReplyStarted,
    TextAdded,
    interrupted,
)
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.streams import TranslatedStream
from api.services.translation.usage import Usage
from tests.golden_cases import GoldenCase, load_cases
from tests.translation.feeding import feed_all, read_chunks
from tests.translation.messages import events_of, messages, sse_of

CONTEXT = ReplyContext(model="m", created=1, includes_usage=True)


def client_of(body: bytes) -> openai.OpenAI:
    """The SDK, with a server that answers every request with this stream."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    return openai.OpenAI(
        api_key="any",
        base_url="http://proxy.test/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
    )


def read_stream(body: bytes, into: list[str | None] | None = None) -> list[ChatCompletionChunk]:
    """All chunks; `into` collects their texts, also of a stream that breaks."""
    chunks = []
    with client_of(body) as client:
        for chunk in client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "q"}], stream=True
        ):
            chunks.append(chunk)
            if into is not None:
                into.append(chunk.choices[0].delta.content)
    return chunks


def translate(message: dict[str, Any]) -> bytes:
    stream = TranslatedStream(StreamDecoder(), StreamEncoder(CONTEXT))
    return feed_all(stream, [sse_of(events_of(message))])


@given(messages)
@settings(max_examples=25, deadline=None)
def test_the_sdks_helper_puts_the_reply_together(message: dict[str, Any]) -> None:
    with (
        client_of(translate(message)) as client,
        client.chat.completions.stream(
            model="m", messages=[{"role": "user", "content": "q"}], stream_options={"include_usage": True}
        ) as stream,
    ):
        snapshot = None
        for _ in stream:
            snapshot = stream.current_completion_snapshot
    assert snapshot is not None
    reply = decode_reply(message)
    choice = snapshot.choices[0]
    assert choice.finish_reason == reply.finish.value
    assert (choice.message.content or None) == reply.text
    assert choice.message.role == "assistant"
    if reply.finish is not FinishReason.CONTENT_FILTER:
        assert [
            (call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()
        ] == [(call.id, call.name, call.arguments) for call in reply.tool_calls]
    assert snapshot.usage is not None
    assert reply.usage is not None
    assert snapshot.usage.total_tokens == reply.usage.total_tokens
    extra = choice.message.model_extra or {}
    assert len(extra.get("thinking_blocks", ())) == len(reply.thinking)


@given(messages)
def test_every_chunk_is_what_the_sdk_expects(message: dict[str, Any]) -> None:
    for chunk in read_chunks(translate(message))[:-1]:
        ChatCompletionChunk.model_validate(chunk, strict=True)
        assert chunk.keys() - {"service_tier"} == {"id", "object", "created", "model", "choices", "usage"}


@pytest.mark.parametrize(
    "case",
    [case for case in load_cases("chat_stream") if b'data: {"error"' not in case.read_bytes("stream.sse")],
    ids=str,
)
def test_golden_streams_reach_the_sdk_to_their_end(case: GoldenCase) -> None:
    chunks = read_stream(case.read_bytes("stream.sse"))
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] is not None


@pytest.mark.parametrize("kind", [FailureKind.UPSTREAM_OVERLOADED, FailureKind.UPSTREAM_STREAM_INTERRUPTED])
def test_an_error_line_is_an_exception_in_the_sdk(kind: FailureKind) -> None:
    stream = TranslatedStream(StreamDecoder(), StreamEncoder(CONTEXT))
    start = {"type": "message_start", "message": {"id": "msg_1"}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}}
    body = stream.feed(sse_of([start, delta])) + encode_stream_failure(Failure(kind, "It broke."))
    received: list[str | None] = []
    with pytest.raises(openai.APIError, match="It broke") as raised:
        read_stream(body, into=received)
    assert received == ["", "Hel"]
    assert (raised.value.code, raised.value.type) == (Failure(kind, "").code, "server_error")


# --- the encoder by itself


def encode(*events: Any, context: ReplyContext = CONTEXT) -> list[Any]:
    return read_chunks(StreamEncoder(context).encode(list(events)))


def test_start_heartbeat_and_failure_write_nothing() -> None:
    assert encode(ReplyStarted("1", "m"), Heartbeat(), ReplyFailed(interrupted())) == []


def test_a_reply_without_an_id_takes_the_one_it_is_given() -> None:
    context = ReplyContext(model="m", created=1, fallback_id="req-1")
    assert {chunk["id"] for chunk in encode(ReplyStarted("", ""), TextAdded("x"), context=context)} == {
        "chatcmpl-req-1"
    }


def test_the_models_name_is_json_whatever_it_is() -> None:
    name = 'a"b\\é\u2028'
    (role, _) = encode(TextAdded("x"), context=ReplyContext(model=name, created=1))
    assert role["model"] == name


def test_usage_that_nobody_counted_is_null_where_it_was_asked_for() -> None:
    *_, usage, done = encode(TextAdded("x"), ReplyFinished(FinishReason.STOP, None))
    assert (usage["choices"], usage["usage"], done) == ([], None, "[DONE]")


def test_without_being_asked_there_is_no_usage_anywhere() -> None:
    context = ReplyContext(model="m", created=1)
    output = StreamEncoder(context).encode([TextAdded("x"), ReplyFinished(FinishReason.STOP, Usage(1, 1))])
    assert b"usage" not in output


def test_a_lone_surrogate_in_a_text_still_gives_valid_bytes() -> None:
    _, chunk = encode(TextAdded("a\ud83db"))
    assert chunk["choices"][0]["delta"]["content"] == "a\N{REPLACEMENT CHARACTER}b"


def test_an_empty_list_of_citations_is_still_json() -> None:
    assert json.dumps(encode(CitationsAdded(()))[-1]["choices"][0]["delta"]) == '{"annotations": []}'
