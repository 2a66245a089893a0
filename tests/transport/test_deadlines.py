"""A whole reply has one time limit of its own: for connecting, its head and its body together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from api.services.translation.failures import Failure, FailureKind
from api.services.wire import Timeouts, Transport
from tests.fake_upstream.unreachable import black_hole
from tests.transport.conftest import POOL_ONLY, TIMEOUTS, fetch, post
from tests.transport.raw_server import Peer, RawServer, chunk, keep_answering, reply

CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LIMIT = 1 << 20


async def stay_silent(peer: Peer) -> None:
    await peer.until_left()


async def test_the_limit_covers_connecting(transport: Transport) -> None:
    with black_hole() as url, pytest.raises(TimeoutError):
        await transport.send(post(url), TIMEOUTS, 0.1)


async def test_the_limit_covers_tls(transport: Transport) -> None:
    async with RawServer(stay_silent) as server:
        with pytest.raises(TimeoutError):
            await transport.send(post(f"https://{server.authority}/"), TIMEOUTS, 0.1)
        await server.wait_for_connections(0)


@pytest.mark.parametrize("is_reused", [False, True], ids=["fresh", "reused"])
async def test_the_limit_covers_the_head(transport: Transport, is_reused: bool) -> None:
    async def serve(peer: Peer) -> None:
        if is_reused:
            await peer.answer()
        await peer.read_request()
        await peer.until_left()

    async with RawServer(serve) as server:
        if is_reused:
            await fetch(transport, server.url)
        with pytest.raises(TimeoutError):
            await transport.send(post(server.url), TIMEOUTS, 0.1)
        await server.wait_for_connections(0)
        assert server.accepted == 1


async def test_the_limit_covers_an_upload_that_gets_stuck(transport: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.read_head()
        await asyncio.Event().wait()

    async with RawServer(serve, buffer=64 << 10) as server:
        with pytest.raises(TimeoutError):
            await transport.send(post(server.url, b"x" * (16 << 20)), TIMEOUTS, 0.1)


@POOL_ONLY
async def test_the_limit_covers_an_upload_that_goes_on_and_on(transport: Transport) -> None:
    """The time to the head counts anew as long as the body moves; aiohttp counts it once."""

    async def serve(peer: Peer) -> None:
        await peer.read_head()
        while await peer.reader.read(64 << 10):
            await asyncio.sleep(0.001)

    async with RawServer(serve, buffer=64 << 10) as server:
        timeouts = Timeouts(connect=5, headers=0.5, first_token=5, idle=5, total=5)
        with pytest.raises(TimeoutError):
            await transport.send(post(server.url, b"x" * (64 << 20)), timeouts, 0.9)
        await server.wait_for_connections(0)


async def test_the_nearer_of_two_limits_is_the_one_that_counts(transport: Transport) -> None:
    async with RawServer(stay_silent) as server:
        with pytest.raises(Failure) as caught:
            await transport.send(post(server.url), Timeouts(0.1, 0.1, 5, 5, 5), 4)
        assert caught.value.kind is FailureKind.UPSTREAM_HEADERS_TIMEOUT
        with pytest.raises(TimeoutError):
            await transport.send(post(server.url), TIMEOUTS, 0.1)


async def drip(peer: Peer) -> None:
    """A body of which some comes all the time, and the end never."""
    while not peer.reader.at_eof():
        await peer.send(chunk(b"x"))
        try:
            async with asyncio.timeout(0.01):
                await peer.reader.read(1)
        except TimeoutError:
            pass


@pytest.mark.parametrize("go_on", [stay_silent, drip], ids=["silent", "drip"])
@pytest.mark.parametrize("packing", ["", "content-encoding: gzip\r\n"], ids=["plain", "gzip"])
async def test_the_limit_covers_the_body(
    transport: Transport, go_on: Callable[[Peer], Awaitable[None]], packing: str
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\n" + packing.encode() + b"transfer-encoding: chunked\r\n\r\n")
        if packing:
            # The beginning of a gzip stream: a header with a file name that has no end.
            await peer.send(chunk(b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03"))
        await go_on(peer)

    async with RawServer(serve) as server:
        response = await transport.send(post(server.url), TIMEOUTS, 5)
        assert response.take_whole(LIMIT) is None
        with pytest.raises(TimeoutError):
            await response.read(LIMIT, 0.15)
        await response.close()
        await server.wait_for_connections(0)


@pytest.mark.parametrize("seconds", [None, 5.0])
async def test_a_body_in_many_pieces_is_read_to_its_end(transport: Transport, seconds: float | None) -> None:
    pieces = [b"x" * size for size in (1, 70_000, 1, 300_000, 2, 65_536, 1)]

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(CHUNKED_HEAD)
        for piece in pieces:
            await peer.send(chunk(piece))
            await asyncio.sleep(0.001)
        await peer.send(b"0\r\n\r\n")
        await keep_answering(peer)

    async with RawServer(serve) as server:
        response = await transport.send(post(server.url), TIMEOUTS, seconds)
        assert await response.read(LIMIT, seconds) == b"".join(pieces)
        await response.close()
        assert await fetch(transport, server.url) == b"ok"
        assert server.accepted == 1


@POOL_ONLY
async def test_what_is_there_is_taken_without_waiting(transport: Transport) -> None:
    """aiohttp never says that a body is all there."""
    more = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.answer(b"at once")
        await peer.read_request()
        whole = reply(b"in two pieces")
        await peer.send(whole[:-6])
        await more.wait()
        await peer.send(whole[-6:])
        await keep_answering(peer)

    async with RawServer(serve) as server, asyncio.timeout(5):
        response = await transport.send(post(server.url), TIMEOUTS)
        while (body := response.take_whole(LIMIT)) is None:
            await asyncio.sleep(0.001)
        assert body == b"at once"
        response = await transport.send(post(server.url), TIMEOUTS)
        assert response.take_whole(LIMIT) is None
        more.set()
        assert await response.read(LIMIT) == b"in two pieces"
        assert await fetch(transport, server.url) == b"ok"
        assert server.accepted == 1


async def test_no_more_is_taken_than_was_asked_for(transport: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer(b"eight by")
        await keep_answering(peer)

    async with RawServer(serve) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        await asyncio.sleep(0.05)  # All of it is there by now, or else this shows less.
        assert response.take_whole(7) is None
        with pytest.raises(Failure, match="larger than 7 bytes"):
            await response.read(7)
        await response.close()


async def test_a_wait_that_was_called_off_leaves_the_next_one_alone(transport: Transport) -> None:
    """Its timer must not end a wait that has more time."""
    proceed = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(CHUNKED_HEAD)
        await proceed.wait()
        await peer.send(chunk(b"late") + b"0\r\n\r\n")
        await keep_answering(peer)

    async with RawServer(serve) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        impatient = asyncio.ensure_future(response.read_piece(0.2))
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        asyncio.get_running_loop().call_later(0.4, proceed.set)
        assert await response.read_piece(5.0) == b"late"
        await response.close()
