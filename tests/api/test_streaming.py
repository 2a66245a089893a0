"""Streams over a real socket: when each piece arrives, how they end, and what a hang-up does."""

from __future__ import annotations

import json
import re
import socket
import time
from typing import Any

import pytest

from tests.api.http import Stream, chat, say, text_of
from tests.fake_upstream import Answer, Cut, Events, FakeUpstream, Json, Paced, SlowDrip, Stall
from tests.live_server import LiveServer

BOTH = pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-sonnet-4"])
SERVERS = pytest.mark.parametrize("kind", ["serve", "runserver"])


@pytest.fixture
def any_server(request: pytest.FixtureRequest, kind: str, upstream: FakeUpstream) -> LiveServer:
    found: LiveServer = request.getfixturevalue("server" if kind == "serve" else "dev_server")
    return found


@BOTH
@SERVERS
def test_a_stream_is_whole_and_well_formed(any_server: LiveServer, model: str) -> None:
    with Stream(any_server.url, say(model, "Tell me", stream=True)) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert "no-cache" in stream.headers["cache-control"]
        assert stream.headers["x-accel-buffering"] == "no"
        assert "content-length" not in stream.headers
        chunks = stream.chunks()
    assert chunks[-1] == "[DONE]"
    assert len({chunk["id"] for chunk in chunks[:-1]}) == 1
    assert {chunk["model"] for chunk in chunks[:-1]} == {model}
    assert all("usage" not in chunk for chunk in chunks[:-1])
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0]["role"] == "assistant"
    assert all("role" not in delta or not delta["role"] for delta in deltas[1:])
    finishes = [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]]
    assert finishes[-1] == "stop"
    assert set(finishes[:-1]) == {None}
    assert "Tell me" in text_of(chunks)


@BOTH
def test_after_a_stream_both_connections_serve_the_next(
    server: LiveServer, upstream: FakeUpstream, model: str
) -> None:
    body = json.dumps(say(model, "Tell me", stream=True)).encode()
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n"
        f"authorization: Bearer t\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        for _ in range(3):
            client.sendall(request)
            said = b""
            while not said.endswith(b"\r\n0\r\n\r\n"):
                part = client.recv(65536)
                assert part
                said += part
            assert said.startswith(b"HTTP/1.1 200 OK\r\n")
            assert said.count(b"data: [DONE]\n\n") == 1
    assert len(upstream.requests) == 3
    assert upstream.connections_opened <= 1


@BOTH
def test_usage_comes_last_and_only_when_asked(server: LiveServer, upstream: FakeUpstream, model: str) -> None:
    with Stream(server.url, say(model, stream=True, stream_options={"include_usage": True})) as stream:
        chunks = stream.chunks()
    assert chunks[-1] == "[DONE]"
    assert chunks[-2]["choices"] == []
    assert chunks[-2]["usage"]["total_tokens"] > 0
    assert all(chunk["usage"] is None for chunk in chunks[:-2])
    if model.startswith("gpt"):
        chat(server.url, say(model, stream=True))
        assert upstream.requests[-1].json["stream_options"] == {"include_usage": True}


