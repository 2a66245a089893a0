"""The short way between a connection and the lane, and the long one by ASGI's messages."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from api.connection import AsgiConnection, ClientGone
from api.request import ApiRequest, make_request_id
from proxy_site.direct_cycle import DirectCycle, read_target
from proxy_site.http_protocol import BoundedProtocol
from tests.api.http import say
from tests.fake_upstream import Answer, FakeUpstream, Stall
from tests.live_server import LiveServer


def _post(server: LiveServer, *lines: str) -> bytes:
    body = json.dumps(say("gpt-4o-mini")).encode()
    fields = "".join(f"{line}\r\n" for line in lines)
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n{fields}"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body


def _exchange(server: LiveServer, data: bytes) -> bytes:
    """Everything that the server says until it closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(data)
        said = b""
        while part := client.recv(65536):
            said += part
        return said


# Over real sockets.


@pytest.mark.parametrize("together", [True, False])
def test_who_leaves_with_more_requests_in_line_frees_the_upstream(
    server: LiveServer, upstream: FakeUpstream, together: bool
) -> None:
    upstream.always(Answer() + Stall("headers", 20))
    request = _post(server, "authorization: Bearer t")
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(request * 3 if together else request)
        upstream.wait_for_request()
        if not together:
            client.sendall(request * 2)
        left = time.monotonic()
    assert upstream.wait_for_disconnect(timeout=3).at - left < 1.0
    assert len(upstream.requests) == 1


def test_more_requests_in_line_than_are_read_at_once_are_all_answered(server: LiveServer) -> None:
    request = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
    assert _exchange(server, request * 40 + last).count(b"HTTP/1.1 200 OK\r\n") == 41


