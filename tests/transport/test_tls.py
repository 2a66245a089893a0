"""TLS to the upstream: who is believed, and that the rest works as without it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from api.services.translation.failures import Failure, FailureKind
from api.services.wire import Transport
from tests.transport.conftest import POOL_ONLY, TIMEOUTS, fetch, post, read_pieces
from tests.transport.raw_server import Peer, RawServer, chunk, chunked, keep_answering, reply

Certificate = tuple[ssl.SSLContext, Path]


@pytest.fixture
def trusting(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, open_transport: Callable[..., Transport]
) -> Callable[..., Transport]:
    """Makes transports that trust the server's certificate, the way operators do it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    return open_transport


async def test_a_trusted_certificate(trusting: Callable[..., Transport], certificate: Certificate) -> None:
    transport = trusting()
    async with RawServer(keep_answering, tls=certificate[0]) as server:
        for url in (server.url, f"https://localhost:{server.port}"):
            for _ in range(3):
                assert await fetch(transport, url) == b"ok"
        assert server.accepted == 2


async def test_a_certificate_that_nobody_vouches_for(transport: Transport, certificate: Certificate) -> None:
    async with RawServer(keep_answering, tls=certificate[0]) as server:
        with pytest.raises(Failure) as caught:
            await transport.send(post(server.url), TIMEOUTS)
    assert caught.value.kind is FailureKind.UPSTREAM_UNAVAILABLE
    assert caught.value.message == "The TLS connection to the upstream failed: check its certificate."


async def test_a_certificate_for_another_name(
    trusting: Callable[..., Transport], certificate: Certificate
) -> None:
    """127.0.0.2 is this machine too, but not in the certificate."""
    transport = trusting()
    async with RawServer(keep_answering, tls=certificate[0], host="127.0.0.2") as server:
        with pytest.raises(Failure, match="check its certificate"):
            await transport.send(post(server.url), TIMEOUTS)


async def test_a_server_that_does_not_speak_tls(transport: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.reader.read(100)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await peer.until_left()

    async with RawServer(serve) as server:
        with pytest.raises(Failure) as caught:
            await transport.send(post(f"https://{server.authority}/"), TIMEOUTS)
    assert caught.value.kind is FailureKind.UPSTREAM_UNAVAILABLE
    assert caught.value.message == "The TLS connection to the upstream failed: check its certificate."


@POOL_ONLY
async def test_the_pool_says_whom_it_means_and_what_it_speaks(
    trusting: Callable[..., Transport], certificate: Certificate
) -> None:
    """SNI and ALPN. aiohttp offers no protocol by name."""
    names: list[str | None] = []
    protocols: list[str | None] = []
    context = certificate[0]
    context.sni_callback = lambda connection, name, _: names.append(name)
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def serve(peer: Peer) -> None:
        protocols.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await keep_answering(peer)

    try:
        async with RawServer(serve, tls=context) as server:
            assert await fetch(trusting(), f"https://localhost:{server.port}") == b"ok"
    finally:
        context.sni_callback = None
    assert names == ["localhost"]
    assert protocols == ["http/1.1"]


@POOL_ONLY
async def test_a_context_of_ones_own(
    certificate: Certificate, open_transport: Callable[..., Transport]
) -> None:
    transport = open_transport(tls=ssl.create_default_context(cafile=str(certificate[1])))
    async with RawServer(keep_answering, tls=certificate[0]) as server:
        assert await fetch(transport, server.url) == b"ok"


async def test_long_bodies_both_ways(trusting: Callable[..., Transport], certificate: Certificate) -> None:
    transport = trusting()
    body = bytes(range(256)) * (4 << 12)

    async def serve(peer: Peer) -> None:
        head = await peer.read_head()
        received = await peer.reader.readexactly(int(head.headers["content-length"]))
        await peer.send(reply(received))
        await keep_answering(peer)

    async with RawServer(serve, tls=certificate[0]) as server:
        response = await transport.send(post(server.url, body), TIMEOUTS)
        await asyncio.sleep(0.05)  # what arrives meanwhile is held back
        assert await read_pieces(response) == body
        await response.close()
        assert await fetch(transport, server.url) == b"ok"
        assert server.accepted == 1


async def test_a_body_cut_within_tls(trusting: Callable[..., Transport], certificate: Certificate) -> None:
    transport = trusting()
    whole = chunked(b"hello", b"world")

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(whole[:-7])
        await peer.close()

    async with RawServer(serve, tls=certificate[0]) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        with pytest.raises(Failure) as caught:
            await read_pieces(response)
        await response.close()
    assert caught.value.kind is FailureKind.UPSTREAM_STREAM_INTERRUPTED


async def test_a_close_delimited_body_within_tls(
    trusting: Callable[..., Transport], certificate: Certificate
) -> None:
    transport = trusting()

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello world")
        await peer.close()

    async with RawServer(serve, tls=certificate[0]) as server:
        assert await fetch(transport, server.url) == b"hello world"


async def test_a_close_delimited_body_that_ends_without_tlss_goodbye(
    trusting: Callable[..., Transport], certificate: Certificate
) -> None:
    """Many servers do so. Whether the reply is whole, what speaks inside has to tell."""
    transport = trusting()
    is_read = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello world")
        await is_read.wait()
        peer.writer.transport.abort()

    async with RawServer(serve, tls=certificate[0]) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        assert await response.read_piece(5.0) == b"hello world"
        is_read.set()
        assert await response.read_piece(5.0) == b""
        await response.close()


async def test_a_response_closed_early_closes_the_socket_at_once(
    trusting: Callable[..., Transport], certificate: Certificate
) -> None:
    """However much the upstream still has to say: its TLS goodbye is not waited for."""
    transport = trusting()

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await peer.send(chunk(bytes(1000)))
            await asyncio.sleep(0.001)

    async with RawServer(serve, tls=certificate[0]) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        assert await response.read_piece(5.0)
        await response.close()
        async with asyncio.timeout(1):
            await server.wait_for_connections(0)


async def test_a_connection_that_ended_while_idle(
    trusting: Callable[..., Transport], certificate: Certificate
) -> None:
    transport = trusting()

    async def serve(peer: Peer) -> None:
        await peer.answer()
        await peer.close()

    async with RawServer(serve, tls=certificate[0]) as server:
        for number in (1, 2, 3):
            assert await fetch(transport, server.url) == b"ok"
            await server.wait_for_connections(0)
            assert server.accepted == number
