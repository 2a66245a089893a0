"""The golden cases of replies, streams and errors, as pure functions and at any cut of the bytes."""

from __future__ import annotations

import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from api.services.translation.dialects.openai_chat.failures import encode_stream_failure
from tests import golden_products as products
from tests.golden_cases import GoldenCase, load_cases
from tests.golden_products import answer_of, open_stream
from tests.translation.feeding import read_chunks, run_stream


@pytest.mark.parametrize("case", load_cases("chat_resp"), ids=str)
def test_reply(case: GoldenCase) -> None:
    reply = products.reply(case)
    assert reply == case.read_json("reply.json")
    ChatCompletion.model_validate(reply)


@pytest.mark.parametrize("case", load_cases("oai_resp"), ids=str)
def test_relayed_reply(case: GoldenCase) -> None:
    # The text, not the value: the order of keys and the spelling of numbers count.
    assert products.relayed_reply(case).decode() == json.dumps(
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
    failure = products.upstream_failure(case)
    expected = case.read_json("reply.json")
    assert answer_of(failure, expected) == expected
