"""Proxies from the environment: CONNECT for https, whole URLs for http, and when there is none."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from api.services.pool.proxies import parse_proxy, proxy_from_environment
from api.services.translation.failures import Failure, FailureKind
from api.services.wire import Timeouts, Transport
from tests.transport.conftest import POOL_ONLY, TIMEOUTS, fetch, post
from tests.transport.raw_server import Peer, RawServer, Received, keep_answering, reply

Certificate = tuple[ssl.SSLContext, Path]
OpenTransport = Callable[..., Transport]


def connect_proxy(
    seen: list[Received], answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n", tls: ssl.SSLContext | None = None
) -> RawServer:
    """A proxy that answers CONNECT with `answer`, and opens the way if that was a 200."""

    async def serve(peer: Peer) -> None:
        request = await peer.read_head()
        seen.append(request)
        if b" 200 " in answer:
            host, _, port = request.line.split(" ")[1].rpartition(":")
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            await peer.send(answer)
            await asyncio.gather(pump(peer.reader, writer), pump(reader, peer.writer))
        else:
            await peer.send(answer)

    return RawServer(serve, tls=tls)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@pytest.fixture
def trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    return certificate[0]


async def test_https_goes_through_a_tunnel(
    open_transport: OpenTransport, trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawServer(keep_answering, tls=trusted) as upstream, connect_proxy(seen := []) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        transport = open_transport()
        for _ in range(3):
            assert await fetch(transport, upstream.url + "/v1") == b"ok"
        assert (proxy.accepted, upstream.accepted) == (1, 1)
        await transport.close()
    (request,) = seen
    assert request.line == f"CONNECT {upstream.authority} HTTP/1.1"
    assert request.headers["host"] == upstream.authority
    assert "authorization" not in request.headers


async def test_a_tunnel_does_not_lower_the_guard(
    open_transport: OpenTransport, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawServer(keep_answering, tls=certificate[0]) as upstream, connect_proxy([]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(Failure, match="check its certificate"):
            await open_transport().send(post(upstream.url), TIMEOUTS)


async def test_http_is_handed_to_the_proxy_whole(
    open_transport: OpenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Received] = []

    async def serve(peer: Peer) -> None:
        while True:
            seen.append(await peer.answer())

    async with RawServer(serve) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:se%40cret@{proxy.authority}")
        transport = open_transport()
        for host in ("upstream.invalid:8080", "upstream.invalid"):
            assert await fetch(transport, f"http://{host}/v1?a=b") == b"ok"
        await transport.close()
    assert [request.line for request in seen] == [
        "POST http://upstream.invalid:8080/v1?a=b HTTP/1.1",
        "POST http://upstream.invalid/v1?a=b HTTP/1.1",
    ]
    assert seen[0].headers["host"] == "upstream.invalid:8080"
    assert seen[0].headers["proxy-authorization"] == "Basic bWU6c2VAY3JldA=="


async def test_the_proxys_password_goes_to_the_proxy_only(
    open_transport: OpenTransport, trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[Received] = []

    async def serve(peer: Peer) -> None:
        inside.append(await peer.answer())

    async with RawServer(serve, tls=trusted) as upstream, connect_proxy(seen := []) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{proxy.authority}")
        assert await fetch(open_transport(), upstream.url) == b"ok"
    assert seen[0].headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
    assert "proxy-authorization" not in inside[0].headers


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\nno such host",
        b"",
    ],
    ids=["407", "403", "502", "hangs up"],
)
async def test_a_proxy_that_refuses(
    open_transport: OpenTransport, monkeypatch: pytest.MonkeyPatch, answer: bytes, kind: str
) -> None:
    async with connect_proxy([], answer) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(Failure) as caught:
            await open_transport().send(post("https://upstream.invalid/"), TIMEOUTS)
        await proxy.wait_for_connections(0)
    assert caught.value.kind is FailureKind.UPSTREAM_UNAVAILABLE
    if answer or kind == "pool":  # aiohttp blames the upstream when the proxy hangs up
        assert caught.value.message == "The proxy on the way to the upstream could not be reached or refused."


async def test_a_proxy_that_is_not_there(
    open_transport: OpenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    for url in ("http://upstream.invalid/", "https://upstream.invalid/"):
        with pytest.raises(Failure, match="The proxy on the way") as caught:
            await open_transport().send(post(url), TIMEOUTS)
        assert caught.value.kind is FailureKind.UPSTREAM_UNAVAILABLE


async def test_a_proxy_that_is_silent(open_transport: OpenTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(peer: Peer) -> None:
        await peer.until_left()

    async with RawServer(serve) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(Failure) as caught:
            await open_transport().send(post("https://upstream.invalid/"), Timeouts(0.1, 0.1, 5, 5, 5))
        await proxy.wait_for_connections(0)
    assert caught.value.kind is FailureKind.UPSTREAM_CONNECT_TIMEOUT


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "ftp://127.0.0.1", "http://", "http://a:b"])
async def test_a_proxy_of_a_kind_that_is_not_spoken(
    open_transport: OpenTransport, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """Going around it would be worse than not going at all."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    async with RawServer(keep_answering) as server:
        with pytest.raises(Failure, match="HTTPS_PROXY") as caught:
            await open_transport().send(post(server.url), TIMEOUTS)
        assert caught.value.kind is FailureKind.PROVIDER_NOT_CONFIGURED
        assert server.accepted == 0