@BOTH
@SERVERS
def test_each_upstream_piece_reaches_the_client_before_the_next_is_sent(
    any_server: LiveServer, upstream: FakeUpstream, model: str
) -> None:
    """The upstream sends a piece only after the client has seen the one before: any buffering is a hang."""
    words = ["one ", "two ", "three ", "four ", "five "]
    if model.startswith("gpt"):
        base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model}
        events: list[Any] = [
            {
                **base,
                "choices": [
                    {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
                ],
            }
            for word in words
        ]
        ending: list[Any] = [
            {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            "[DONE]",
        ]
        head: list[Any] = []
    else:
        head = [
            {
                "type": "message_start",
                "message": {
                    "id": "msg_1",
                    "type": "message",
                    "role": "assistant",
                    "model": "m",
                    "content": [],
                    "stop_reason": None,
                    "stop_sequence": None,
                    "usage": {"input_tokens": 1, "output_tokens": 1},
                },
            },
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ]
        events = [
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
            for word in words
        ]
        ending = [
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 5},
            },
            {"type": "message_stop"},
        ]
    upstream.script(Events([*head, *events, *ending]) + Paced(upstream.pace))
    upstream.pace.release(len(head) + 1)
    seen: list[str] = []
    delays: list[float] = []
    with Stream(any_server.url, say(model, stream=True), timeout=5) as stream:
        for _, frame in stream.frames():
            if frame == "data: [DONE]":
                break
            content = json.loads(frame.removeprefix("data: "))["choices"][0]["delta"].get("content")
            if not content:
                continue
            seen.append(content)
            sent = upstream.pace.wait_sent(len(head) + len(seen))
            delays.append(time.monotonic() - sent)
            upstream.pace.release(1 if len(seen) < len(words) else len(ending) + 1)
    assert seen == words
    assert max(delays) < 1.0


@BOTH
@SERVERS
def test_a_client_that_leaves_frees_its_upstream_within_a_second(
    any_server: LiveServer, upstream: FakeUpstream, model: str
) -> None:
    upstream.always(Answer() + Paced(upstream.pace))
    upstream.pace.release(4)
    stream = Stream(any_server.url, say(model, "a b c d e f g h", stream=True))
    assert stream.read_some()
    left = time.monotonic()
    stream.close()
    gone = upstream.wait_for_disconnect(timeout=3)
    assert gone.at - left < 1.0


def test_what_was_used_until_a_client_left_is_logged(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(Answer() + Paced(upstream.pace))
    upstream.pace.release(6)
    body = say("claude-sonnet-4", "one two three four five six", stream=True)
    with Stream(server.url, body, headers={"x-request-id": "left-in-the-middle"}) as stream:
        assert stream.read_some()
    line = _wait_for_line(server, "left-in-the-middle")
    assert "status=499" in line
    assert "input_tokens=6" in line


def _wait_for_line(server: LiveServer, text: str) -> str:
    deadline = time.monotonic() + 3
    while text not in server.log():
        assert time.monotonic() < deadline, "no line was logged for the request"
        time.sleep(0.01)
    return next(line for line in server.log().splitlines() if text in line)


@BOTH
def test_an_upstream_that_takes_its_time_is_no_overhead_of_ours(
    server: LiveServer, upstream: FakeUpstream, model: str
) -> None:
    upstream.script(Answer() + SlowDrip(bytes_per_write=64, delay=0.02))
    with Stream(server.url, say(model, stream=True), headers={"x-request-id": f"slow-{model}"}) as stream:
        assert stream.chunks()[-1] == "[DONE]"
    times = dict(re.findall(r" (ms|overhead_ms)=([0-9.]+)", _wait_for_line(server, f"slow-{model}")))
    assert float(times["ms"]) > 200
    assert float(times["overhead_ms"]) < float(times["ms"]) / 4


def test_a_client_that_leaves_while_waiting_frees_its_upstream_too(
    server: LiveServer, upstream: FakeUpstream
) -> None:
    import http.client

    upstream.always(Answer() + Stall("headers", 20))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request(
        "POST",
        "/v1/chat/completions",
        body=json.dumps(say("gpt-4o-mini")),
        headers={"authorization": "Bearer t", "x-request-id": "left-early-1"},
    )
    upstream.wait_for_request()
    left = time.monotonic()
    connection.close()
    assert upstream.wait_for_disconnect(timeout=3).at - left < 1.0
    line = _wait_for_line(server, "left-early-1")
    assert "499" in line


@BOTH
def test_a_failure_before_the_first_output_is_a_plain_http_error(
    server: LiveServer, upstream: FakeUpstream, model: str
) -> None:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    upstream.script(
        Events([{"type": "error", "error": error}])
        if model.startswith("claude")
        else Json(503, {"error": error})
    )
    answer = chat(server.url, say(model, stream=True))
    assert answer.status == 503
    assert answer.headers["content-type"] == "application/json"
    assert answer.error["message"] == "Overloaded"


@BOTH
@pytest.mark.parametrize("reset", [False, True])
def test_a_stream_that_is_cut_ends_with_an_error_and_no_done(
    server: LiveServer, upstream: FakeUpstream, model: str, reset: bool
) -> None:
    upstream.script(Answer() + Cut(after_bytes=900, reset=reset))
    with Stream(server.url, say(model, "word " * 60, stream=True)) as stream:
        chunks = stream.chunks()
    assert chunks[-1]["error"]["code"] == "upstream_stream_interrupted"
    assert "[DONE]" not in chunks
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks[:-1])


