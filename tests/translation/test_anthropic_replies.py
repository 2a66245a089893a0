from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from api.services.translation.conversation import FinishReason, Reply, ThinkingPart, ToolCallPart, UrlCitation
from api.services.translation.dialects.anthropic_messages.replies import (
    decode_reply,
    is_paused,
    join_replies,
    read_message,
)
from api.services.translation.dialects.openai_chat.replies import ReplyContext, encode_reply
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.usage import Usage
from tests.translation.messages import json_objects, json_values, messages

CONTEXT = ReplyContext(model="m", created=1)
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 2},
}
WEB: dict[str, Any] = {"type": "web_search_result_location", "url": "https://x.example", "title": "X"}


@given(messages)
def test_every_message_becomes_a_completion_that_the_sdk_accepts(message: dict[str, Any]) -> None:
    completion = ChatCompletion.model_validate(encode_reply(decode_reply(message), CONTEXT), strict=True)
    choice = completion.choices[0]
    assert (
        choice.message.content is not None
        or choice.message.tool_calls
        or choice.finish_reason == "content_filter"
    )
    assert choice.message.tool_calls != []


@given(messages)
@example({**MESSAGE, "content": [{"type": "text", "text": "Hi", "citations": [WEB]}]})
@example({**MESSAGE, "stop_reason": "refusal"})
@example({**MESSAGE, "content": [{"type": "text", "text": 5}]})
@example({**MESSAGE, "content": [{"type": "text", "text": ""}]})
@example({**MESSAGE, "content": [{"type": "tool_use", "id": "c", "name": "f", "text": "Hi"}]})
@example({**MESSAGE, "content": ["Hi"]})
def test_one_text_is_read_like_any_other_content(message: dict[str, Any]) -> None:
    """A block of a kind that we do not know says nothing, but takes the message out of the short way."""
    longer = {**message, "content": [*message["content"], {"type": "new"}]}
    assert decode_reply(message) == decode_reply(longer)


@given(
    json_objects
    | st.fixed_dictionaries(
        {"content": st.lists(json_values)}, optional=dict.fromkeys(MESSAGE.keys() - {"content"}, json_values)
    )
)
def test_any_object_is_a_reply_or_a_failure(body: dict[str, Any]) -> None:
    try:
        reply = decode_reply(body)
    except Failure:
        return
    encode_reply(reply, CONTEXT)


@pytest.mark.parametrize(
    "body", [{}, {"content": None}, {"content": "text"}, {**MESSAGE, "type": "completion"}]
)
def test_an_object_that_is_no_message_is_an_invalid_response(body: dict[str, Any]) -> None:
    with pytest.raises(Failure) as raised:
        decode_reply(body)
    assert raised.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


def test_an_error_under_a_good_status_is_that_error() -> None:
    with pytest.raises(Failure) as raised:
        decode_reply(
            {"type": "error", "error": {"type": "rate_limit_error", "message": "of test-key"}}, ["test-key"]
        )
    assert raised.value.kind is FailureKind.UPSTREAM_RATE_LIMITED
    assert raised.value.message == "of [redacted]"
    assert raised.value.upstream_status == 200


def test_counts_may_be_missing_or_nonsense() -> None:
    reply = decode_reply(
        {**MESSAGE, "usage": {"input_tokens": None, "output_tokens": -3, "cache_read_input_tokens": "x"}}
    )
    assert reply.usage == Usage()
    assert decode_reply({**MESSAGE, "usage": None}).usage is None
    assert "usage" not in encode_reply(decode_reply({**MESSAGE, "usage": None}), CONTEXT)


def test_a_reply_without_an_id_takes_the_one_it_is_given() -> None:
    reply = decode_reply({**MESSAGE, "id": None})
    assert encode_reply(reply, replace(CONTEXT, fallback_id="req-1"))["id"] == "chatcmpl-req-1"


BIG = b"123456789012345678901234567890"


def test_the_input_of_a_call_keeps_its_long_numbers() -> None:
    message = b'{"content":[{"type":"tool_use","id":"c","name":"f","input":{"n":%b}}]}' % BIG
    arguments = decode_reply(read_message(message)).tool_calls[0].arguments
    assert arguments.encode() == b'{"n":%b}' % BIG


def test_a_turn_that_goes_back_up_keeps_its_long_numbers() -> None:
    message = b'{"content":[{"type":"server_tool_use","input":{"n":%b}}],"stop_reason":"pause_turn"}' % BIG
    assert read_message(message, is_repeated=True)["content"][0]["input"] == {"n": int(BIG)}


def test_a_text_of_a_lone_surrogate_is_read() -> None:
    message = rb'{"content":[{"type":"text","text":"a\ud800"}]}'
    assert decode_reply(read_message(message)).text == "a\ufffd"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"tool_use"', b'{"content":[', b"\xff"])
def test_what_is_no_object_is_an_invalid_response(body: bytes) -> None:
    with pytest.raises(Failure) as raised:
        read_message(body)
    assert raised.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE
    assert "not a JSON object" in raised.value.message


def test_only_a_paused_turn_is_paused() -> None:
    assert is_paused({**MESSAGE, "stop_reason": "pause_turn"})
    assert not is_paused(MESSAGE)
    assert decode_reply({**MESSAGE, "stop_reason": "pause_turn"}).finish is FinishReason.STOP


def test_a_continued_reply_is_one_reply() -> None:
    usage = Usage(input_tokens=10, output_tokens=1, cache_read_tokens=4)
    first = Reply("1", "m", FinishReason.STOP, usage, text="See ", thinking=(ThinkingPart("a", "S"),))
    second = Reply(
        "2",
        "m",
        FinishReason.LENGTH,
        Usage(input_tokens=20, output_tokens=2),
        text="this",
        citations=(UrlCitation("u", "t", 0, 4),),
        tool_calls=(ToolCallPart("c", "f", "{}"),),
    )
    joined = join_replies(first, second)
    assert (joined.id, joined.text, joined.finish) == ("1", "See this", FinishReason.LENGTH)
    assert joined.citations == (UrlCitation("u", "t", 4, 8),)
    assert joined.thinking == first.thinking
    assert joined.tool_calls == second.tool_calls
    assert joined.usage == Usage(input_tokens=30, output_tokens=3, cache_read_tokens=4)
    assert join_replies(replace(first, usage=None), second).usage == second.usage


def test_a_custom_tool_whose_input_is_cut_off_hands_out_what_there_is() -> None:
    reply = Reply("1", "m", FinishReason.LENGTH, None, tool_calls=(ToolCallPart("c", "sh", '{"input":"ls'),))
    message = encode_reply(reply, replace(CONTEXT, custom_tools=frozenset({"sh"})))["choices"][0]["message"]
    assert message["tool_calls"] == [
        {"id": "c", "type": "custom", "custom": {"name": "sh", "input": '{"input":"ls'}}
    ]