async def test_a_proxy_that_speaks_tls_itself(
    open_transport: OpenTransport, trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS within TLS for https, and TLS to the proxy alone for http."""
    seen: list[Received] = []

    async def serve(peer: Peer) -> None:
        while True:
            seen.append(await peer.answer())

    async with RawServer(serve, tls=trusted) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert await fetch(open_transport(), "http://upstream.invalid/") == b"ok"
    assert seen[0].line == "POST http://upstream.invalid/ HTTP/1.1"
    async with (
        RawServer(keep_answering, tls=trusted) as upstream,
        connect_proxy(seen := [], tls=trusted) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        transport = open_transport()
        assert await fetch(transport, upstream.url) == b"ok"
        assert len(seen) == 1
        await transport.close()


async def test_no_proxy_means_none(open_transport: OpenTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "example.com, 127.0.0.1")
    async with RawServer(keep_answering) as server:
        assert await fetch(open_transport(), server.url) == b"ok"


async def test_calling_off_a_tunnel_closes_it(
    open_transport: OpenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_asked = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.read_head()
        is_asked.set()
        await peer.until_left()

    async with RawServer(serve) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        task = asyncio.create_task(open_transport().send(post("https://upstream.invalid/"), TIMEOUTS))
        await is_asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await proxy.wait_for_connections(0)


@POOL_ONLY
async def test_behind_a_proxy_only_literal_addresses_can_be_forbidden(
    open_transport: OpenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is looked up by the proxy; and the proxy's own address is the operator's choice."""

    def check(ip: str, allows_private: bool) -> None:
        raise Failure(FailureKind.PROVIDER_NOT_CONFIGURED, f"{ip} is not allowed.")

    async def serve(peer: Peer) -> None:
        await peer.read_head()
        await peer.send(reply(b"", status=200))

    async with RawServer(serve) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        transport = open_transport(check_address=check)
        for url in ("http://169.254.169.254/", "https://[::1]/"):
            with pytest.raises(Failure, match="is not allowed"):
                await transport.send(post(url), TIMEOUTS)
        assert proxy.accepted == 0
        assert await fetch(transport, "http://upstream.invalid/", b"") == b""


def test_which_proxy_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_from_environment("https://api.example.com") is None
    monkeypatch.setenv("ALL_PROXY", "http://all.test:1")
    assert proxy_from_environment("https://api.example.com") == "http://all.test:1"
    monkeypatch.setenv("HTTPS_PROXY", "secure.test:3128")
    assert proxy_from_environment("https://api.example.com") == "http://secure.test:3128"
    assert proxy_from_environment("http://api.example.com") == "http://all.test:1"
    monkeypatch.setenv("NO_PROXY", ".example.com,localhost:8080")
    assert proxy_from_environment("https://api.example.com:443") is None
    assert proxy_from_environment("http://localhost:8080") is None
    assert proxy_from_environment("http://localhost:8081") == "http://all.test:1"
    monkeypatch.setenv("NO_PROXY", "*")
    assert proxy_from_environment("https://other.test") is None


def test_a_proxys_default_ports_and_credentials() -> None:
    assert parse_proxy("http://proxy.test") == ("http", "proxy.test", 80, "")
    assert parse_proxy("https://proxy.test") == ("https", "proxy.test", 443, "")
    assert parse_proxy("http://a@[::1]:8") == ("http", "::1", 8, "Basic YTo=")