@BOTH
def test_silence_is_filled_with_comments_and_then_ends(
    hasty_server: LiveServer, upstream: FakeUpstream, model: str
) -> None:
    upstream.always(Answer() + Paced(upstream.pace))
    upstream.pace.release(5)
    with Stream(hasty_server.url, say(model, "some words to stream", stream=True)) as stream:
        frames = [frame for _, frame in stream.frames()]
    assert any(frame.startswith(":") for frame in frames)
    last = json.loads(frames[-1].removeprefix("data: "))
    assert last["error"]["code"] == "upstream_idle_timeout"


@BOTH
def test_an_upstream_that_answers_json_to_a_stream_still_streams(
    server: LiveServer, upstream: FakeUpstream, model: str
) -> None:
    if model.startswith("gpt"):
        body: dict[str, Any] = {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}
            ],
        }
    else:
        body = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [{"type": "text", "text": "whole"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
    upstream.script(Json(200, body))
    with Stream(server.url, say(model, stream=True)) as stream:
        chunks = stream.chunks()
    assert text_of(chunks) == "whole"
    assert chunks[-1] == "[DONE]"


def _paused(text: str, stop_reason: str) -> list[dict[str, Any]]:
    return [
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "m",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 10, "output_tokens": 1},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason, "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]


def test_a_turn_that_claude_pauses_is_continued_in_the_same_stream(
    server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.script(Events(_paused("Searching… ", "pause_turn")), Events(_paused("found.", "end_turn")))
    body = say("claude-sonnet-4", stream=True, web_search_options={}, stream_options={"include_usage": True})
    with Stream(server.url, body) as stream:
        chunks = stream.chunks()
    assert text_of(chunks) == "Searching… found."
    assert chunks[-1] == "[DONE]"
    assert chunks[-2]["usage"]["completion_tokens"] == 10
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-2]][-1] == "stop"
    first, second = upstream.requests
    assert second.json["messages"][:-1] == first.json["messages"]
    assert second.json["messages"][-1] == {
        "role": "assistant",
        "content": [{"type": "text", "text": "Searching… "}],
    }


def test_a_turn_that_is_paused_for_ever_ends_after_five_more(
    server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.always(Events(_paused("x", "pause_turn")))
    with Stream(server.url, say("claude-sonnet-4", stream=True, web_search_options={})) as stream:
        chunks = stream.chunks()
    assert text_of(chunks) == "x" * 6
    assert chunks[-1] == "[DONE]"
    assert len(upstream.requests) == 6


def test_the_demo_model_streams_and_calls_tools_without_any_key(keyless_server: LiveServer) -> None:
    with Stream(keyless_server.url, say("demo", "Hello there", stream=True)) as stream:
        chunks = stream.chunks()
    assert "Hello there" in text_of(chunks)
    assert chunks[-1] == "[DONE]"
    tool = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
    answer = chat(keyless_server.url, say("demo", "How is the weather in Beijing?", tools=[tool]))
    call = answer.json()["choices"][0]["message"]["tool_calls"][0]["function"]
    assert json.loads(call["arguments"]) == {"city": "Beijing"}
