from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services.translation.conversation import FinishReason
from api.services.translation.dialects.openai_chat.failures import encode_stream_failure
from api.services.translation.dialects.openai_chat.relay import StreamRelay
from api.services.translation.dialects.openai_chat.replies import relay_reply
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.usage import Usage
from tests.translation.feeding import cut, feed_all, pieces_of, read_chunks
from tests.translation.messages import json_objects, json_values, texts

USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 4,
    "total_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 2},
}


def relay(model: str = "fast", *, asked: bool = False, upstream_id: str = "gpt") -> StreamRelay:
    return StreamRelay(model, asked, upstream_id, ["test-secret"])


def chunk(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "c", "model": "gpt-2026", "choices": list(choices), **fields}


def choice(delta: dict[str, Any], finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


def sse(*items: Any, line_end: str = "\n") -> bytes:
    lines = [
        f"data: {item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)}{line_end}{line_end}"
        for item in items
    ]
    return "".join(lines).encode()


HELLO = chunk(choice({"role": "assistant", "content": "Hi"}))
STOP = chunk(choice({}, "stop"))

# --- what passes through


def test_where_nothing_changes_the_bytes_are_the_upstreams() -> None:
    data = (
        b': keep-alive\n\nevent: x\nid: 1\ndata: {"model":"gpt-2026", "choices":[ {"index":0,"delta":{"content":"\\u00e9"},'
        b'"finish_reason":"stop"}],"x":1.00,"big":123456789012345678901234567890}\n\ndata: not json\n\ndata: [DONE]\n\n'
    )
    stream = relay(model="gpt", upstream_id="gpt")
    assert feed_all(stream, [data]) == data
    assert stream.is_finished
    assert stream.upstream_model == "gpt-2026"


def test_only_the_name_changes_and_only_in_its_place() -> None:
    data = b'event: x\ndata: {"a":{"model":"gpt-2026"},"model":"gpt-2026","big":123456789012345678901234567890,"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    assert relay().feed(data) == data.replace(b'},"model":"gpt-2026"', b'},"model":"fast"')


def test_an_absent_or_empty_name_stays_absent_or_empty() -> None:
    data = sse(
        {"choices": [], "prompt_filter_results": []},
        {"model": "", "choices": []},
        {"model": None, "choices": []},
    )
    assert read_chunks(relay().feed(data)) == read_chunks(data)


def test_an_upstream_that_echoes_the_clients_name_is_left_alone() -> None:
    data = b'data: {"model": "fast",  "choices":[]}\n\n'
    assert relay().feed(data) == data


@given(
    st.lists(
        st.one_of(
            st.builds(lambda text, rest: {**rest, **chunk(choice({"content": text}))}, texts, json_objects),
            st.builds(lambda rest: {**rest, **chunk(usage=USAGE)}, json_objects),
            st.builds(lambda rest: {**rest, **chunk(choice({}, "stop"), usage=None)}, json_objects),
            st.sampled_from([": comment", "[DONE]", "no json", "7"]),
        ),
        max_size=6,
    ),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.lists(st.integers(0, 10_000), max_size=8),
)
def test_any_cut_gives_the_same_client_bytes(
    items: list[Any], line_end: str, asked: bool, places: list[int]
) -> None:
    def run(pieces: list[bytes]) -> tuple[bytes, str, bool, bool, Usage | None]:
        stream = relay(asked=asked)
        output = feed_all(stream, pieces)
        return output, repr(stream.failure), stream.is_finished, stream.has_output, stream.usage

    whole = run([sse(*items)])
    data = sse(*items, line_end=line_end)
    assert run(cut(data, places)) == whole
    assert run(pieces_of(data, 1)) == whole


@given(st.lists(json_objects, max_size=4), st.lists(json_values, max_size=4))
def test_unknown_fields_survive_a_new_name(extras: list[dict[str, Any]], deltas: list[Any]) -> None:
    for extra in extras:
        sent = {**extra, "x": deltas, "model": "gpt", "choices": []}
        sent.pop("error", None)
        sent.pop("usage", None)
        stream = relay()
        (received,) = read_chunks(stream.feed(sse(sent)))
        assert received == {**sent, "model": "fast"}
        assert list(received) == list(sent)


@given(st.binary(max_size=300) | st.lists(json_values, max_size=5).map(lambda values: sse(*values)))
def test_any_bytes_give_output_or_a_failure(data: bytes) -> None:
    stream = relay()
    feed_all(stream, [data])
    assert stream.is_finished != (stream.failure is not None)


_names = st.sampled_from(
    [
        "choices",
        "delta",
        "index",
        "finish_reason",
        "usage",
        "error",
        "model",
        "message",
        "code",
        "type",
        "role",
        "tool_calls",
    ]
)
_nonsense = st.recursive(
    json_values,
    lambda children: st.dictionaries(_names, children, max_size=5) | st.lists(children, max_size=2),
    max_leaves=10,
)


