"""A body that is poured into a function: every byte in order, and the one who waits stays in charge."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from api.services.translation.failures import Failure, FailureKind
from api.services.wire import Transport, WireResponse
from tests.transport.conftest import TIMEOUTS, fetch, post
from tests.transport.raw_server import Peer, RawServer, chunk, keep_answering

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def serving(
    *pieces: bytes, seen: asyncio.Semaphore, end: bytes = b"0\r\n\r\n"
) -> Callable[[Peer], Awaitable[None]]:
    """Each piece goes out when the one before it was taken."""

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(HEAD)
        for piece in pieces:
            await peer.send(chunk(piece))
            async with asyncio.timeout(5):
                await seen.acquire()
        if end:
            await peer.send(end)
            await keep_answering(peer)
        else:
            await peer.close()

    return serve


async def open_body(transport: Transport, server: RawServer) -> WireResponse:
    return await transport.send(post(server.url), TIMEOUTS)


async def test_each_piece_is_taken_as_it_comes(transport: Transport) -> None:
    seen, taken = asyncio.Semaphore(0), []

    def take(piece: bytes) -> bool:
        taken.append(piece)
        seen.release()
        return True

    async with RawServer(serving(b"one", b"two", b"three", seen=seen)) as server:
        response = await open_body(transport, server)
        assert await response.pour(take, 5.0)
        assert taken == [b"one", b"two", b"three"]
        await response.close()
        await fetch(transport, server.url)
        assert server.accepted == 1


async def test_who_has_had_enough_gets_nothing_more_until_asked_again(transport: Transport) -> None:
    seen, taken = asyncio.Semaphore(0), []

    def take(piece: bytes) -> bool:
        taken.append(piece)
        seen.release()
        return piece != b"two"

    async with RawServer(serving(b"one", b"two", b"three", b"four", seen=seen)) as server:
        response = await open_body(transport, server)
        assert not await response.pour(take, 5.0)
        assert taken == [b"one", b"two"]
        assert await response.read_piece(5.0) == b"three"
        seen.release()
        assert await response.pour(take, 5.0)
        assert taken == [b"one", b"two", b"four"]
        await response.close()


async def test_silence_is_counted_from_the_last_piece(transport: Transport) -> None:
    """Four pieces, each within the time, together beyond it; then nothing."""
    taken: list[bytes] = []
    is_over = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(HEAD)
        for _ in range(4):
            await asyncio.sleep(0.15)
            await peer.send(chunk(b"x"))
        await is_over.wait()
        await peer.send(chunk(b"y") + b"0\r\n\r\n")
        await keep_answering(peer)

    def take(piece: bytes) -> bool:
        taken.append(piece)
        return True

    async with RawServer(serve) as server:
        response = await open_body(transport, server)
        with pytest.raises(TimeoutError):
            await response.pour(take, 0.45)
        assert b"".join(taken) == b"xxxx"
        is_over.set()
        assert await response.pour(take, 5.0)
        assert b"".join(taken) == b"xxxxy"
        await response.close()


async def test_trouble_of_the_taker_is_the_callers_and_loses_nothing_more(transport: Transport) -> None:
    seen = asyncio.Semaphore(0)

    def take(piece: bytes) -> bool:
        seen.release()
        raise ZeroDivisionError

    async with RawServer(serving(b"one", b"two", seen=seen)) as server:
        response = await open_body(transport, server)
        with pytest.raises(ZeroDivisionError):
            await response.pour(take, 5.0)
        assert await response.read_piece(5.0) == b"two"
        seen.release()
        assert await response.read_piece(5.0) == b""
        await response.close()


async def test_what_came_before_a_break_is_taken_first(transport: Transport) -> None:
    seen, taken = asyncio.Semaphore(0), []

    def take(piece: bytes) -> bool:
        taken.append(piece)
        seen.release()
        return True

    async with RawServer(serving(b"one", b"two", seen=seen, end=b"")) as server:
        response = await open_body(transport, server)
        with pytest.raises(Failure) as caught:
            await response.pour(take, 5.0)
        assert taken == [b"one", b"two"]
        assert caught.value.kind is FailureKind.UPSTREAM_STREAM_INTERRUPTED
        await response.close()


async def test_a_call_that_was_called_off_takes_nothing(transport: Transport) -> None:
    proceed = asyncio.Event()
    taken: list[bytes] = []

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(HEAD)
        await proceed.wait()
        await peer.send(chunk(b"one") + b"0\r\n\r\n")
        await keep_answering(peer)

    def take(piece: bytes) -> bool:
        taken.append(piece)
        return True

    async with RawServer(serve) as server:
        response = await open_body(transport, server)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await response.pour(take, 5.0)
        proceed.set()
        assert await response.read_piece(5.0) == b"one"
        assert await response.read_piece(5.0) == b""
        assert taken == []
        await response.close()
