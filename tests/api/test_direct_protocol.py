"""The short way between a connection and the lane, and the long one by ASGI's messages."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from api.request import ApiRequest, ClientGone
from proxy_site.direct_protocol import DirectCycle
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

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return False


def _cycle(transport: _Transport) -> DirectCycle:
    log = logging.getLogger("tests")
    return DirectCycle(
        scope={"type": "http", "method": "POST"},  # type: ignore[typeddict-item]
        transport=transport,
        flow=FlowControl(transport),
        logger=log,
        access_logger=log,
        access_log=False,
        default_headers=[(b"date", b"today")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=True,
        on_response=lambda: None,
    )


async def test_head_and_body_leave_in_one_write() -> None:
    transport = _Transport()
    assert _cycle(transport).answer(200, {"content-type": "text/plain", "x-a": "é"}, b"body")
    assert transport.written == [
        b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-type: text/plain\r\nx-a: \xe9\r\n"
        b"content-length: 4\r\n\r\nbody"
    ]


@pytest.mark.parametrize("character", ["\r", "\n", "\r\n", "\x00", "\x0b", "\x1b", "\x7f"])
@pytest.mark.parametrize("where", ["name", "value"])
async def test_no_control_character_gets_into_a_head(character: str, where: str) -> None:
    transport = _Transport()
    text = f"a{character}b"
    headers = {"content-type": "x"} | ({text: "v"} if where == "name" else {"x-a": text})
    with pytest.raises(ValueError, match="control character"):
        _cycle(transport).answer(200, headers, b"")
    assert transport.written == []


async def test_nothing_is_added_to_what_a_client_does_not_read() -> None:
    transport = _Transport()
    cycle = _cycle(transport)
    cycle.flow.pause_writing()
    assert not cycle.answer(200, {"content-type": "x"}, b"body")
    assert transport.written == []
    assert not cycle.response_started


async def test_a_body_is_taken_whole_or_not_at_all() -> None:
    cycle = _cycle(_Transport())
    cycle.body += b"half"
    assert cycle.take_body() is None
    cycle.body += b" and half"
    cycle.more_body = False
    assert cycle.take_body() == b"half and half"


async def test_a_hang_up_cancels_only_while_it_is_watched_for() -> None:
    cycle = _cycle(_Transport())
    cycle.task = asyncio.create_task(asyncio.sleep(60))
    cycle.watch()
    cycle.unwatch()
    cycle.hang_up()
    assert not cycle.is_abandoned
    # One that came before the watch began is not missed.
    cycle.watch()
    assert cycle.is_abandoned
    with pytest.raises(asyncio.CancelledError):
        await cycle.task


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
    return ApiRequest(scope, receive)


async def test_a_body_in_pieces_is_joined_and_a_hang_up_cancels() -> None:
    request = _request(
        {"type": "http.request", "body": b"one ", "more_body": True},
        {"type": "http.request", "body": b"two"},
        {"type": "http.disconnect"},
    )
    assert await request.read_body() == b"one two"
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(60)
    assert request.is_abandoned
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    request.stop_watching()


async def test_a_client_that_leaves_in_its_body_is_not_answered() -> None:
    with pytest.raises(ClientGone):
        await _request({"type": "http.disconnect"}).read_body()


async def test_headers_that_come_twice_are_joined() -> None:
    request = _request()
    assert request.client_headers == {"x-a": "1,3", "x-b": "2"}
    assert request.META["HTTP_X_A"] == "1,3"
