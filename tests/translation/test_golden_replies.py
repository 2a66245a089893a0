"""The golden cases of replies, streams and errors, as pure functions and at any cut of the bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from api.services.translation.dialects.anthropic_messages import failures as anthropic_failures
from api.services.translation.dialects.anthropic_messages.replies import decode_reply
from api.services.translation.dialects.anthropic_messages.stream import StreamDecoder
from api.services.translation.dialects.openai_chat import failures as openai_failures
from api.services.translation.dialects.openai_chat.failures import (
    encode_failure,
    encode_failure_headers,
    encode_stream_failure,
)
from api.services.translation.dialects.openai_chat.relay import StreamRelay
from api.services.translation.dialects.openai_chat.replies import ReplyContext, encode_reply, relay_reply
from api.services.translation.dialects.openai_chat.stream import StreamEncoder
from api.services.translation.failures import Failure
from api.services.translation.streams import StreamTranslator, TranslatedStream
from tests.golden_cases import GoldenCase, load_cases
from tests.translation.feeding import read_chunks, run_stream

CREATED = 1700000000
UPSTREAM_ID = "gpt-5-mini"
SECRETS = ("test-upstream-key",)


def context_of(case: GoldenCase) -> ReplyContext:
    return ReplyContext(
        model=case.model,
        created=CREATED,
        uses_legacy_functions=case.request_has == "functions",
        custom_tools=frozenset({"shell"}) if case.request_has == "custom tool" else frozenset(),
        includes_usage=case.include_usage,
    )


def open_stream(case: GoldenCase) -> StreamTranslator:
    if case.upstream == "openai_chat":
        return StreamRelay(case.model, case.include_usage, UPSTREAM_ID, SECRETS)
    return TranslatedStream(StreamDecoder(SECRETS), StreamEncoder(context_of(case)))


def answer_of(failure: Failure, expected: dict[str, Any]) -> dict[str, Any]:
    """The client's answer, with those headers that the case looks at."""
    headers = encode_failure_headers(failure)
    return {
        "status": failure.status,
        "body": encode_failure(failure),
        **(
            {"headers": {name: headers.get(name) for name in expected["headers"]}}
            if "headers" in expected
            else {}
        ),
    }


@pytest.mark.parametrize("case", load_cases("chat_resp"), ids=str)
def test_reply(case: GoldenCase) -> None:
    reply = encode_reply(decode_reply(case.read_json("upstream_reply.json")), context_of(case))
    assert reply == case.read_json("reply.json")
    ChatCompletion.model_validate(reply)


@pytest.mark.parametrize("case", load_cases("oai_resp"), ids=str)
def test_relayed_reply(case: GoldenCase) -> None:
    relayed = relay_reply(
        case.read_bytes("upstream_reply.json"), model=case.model, upstream_id=UPSTREAM_ID, secrets=SECRETS
    )
    # The text, not the value: the order of keys and the spelling of numbers count.
    assert relayed.body.decode() == json.dumps(
        case.read_json("reply.json"), separators=(",", ":"), ensure_ascii=False
    )


@pytest.mark.parametrize("size", [0, 1, 2, 7])
@pytest.mark.parametrize("case", load_cases("chat_stream") + load_cases("oai_stream"), ids=str)
def test_stream(case: GoldenCase, size: int) -> None:
    stream = open_stream(case)
    output = run_stream(stream, case.read_bytes("upstream_stream.sse"), size)
    if stream.failure is not None:
        output += encode_stream_failure(stream.failure)
    chunks = read_chunks(output)
    assert chunks == read_chunks(case.read_bytes("stream.sse"))
    assert output.endswith(b"\n\n")
    for chunk in chunks:
        if isinstance(chunk, dict) and "error" not in chunk:
            ChatCompletionChunk.model_validate(chunk)


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("case", load_cases("chat_stream_error") + load_cases("oai_stream_error"), ids=str)
def test_stream_that_fails_before_output(case: GoldenCase, size: int) -> None:
    stream = open_stream(case)
    run_stream(stream, case.read_bytes("upstream_stream.sse"), size)
    assert not stream.has_output
    assert stream.failure is not None
    expected = case.read_json("reply.json")
    assert answer_of(stream.failure, expected) == expected


@pytest.mark.parametrize("case", load_cases("error") + load_cases("oai_error"), ids=str)
def test_error(case: GoldenCase) -> None:
    upstream = case.read_json("upstream_error.json")
    body = upstream["body"]
    dialect = openai_failures if case.upstream == "openai_chat" else anthropic_failures
    failure = dialect.decode_failure(
        upstream["status"],
        upstream["headers"],
        body.encode() if isinstance(body, str) else json.dumps(body).encode(),
        model=case.model,
        secrets=SECRETS,
        now=CREATED,
    )
    expected = case.read_json("reply.json")
    assert answer_of(failure, expected) == expected
