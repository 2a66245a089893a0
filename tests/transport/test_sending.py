"""What goes out: the head, injections that stay in, long bodies, and upstreams that answer early."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import tracemalloc

import pytest

from api.services.pool.proxies import Proxy
from api.services.pool.targets import encode_head, parse_target
from api.services.translation.failures import Failure, FailureKind
from api.services.wire import SharedHeaders, Timeouts, Transport, WireRequest
from tests.transport.conftest import POOL_ONLY, TIMEOUTS, fetch, post
from tests.transport.raw_server import Peer, RawServer, Received, keep_answering, reply
from tests.transport.sockets import settle, sockets


def recording(seen: list[Received], *, host: str = "127.0.0.1") -> RawServer:
    async def serve(peer: Peer) -> None:
        while True:
            seen.append(await peer.answer())

    return RawServer(serve, host=host)


async def test_a_request_arrives_as_it_was_given(transport: Transport) -> None:
    async with recording(seen := []) as server:
        headers = {"authorization": "Bearer test-1", "content-type": "application/json", "x-a": "b: c"}
        request = WireRequest(server.url + "/v1/chat?a=b%20c&d=e", headers, b'{"a": 1}', allows_private=True)
        response = await transport.send(request, TIMEOUTS)
        await response.read(10)
        await response.close()
    (received,) = seen
    assert received.line == "POST /v1/chat?a=b%20c&d=e HTTP/1.1"
    assert received.body == b'{"a": 1}'
    assert received.headers["host"] == server.authority
    assert received.headers["content-length"] == "8"
    assert {name: received.headers[name] for name in headers} == headers
    assert received.headers.get("accept-encoding", "identity") == "identity"
    assert set(received.headers) - {*headers, "host", "content-length", "accept-encoding"} == set()


async def test_a_get_has_no_body(transport: Transport) -> None:
    async with recording(seen := []) as server:
        request = WireRequest(server.url + "/v1/models", {"x-a": "b"}, b"", allows_private=True, method="GET")
        for _ in range(2):
            response = await transport.send(request, TIMEOUTS)
            assert await response.read(10) == b"ok"
            await response.close()
        assert await fetch(transport, server.url + "/v1/models") == b"ok"
    assert [received.line for received in seen] == [
        "GET /v1/models HTTP/1.1",
        "GET /v1/models HTTP/1.1",
        "POST /v1/models HTTP/1.1",
    ]
    assert "content-length" not in seen[0].headers
    assert seen[0].headers["x-a"] == "b"


async def test_ipv6(transport: Transport) -> None:
    async with recording(seen := [], host="::1") as server:
        assert await fetch(transport, server.url) == b"ok"
    assert seen[0].headers["host"] == f"[::1]:{server.port}"


async def test_a_name_is_looked_up_and_every_address_of_it_tried(transport: Transport) -> None:
    """`localhost` is ::1 first on most machines, where nobody listens here."""
    async with recording(seen := []) as server:
        assert await fetch(transport, f"http://localhost:{server.port}/") == b"ok"
    assert seen[0].headers["host"] == f"localhost:{server.port}"


async def test_an_empty_body_has_a_length(transport: Transport) -> None:
    async with recording(seen := []) as server:
        assert await fetch(transport, server.url, b"") == b"ok"
    assert seen[0].headers["content-length"] == "0"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-a", "b\r\nx-evil: 1"),
        ("x-a", "b\nx-evil: 1"),
        ("x-a", "b\rc"),
        ("x-a", "b\0c"),
        ("x-a\r\nx-evil", "b"),
        ("x-a: b\r\nx-evil", "c"),
        ("x a", "b"),
        ("x-a:", "b"),
        ("", "b"),
        ("x-ä", "b"),
        ("x-a", "\ud800"),
    ],
)
async def test_no_header_breaks_out_of_its_line(transport: Transport, name: str, value: str) -> None:
    async with RawServer(keep_answering) as server:
        with pytest.raises(Failure) as caught:
            await transport.send(post(server.url, headers={name: value}), TIMEOUTS)
        assert caught.value.kind is FailureKind.PROVIDER_NOT_CONFIGURED
        assert "header" in caught.value.message
        assert server.accepted == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "ftp://127.0.0.1/",
        "http://",
        "http:///v1",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:x/",
        "http://[::1/",
        "http://" + "a" * 64 + ".example/",
        "//127.0.0.1/",
    ],
)
async def test_what_is_no_address_is_for_the_operator_to_correct(transport: Transport, url: str) -> None:
    with pytest.raises(Failure) as caught:
        await transport.send(post(url), TIMEOUTS)
    assert caught.value.kind is FailureKind.PROVIDER_NOT_CONFIGURED
    assert caught.value.should_retry is False


@POOL_ONLY
@pytest.mark.parametrize("url", ["/v1 HTTP/1.1\r\nx-evil: 1\r\n\r\n", "/a b", "/a\tb", "\n", "/\0"])
async def test_no_url_breaks_out_of_its_line(transport: Transport, url: str) -> None:
    """aiohttp quotes such characters instead, which is as safe."""
    async with RawServer(keep_answering) as server:
        with pytest.raises(Failure) as caught:
            await transport.send(post(server.url + url), TIMEOUTS)
        assert caught.value.kind is FailureKind.PROVIDER_NOT_CONFIGURED
        assert server.accepted == 0


BODY = bytes(range(256)) * (20 * 4096)


async def test_a_body_of_20_megabytes_arrives_whole(transport: Transport) -> None:
    """The server reads slowly at first: what the socket does not take has to wait."""

    async def serve(peer: Peer) -> None:
        head = await peer.read_head()
        await asyncio.sleep(0.05)
        body = await peer.reader.readexactly(int(head.headers["content-length"]))
        await peer.send(reply(hashlib.sha256(body).hexdigest().encode()))
        await keep_answering(peer)

    async with RawServer(serve, buffer=64 << 10) as server:
        assert await fetch(transport, server.url, BODY) == hashlib.sha256(BODY).hexdigest().encode()
        assert await fetch(transport, server.url) == b"ok"
        assert server.accepted == 1


@POOL_ONLY
async def test_a_long_body_is_not_copied_to_wait(transport: Transport) -> None:
    """aiohttp hands the whole body to the event loop, which copies it while it waits."""
    is_measured = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.read_head()
        await is_measured.wait()

    async with RawServer(serve, buffer=64 << 10) as server:
        await fetch_nothing(transport)
        tracemalloc.start()
        try:
            task = asyncio.create_task(transport.send(post(server.url, BODY), TIMEOUTS))
            await server.wait_for_connections(1)
            await asyncio.sleep(0.05)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 2 << 20
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        is_measured.set()


async def fetch_nothing(transport: Transport) -> None:
    """Whatever a first request allocates once."""
    async with RawServer(keep_answering) as server:
        await fetch(transport, server.url)


@pytest.mark.parametrize("length", [100, len(BODY)], ids=["short", "long"])
async def test_a_refusal_before_the_request_is_all_sent_is_read(transport: Transport, length: int) -> None:
    """413 to the head alone. The rest is not sent, and the connection not used again."""

    async def serve(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(reply(b"too large", status=413))
        await peer.until_left()

    async with RawServer(serve, buffer=64 << 10) as server:
        response = await transport.send(post(server.url, BODY[:length]), TIMEOUTS)
        assert response.status == 413
        assert await response.read(100) == b"too large"
        await response.close()
        if length > 1 << 20:
            await server.wait_for_connections(0)


@POOL_ONLY
async def test_a_refusal_stops_the_upload(transport: Transport) -> None:
    """aiohttp may go on sending for as long as the reply lasts."""
    got = 0
    is_stopped = asyncio.Event()

    async def serve(peer: Peer) -> None:
        nonlocal got
        await peer.read_head()
        await peer.send(b"HTTP/1.1 413 X\r\ncontent-length: 9\r\n\r\ntoo ")
        await asyncio.sleep(0.05)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                while data := await peer.reader.read(1 << 16):
                    got += len(data)
        await peer.send(b"large")
        is_stopped.set()
        await peer.until_left()

    async with RawServer(serve, buffer=64 << 10) as server:
        response = await transport.send(post(server.url, BODY), TIMEOUTS)
        assert response.status == 413
        assert await response.read(100) == b"too large"
        await response.close()
        await is_stopped.wait()
        assert got < len(BODY) // 2


async def test_an_answer_that_begins_early_does_not_stop_the_upload(transport: Transport) -> None:
    """200 at once, then the body's echo: what an upstream that streams both ways does."""

    async def serve(peer: Peer) -> None:
        head = await peer.read_head()
        length = int(head.headers["content-length"])
        await peer.send(f"HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n".encode())
        while length:
            data = await peer.reader.read(1 << 16)
            length -= len(data)
            await peer.send(data)
        await keep_answering(peer)

    async with RawServer(serve, buffer=64 << 10) as server:
        response = await transport.send(post(server.url, BODY), TIMEOUTS)
        digest = hashlib.sha256()
        while piece := await response.read_piece(5.0):
            digest.update(piece)
        await response.close()
        assert digest.digest() == hashlib.sha256(BODY).digest()
        assert await fetch(transport, server.url) == b"ok"
        assert server.accepted == 1