def test_a_head_request_gets_the_length_and_no_body(server: LiveServer) -> None:
    said = _exchange(server, b"HEAD /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\ncontent-length: 15" in head
    assert b"\r\nconnection: close" in head
    assert body == b""


def test_an_old_client_is_told_that_its_connection_closes(server: LiveServer) -> None:
    head, _, body = _exchange(server, b"GET /healthz HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head
    assert json.loads(body) == {"status": "ok"}


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(server: LiveServer) -> None:
    whole = _post(server, "authorization: Bearer t", "expect: 100-continue", "connection: close")
    head, mark, body = whole.partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(head + mark)
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


# What the cycle promises to the lane.


class _Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False
        self.protocol: BoundedProtocol

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


@pytest.fixture
def transport() -> _Transport:
    return _Transport()


async def _cycle(transport: _Transport, field: bytes = b"", *, date: bytes = b"today") -> DirectCycle:
    """Of a request whose body is on its way, and which nobody serves."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    config = uvicorn.Config(application, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", date)]
    protocol = BoundedProtocol(config=config, server_state=state, app_state={})
    protocol.connection_made(transport)
    transport.protocol = protocol
    protocol.data_received(b"POST /x HTTP/1.1\r\nhost: x\r\n" + field + b"content-length: 13\r\n\r\n")
    cycle = protocol.cycle
    assert cycle.task is not None
    cycle.task.cancel()
    cycle.task = None
    return cycle


async def test_head_and_body_leave_in_one_write(transport: _Transport) -> None:
    cycle = await _cycle(transport)
    assert cycle.answer(200, {"content-type": "text/plain", "x-a": "é"}, b"body")
    assert transport.written == [
        b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-type: text/plain\r\nx-a: \xe9\r\n"
        b"content-length: 4\r\n\r\nbody"
    ]


async def test_an_answer_that_goes_on_is_written_frame_by_frame_and_ends_once(transport: _Transport) -> None:
    cycle = await _cycle(transport)
    answer = cycle.begin_answer(200, {"content-type": "text/plain"})
    assert answer is not None
    assert answer.write(b"a frame of twenty-six bytes"[:26])
    assert answer.write(b"")  # Not the end, which an empty chunk would be.
    assert not cycle.response_complete
    answer.end(b"the last")
    assert cycle.response_complete
    assert transport.written == [
        b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-type: text/plain\r\n"
        b"transfer-encoding: chunked\r\n\r\n1a\r\na frame of twenty-six byte\r\n",
        b"8\r\nthe last\r\n0\r\n\r\n",
    ]


async def test_an_answer_without_frames_is_a_head_and_an_end(transport: _Transport) -> None:
    cycle = await _cycle(transport)
    answer = cycle.begin_answer(200, {"content-type": "x"})
    assert answer is not None
    answer.end(b"")
    (said,) = transport.written
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert said.endswith(b"\r\n\r\n0\r\n\r\n")


async def test_an_answer_that_goes_on_stops_for_who_does_not_read_and_for_who_left(
    transport: _Transport,
) -> None:
    cycle = await _cycle(transport)
    answer = cycle.begin_answer(200, {"content-type": "x"})
    assert answer is not None
    cycle.flow.pause_writing()
    assert not answer.write(b"frame")
    reading = asyncio.create_task(answer.drain())
    await asyncio.sleep(0)
    assert not reading.done()
    cycle.flow.resume_writing()
    await reading
    written = list(transport.written)
    cycle.hang_up()
    cycle.flow.pause_writing()
    answer.write(b"frame")
    await answer.drain()
    answer.end(b"frame")
    assert transport.written == written


async def test_an_answer_that_goes_on_does_not_begin_where_it_cannot(transport: _Transport) -> None:
    cycle = await _cycle(transport)
    cycle.flow.pause_writing()
    assert cycle.begin_answer(200, {"content-type": "x"}) is None
    cycle.flow.resume_writing()
    cycle.method = "HEAD"
    assert cycle.begin_answer(200, {"content-type": "x"}) is None
    assert transport.written == []
    assert not cycle.response_started


@pytest.mark.parametrize("character", ["\r", "\n", "\r\n", "\x00", "\x0b", "\x1b", "\x7f"])
@pytest.mark.parametrize("where", ["name", "value"])
async def test_no_control_character_gets_into_a_head(
    transport: _Transport, character: str, where: str
) -> None:
    cycle = await _cycle(transport)
    text = f"a{character}b"
    headers = {"content-type": "x"} | ({text: "v"} if where == "name" else {"x-a": text})
    with pytest.raises(ValueError, match="control character"):
        cycle.answer(200, headers, b"")
    assert transport.written == []


async def test_nothing_is_added_to_what_a_client_does_not_read(transport: _Transport) -> None:
    cycle = await _cycle(transport)
    cycle.flow.pause_writing()
    assert not cycle.answer(200, {"content-type": "x"}, b"body")
    assert transport.written == []
    assert not cycle.response_started


async def test_a_request_that_nobody_answered_gets_500_and_no_next_one(transport: _Transport) -> None:
    (await _cycle(transport)).finish()
    (said,) = transport.written
    assert said.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"\r\nconnection: close\r\n" in said
    assert transport.is_closed


async def test_the_headers_of_every_answer_are_those_of_the_moment(transport: _Transport) -> None:
    for day in (b"today", b"tomorrow"):
        cycle = await _cycle(transport, date=day)
        cycle.answer(200, {"content-type": "x"}, b"")
        assert b"\r\ndate: " + day + b"\r\n" in transport.written[-1]


async def test_a_body_is_taken_whole_or_not_at_all(transport: _Transport) -> None:
    cycle = await _cycle(transport)
    cycle.add_body(b"half")
    assert cycle.take_body() is None
    cycle.add_body(b" and ")
    cycle.add_body(b"half")
    cycle.end_body()
    assert cycle.take_body() == b"half and half"


async def test_messages_tell_a_body_as_it_comes_its_end_once_and_then_the_hang_up(
    transport: _Transport,
) -> None:
    cycle = await _cycle(transport)
    cycle.add_body(b"half")
    assert await cycle.receive() == {"type": "http.request", "body": b"half", "more_body": True}
    waiting = asyncio.create_task(cycle.receive())
    await asyncio.sleep(0)
    assert not waiting.done()
    cycle.end_body()
    assert await waiting == {"type": "http.request", "body": b"", "more_body": False}
    waiting = asyncio.create_task(cycle.receive())
    await asyncio.sleep(0)
    assert not waiting.done()
    cycle.hang_up()
    assert await waiting == {"type": "http.disconnect"}


@pytest.mark.parametrize("name", [b"Expect", b"expect"])
async def test_leave_to_send_is_given_when_the_body_is_first_waited_for(
    transport: _Transport, name: bytes
) -> None:
    cycle = await _cycle(transport, name + b": 100-Continue\r\n")
    assert transport.written == []
    for _ in range(2):
        cycle.add_body(b"part")
        await cycle.receive()
    assert transport.written == [b"HTTP/1.1 100 Continue\r\n\r\n"]


async def test_a_hang_up_cancels_only_while_it_is_watched_for(transport: _Transport) -> None:
    cycle = await _cycle(transport)
    cycle.task = asyncio.create_task(asyncio.sleep(60))
    cycle.hang_up()
    assert not cycle.is_abandoned
    # One that came before the watch began is not missed.
    cycle.watch()
    assert cycle.is_abandoned
    with pytest.raises(asyncio.CancelledError):
        await cycle.task


async def test_a_hang_up_cancels_nothing_that_is_finished(transport: _Transport) -> None:
    cycle = await _cycle(transport)
    cycle.task = asyncio.create_task(asyncio.sleep(60))
    cycle.watch()
    cycle.finish()
    cycle.hang_up()
    assert not cycle.is_abandoned
    cycle.task.cancel()


async def test_an_idle_connection_closes_and_one_that_was_used_meanwhile_does_not(
    transport: _Transport,
) -> None:
    cycle = await _cycle(transport)
    protocol = transport.protocol
    protocol.data_received(b"x" * 13)
    protocol.timeout_keep_alive_handler()
    assert not transport.is_closed, "its request is not answered"
    cycle.answer(200, {"content-type": "x"}, b"")
    protocol.timeout_keep_alive_handler()
    assert not transport.is_closed, "it was answered just now"
    protocol.timeout_keep_alive = 0
    protocol.timeout_keep_alive_handler()
    assert transport.is_closed


def test_targets_are_read_the_same_whether_they_were_met_before_or_not() -> None:
    for url in (b"/v1/chat/completions", b"/v1/models/a%2Fb?x=%41", b"/" + b"p" * 5_000 + b"?q"):
        first, again = read_target(url), read_target(url)
        assert first == again
    assert read_target(b"/v1/models/a%2Fb?x=%41") == ("/v1/models/a/b", b"/v1/models/a%2Fb", b"x=%41")
    assert len(read_target(b"/" + b"p" * 5_000 + b"?q").path) == 5_001


# The same by messages, for any other server.


def _request(*messages: dict[str, Any]) -> ApiRequest:
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "headers": [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")],
    }
    return ApiRequest(AsgiConnection(scope, receive, send=None))


async def test_a_body_in_pieces_is_joined_and_a_hang_up_cancels() -> None:
    request = _request(
        {"type": "http.request", "body": b"one ", "more_body": True},
        {"type": "http.request", "body": b"two"},
        {"type": "http.disconnect"},
    )
    assert await request.read_body() == b"one two"
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(60)
    assert request.connection.is_abandoned
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    request.connection.finish()


async def test_a_client_that_leaves_in_its_body_is_not_answered() -> None:
    with pytest.raises(ClientGone):
        await _request({"type": "http.disconnect"}).read_body()


async def test_headers_that_come_twice_are_joined() -> None:
    request = _request()
    assert request.client_headers == {"x-a": "1,3", "x-b": "2"}
    assert request.META["HTTP_X_A"] == "1,3"


async def test_a_name_is_the_same_in_any_case() -> None:
    fields = [
        (b"Authorization", b"Bearer t"),
        (b"X-CUSTOM", b"1"),
        (b"x-custom", b"2"),
        (b"user-agent", b"a"),
    ]
    scope = {"method": "GET", "path": "/", "query_string": b"", "headers": fields}
    headers = ApiRequest(AsgiConnection(scope, None, None)).client_headers
    assert headers == {"authorization": "Bearer t", "x-custom": "1,2", "user-agent": "a"}


def test_request_ids_are_never_the_same_in_another_process_either() -> None:
    ids = [make_request_id() for _ in range(1_000)]
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.write(theirs, "\n".join(make_request_id() for _ in range(200)).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        ids += pipe.read().decode().split("\n")
    ids += [make_request_id() for _ in range(200)]
    assert len(set(ids)) == len(ids) == 1_400
    assert all(len(each) == len("req_") + 32 for each in ids)