@given(st.lists(st.dictionaries(_names, _nonsense, max_size=5), max_size=5))
def test_known_fields_full_of_nonsense_never_raise(items: list[dict[str, Any]]) -> None:
    stream = relay()
    feed_all(stream, [sse(*items)])
    assert stream.is_finished != (stream.failure is not None)
    for item in items:
        whole = relay()
        whole.feed_unstreamed(json.dumps(item).encode())
        assert whole.is_finished != (whole.failure is not None)


# --- output, finish, end


def test_the_role_alone_is_no_output() -> None:
    stream = relay()
    stream.feed(sse(chunk(choice({"role": "assistant", "content": ""})), chunk(prompt_filter_results=[])))
    assert not stream.has_output
    stream.feed(sse(HELLO))
    assert stream.has_output


@pytest.mark.parametrize(
    "delta",
    [{"reasoning_content": "hm"}, {"tool_calls": [{"index": 0}]}, {"refusal": "no"}, {"audio": {"id": "a"}}],
)
def test_other_fields_with_content_are_output(delta: dict[str, Any]) -> None:
    stream = relay()
    stream.feed(sse(chunk(choice(delta))))
    assert stream.has_output


def test_a_finish_reason_is_output() -> None:
    stream = relay()
    stream.feed(sse(STOP))
    assert stream.has_output
    assert stream.finish is FinishReason.STOP


@pytest.mark.parametrize(
    ("word", "finish"),
    [("function_call", FinishReason.TOOL_CALLS), ("length", FinishReason.LENGTH), ("eos", FinishReason.STOP)],
)
def test_the_finish_is_known(word: str, finish: FinishReason) -> None:
    stream = relay()
    stream.feed(sse(chunk(choice({}, word))))
    assert stream.finish is finish


def test_done_comes_once_and_nothing_after_it() -> None:
    stream = relay()
    output = feed_all(stream, [sse(HELLO, STOP, "[DONE]", "[DONE]", HELLO)])
    assert output.count(b"[DONE]") == 1
    assert output.endswith(b"data: [DONE]\n\n")
    assert stream.feed(sse(HELLO)) == b""


def test_done_needs_no_empty_line_and_no_space() -> None:
    assert feed_all(relay(), [sse(HELLO, STOP) + b"data:[DONE]"]).endswith(b"data: [DONE]\n\n")


def test_done_alone_is_no_success() -> None:
    stream = relay()
    assert feed_all(stream, [sse("[DONE]")]) == b""
    assert stream.failure is not None
    assert not stream.has_output


def test_a_last_chunk_that_is_cut_off_does_not_go_out() -> None:
    stream = relay()
    output = feed_all(stream, [sse(HELLO) + b'data: {"choices":[{"index":0,"delta":{"content":"bye'])
    assert len(read_chunks(output)) == 1
    assert stream.failure is not None
    assert stream.failure.kind is FailureKind.UPSTREAM_STREAM_INTERRUPTED


@pytest.mark.parametrize(("finished", "is_success"), [([0], False), ([0, 1], True)])
def test_without_done_every_choice_must_have_finished(finished: list[int], is_success: bool) -> None:
    stream = relay()
    both = chunk(choice({"content": "a"}), choice({"content": "b"}, index=1))
    feed_all(stream, [sse(both, *(chunk(choice({}, "stop", index)) for index in finished))])
    assert stream.is_finished is is_success
    assert (stream.failure is None) is is_success


# --- usage


def test_usage_that_only_we_asked_for_is_read_and_removed() -> None:
    stream = relay()
    output = feed_all(
        stream, [sse({**HELLO, "usage": None}, {**STOP, "usage": USAGE}, chunk(usage=USAGE), "[DONE]")]
    )
    assert read_chunks(output) == [{**HELLO, "model": "fast"}, {**STOP, "model": "fast"}, "[DONE]"]
    assert stream.usage == Usage(input_tokens=3, output_tokens=4, cache_read_tokens=2)


def test_the_last_usage_counts_and_null_does_not_erase_it() -> None:
    stream = relay(asked=True)
    stream.feed(
        sse(
            {**HELLO, "usage": {**USAGE, "completion_tokens": 1}},
            {**HELLO, "usage": USAGE},
            {**STOP, "usage": None},
        )
    )
    assert stream.usage is not None
    assert stream.usage.output_tokens == 4


def test_no_usage_is_unknown_usage() -> None:
    stream = relay(asked=True)
    feed_all(stream, [sse(HELLO, STOP, "[DONE]")])
    assert stream.usage is None
    assert stream.is_finished