@POOL_ONLY
async def test_a_slow_upload_is_no_late_answer(transport: Transport) -> None:
    """The time for the head runs from the end of the request; aiohttp's from its beginning."""

    async def serve(peer: Peer) -> None:
        head = await peer.read_head()
        left = int(head.headers["content-length"])
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.4
        while left:
            left -= len(await peer.reader.read(1 << 20))
            if loop.time() < end:
                await asyncio.sleep(0.002)
        await peer.send(reply())

    async with RawServer(serve, buffer=64 << 10) as server:
        response = await transport.send(post(server.url, BODY), Timeouts(0.15, 0.15, 5, 5, 5))
        assert await response.read(10) == b"ok"
        await response.close()


async def test_an_upload_that_gets_stuck_ends_in_time(transport: Transport, kind: str) -> None:
    async def serve(peer: Peer) -> None:
        await peer.read_head()
        await asyncio.Event().wait()

    async with RawServer(serve, buffer=64 << 10) as server:
        before = sockets()
        with pytest.raises(Failure) as caught:
            await transport.send(post(server.url, BODY), Timeouts(0.1, 0.1, 5, 5, 5))
        assert caught.value.kind is FailureKind.UPSTREAM_HEADERS_TIMEOUT
        if kind == "pool":
            # The client's socket is closed, although the server takes no more of what was
            # written. aiohttp's waits for it.
            await settle(before, 1)


# The head's bytes, without a socket.


def head_of(url: str, headers: dict[str, str] | None = None) -> str:
    return encode_head(parse_target(url), headers or {}, 5).decode()


@pytest.mark.parametrize(
    ("url", "line", "host"),
    [
        ("http://example.com", "POST / HTTP/1.1", "example.com"),
        ("http://example.com:80/v1", "POST /v1 HTTP/1.1", "example.com"),
        ("https://example.com:443/v1/", "POST /v1/ HTTP/1.1", "example.com"),
        ("https://example.com:8443/v1?a=b#c", "POST /v1?a=b HTTP/1.1", "example.com:8443"),
        ("http://[2001:db8::1]/", "POST / HTTP/1.1", "[2001:db8::1]"),
        ("http://[::1]:8080/", "POST / HTTP/1.1", "[::1]:8080"),
        ("http://EXAMPLE.com/V1", "POST /V1 HTTP/1.1", "example.com"),
        ("http://bücher.example/ä?ö=é", "POST /%C3%A4?%C3%B6=%C3%A9 HTTP/1.1", "xn--bcher-kva.example"),
        ("http://a_b.internal/", "POST / HTTP/1.1", "a_b.internal"),
        (
            "https://x.test/openai/deployments/a%2Fb/chat?api-version=2024-10-21",
            "POST /openai/deployments/a%2Fb/chat?api-version=2024-10-21 HTTP/1.1",
            "x.test",
        ),
    ],
)
def test_what_a_url_becomes(url: str, line: str, host: str) -> None:
    lines = head_of(url).split("\r\n")
    assert lines == [line, f"host: {host}", "accept-encoding: identity", "content-length: 5", "", ""]


def test_shared_headers_go_to_each_target_as_its_own() -> None:
    """What is kept of them for one target must not open a request to another."""
    headers = SharedHeaders({"x-a": "b", "Host": "evil.test"})
    here, there = parse_target("http://here.test/"), parse_target("http://me:pw@there.test/v1")
    for target in (here, there, here, here):
        for length in (5, 0, 5):
            assert encode_head(target, headers, length) == encode_head(target, dict(headers), length)
    assert encode_head(here, headers, 0, "GET") == encode_head(here, dict(headers), 0, "GET")
    assert encode_head(here, headers, 5).startswith(b"POST / ")


def test_shared_headers_are_checked_each_time_until_they_pass() -> None:
    target = parse_target("http://here.test/")
    headers = SharedHeaders({"x-a": "b\r\nx-evil: 1"})
    for _ in range(2):
        with pytest.raises(Failure, match="characters that no header may have"):
            encode_head(target, headers, 5)


def test_framing_is_the_connections_own_affair() -> None:
    headers = {"Content-Length": "7", "transfer-encoding": "chunked", "Host": "evil.test", "x-a": "b"}
    text = head_of("http://example.com/", headers)
    assert "evil" not in text
    assert "chunked" not in text
    assert text.count("content-length") == 1
    assert "\r\nx-a: b\r\n" in text


def test_a_user_in_the_url_authorizes_where_nothing_else_does() -> None:
    url = "http://me:se%20cret@example.com/"
    assert "\r\nauthorization: Basic bWU6c2UgY3JldA==\r\n" in head_of(url)
    text = head_of(url, {"Authorization": "Bearer test-1"})
    assert "Basic" not in text
    assert "me" not in text.split("\r\n")[1]


def test_a_proxys_secret_does_not_show() -> None:
    proxy = Proxy("http", "proxy.test", 3128, "Basic c2VjcmV0")
    assert "c2VjcmV0" not in repr(proxy)