# --- errors


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"message": "m", "type": "server_error"}, FailureKind.UPSTREAM_ERROR, 500),
        ({"message": "m", "code": 502}, FailureKind.UPSTREAM_UNAVAILABLE, 502),
        ({"message": "m", "code": "429"}, FailureKind.UPSTREAM_RATE_LIMITED, 429),
        ({"message": "m", "code": "rate_limit_exceeded"}, FailureKind.UPSTREAM_RATE_LIMITED, 429),
        ({"message": "m", "code": "context_length_exceeded"}, FailureKind.CONTEXT_LENGTH_EXCEEDED, 400),
        ({"message": "m", "code": "invalid_api_key"}, FailureKind.UPSTREAM_AUTHENTICATION, 502),
        ("m", FailureKind.UPSTREAM_ERROR, 500),
        ({"code": 7, "type": ["x"]}, FailureKind.UPSTREAM_ERROR, 500),
    ],
)
def test_an_error_in_a_good_response_has_the_status_of_its_words(
    error: Any, kind: FailureKind, status: int
) -> None:
    stream = relay()
    assert stream.feed(sse({"error": error})) == b""
    assert stream.failure is not None
    assert (stream.failure.kind, stream.failure.status) == (kind, status)
    with pytest.raises(Failure) as raised:
        relay_reply(json.dumps({"error": error}).encode(), model="m", upstream_id="m")
    assert (raised.value.kind, raised.value.status) == (kind, status)


@pytest.mark.parametrize(
    "line",
    [
        b'data: {"object":"error","message":"Too long","type":"BadRequestError","param":null,"code":400}\n\n',
        b'event: error\ndata: {"message":"Too long","type":"BadRequestError","param":null,"code":400}\n\n',
    ],
)
def test_an_error_without_its_object_is_put_into_one(line: bytes) -> None:
    stream = relay()
    assert stream.feed(line + sse("[DONE]")) == b""
    assert stream.failure is not None
    assert stream.failure.status == 400
    (error,) = read_chunks(encode_stream_failure(stream.failure))
    assert error["error"].items() >= {"message": "Too long", "type": "BadRequestError", "code": 400}.items()


def test_what_came_before_an_error_goes_out() -> None:
    stream = relay()
    output = stream.feed(sse(HELLO, {"error": {"message": "of test-secret"}}, STOP))
    assert read_chunks(output) == [{**HELLO, "model": "fast"}]
    assert stream.failure is not None
    assert stream.failure.message == "of [redacted]"


# --- whole bodies


WHOLE = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-2026",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": None, "x": 1, "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            "finish_reason": "tool_calls",
        }
    ],
    "usage": USAGE,
    "x": 1,
}  # fmt: skip


def test_a_whole_completion_in_place_of_a_stream_becomes_a_stream() -> None:
    stream = relay(asked=True)
    first, usage, done = read_chunks(stream.feed_unstreamed(json.dumps(WHOLE).encode()))
    assert first["object"] == "chat.completion.chunk"
    assert (first["model"], first["x"], first["usage"]) == ("fast", 1, None)
    (only,) = first["choices"]
    assert only["delta"]["tool_calls"][0] == {
        "index": 0,
        "id": "t",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
    }
    assert (only["delta"]["x"], only["finish_reason"]) == (1, "tool_calls")
    assert "message" not in only
    assert (usage["choices"], usage["usage"], done) == ([], USAGE, "[DONE]")
    assert (stream.is_finished, stream.has_output, stream.finish) == (True, True, FinishReason.TOOL_CALLS)
    assert stream.upstream_model == "gpt-2026"


def test_a_whole_completion_shows_no_usage_that_was_not_asked_for() -> None:
    stream = relay()
    first, done = read_chunks(stream.feed_unstreamed(json.dumps(WHOLE).encode()))
    assert "usage" not in first
    assert done == "[DONE]"
    assert stream.usage is not None


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"choices":[', b'{"ok":true}', b"\xff", b'{"choices":null}']
)
def test_a_body_that_is_no_completion_is_an_invalid_response(body: bytes) -> None:
    with pytest.raises(Failure) as raised:
        relay_reply(body, model="gpt", upstream_id="gpt")
    assert raised.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE
    stream = relay()
    assert stream.feed_unstreamed(body) == b""
    assert stream.failure is not None


def test_a_reply_under_its_upstream_id_is_the_upstreams_bytes() -> None:
    body = b' { "model" : "gpt-2026", "choices": [], "x": 1.0, "big": 123456789012345678901234567890 } '
    relayed = relay_reply(body, model="gpt", upstream_id="gpt")
    assert relayed.body is body
    assert relayed.upstream_model == "gpt-2026"


def test_a_relayed_reply_tells_its_usage_and_finish() -> None:
    relayed = relay_reply(json.dumps(WHOLE).encode(), model="fast", upstream_id="gpt")
    assert relayed.usage == Usage(input_tokens=3, output_tokens=4, cache_read_tokens=2)
    assert relayed.finish is FinishReason.TOOL_CALLS
    assert json.loads(relayed.body) == {**WHOLE, "model": "fast"}
    assert relay_reply(b'{"choices":[]}', model="m", upstream_id="m").usage is None
