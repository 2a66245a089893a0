"""Keeping, sharing and losing connections; and what is left when a request is called off."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from itertools import chain

import pytest

from api.services.pool import PoolTransport
from api.services.translation.failures import Failure, FailureKind
from api.services.wire import Timeouts, Transport
from tests.transport.conftest import POOL_ONLY, TIMEOUTS, fetch, post, read_pieces
from tests.transport.raw_server import Peer, RawServer, chunk, keep_answering, reply
from tests.transport.sockets import settle, sockets

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_a_connection_serves_one_request_after_the_other(transport: Transport) -> None:
    async with RawServer(keep_answering) as server:
        for _ in range(10):
            assert await fetch(transport, server.url) == b"ok"
        assert server.accepted == 1


async def test_parallel_requests_have_connections_of_their_own(transport: Transport) -> None:
    """200 at once; the next 200 need no new connection."""
    all_here = asyncio.Event()
    waiting = 0

    async def serve(peer: Peer) -> None:
        nonlocal waiting
        while True:
            request = await peer.read_request()
            waiting += 1
            if waiting == 200:
                all_here.set()
            await all_here.wait()
            await peer.send(reply(b"to " + request.body))

    async with RawServer(serve) as server:
        for _ in range(2):
            bodies = [b"%d" % number for number in range(200)]
            answers = await asyncio.gather(*[fetch(transport, server.url, body) for body in bodies])
            assert answers == [b"to " + body for body in bodies]
        assert server.accepted == 200


@POOL_ONLY
async def test_the_connection_used_last_is_taken_first(transport: Transport) -> None:
    """So that the surplus of a burst grows old, and is closed. aiohttp takes them in turn."""
    served: list[int] = []
    both = asyncio.Barrier(2)

    async def serve(peer: Peer) -> None:
        while True:
            request = await peer.read_request()
            served.append(peer.number)
            if request.body == b"burst":
                await both.wait()
                # The second connection answers last.
                await asyncio.sleep(0.02 * (peer.number - 1))
            await peer.send(reply())

    async with RawServer(serve) as server:
        await asyncio.gather(*[fetch(transport, server.url, b"burst") for _ in range(2)])
        for _ in range(5):
            await fetch(transport, server.url)
        assert served[2:] == [2] * 5


async def test_origins_do_not_share_connections(transport: Transport) -> None:
    async with RawServer(keep_answering) as one, RawServer(keep_answering) as other:
        for server in (one, other, one, other):
            assert await fetch(transport, server.url) == b"ok"
        assert (one.accepted, other.accepted) == (1, 1)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(reply(b"ok", "connection: close\r\n"), id="connection: close"),
        pytest.param(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", id="http/1.0"),
        pytest.param(reply(b"ok") + reply(b"smuggled"), id="a second reply"),
    ],
)
async def test_after_such_a_reply_the_connection_is_not_used_again(
    transport: Transport, answer: bytes
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(answer)
        await peer.until_left()

    async with RawServer(serve) as server:
        for number in (1, 2, 3):
            assert await fetch(transport, server.url) == b"ok"
            assert server.accepted == number
        await server.wait_for_connections(0)


@POOL_ONLY
async def test_surplus_bytes_cost_the_connection_not_the_reply(transport: Transport) -> None:
    """aiohttp fails the reply before them too, if they came at once."""

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(reply(b"ok") + b"surplus")
        await peer.until_left()

    async with RawServer(serve) as server:
        for number in (1, 2):
            assert await fetch(transport, server.url) == b"ok"
            assert server.accepted == number
        await server.wait_for_connections(0)


@POOL_ONLY
async def test_late_bytes_do_not_pass_for_the_next_answer(transport: Transport) -> None:
    """aiohttp takes them for it, if they came between the two requests."""
    is_read, is_said = asyncio.Event(), asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.answer()
        await is_read.wait()
        await peer.send(reply(b"to nobody"))
        is_said.set()
        await peer.until_left()

    async with RawServer(serve) as server:
        assert await fetch(transport, server.url) == b"ok"
        is_read.set()
        await is_said.wait()
        await server.wait_for_connections(0)
        assert await fetch(transport, server.url) == b"ok"
        assert server.accepted == 2


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_connection_that_ended_while_idle_is_not_taken(transport: Transport, reset: bool) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer()
        await peer.close(reset=reset)

    async with RawServer(serve) as server:
        for number in (1, 2, 3):
            assert await fetch(transport, server.url) == b"ok"
            await server.wait_for_connections(0)
            assert server.accepted == number


def closing_on_next_request(seen: list[bytes], *, reset: bool, say: bytes = b"") -> RawServer:
    """Promises to stay, and closes when the second request begins to arrive: the race every pool loses at times."""

    async def serve(peer: Peer) -> None:
        await peer.answer()
        seen.append((await peer.read_request()).body)
        if len(seen) == 1:
            await peer.send(say)
            await peer.close(reset=reset)
        else:
            await peer.send(reply(b"ok"))
            await keep_answering(peer)

    return RawServer(serve)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_request_that_lost_the_race_is_sent_once_more(transport: Transport, reset: bool) -> None:
    async with closing_on_next_request(seen := [], reset=reset) as server:
        assert await fetch(transport, server.url, b"first") == b"ok"
        assert await fetch(transport, server.url, b"second") == b"ok"
        assert seen == [b"second"]
        assert server.accepted == 2


@POOL_ONLY
async def test_after_one_byte_of_an_answer_a_request_is_not_sent_again(transport: Transport) -> None:
    """aiohttp tells no difference between no byte and half a head."""
    async with closing_on_next_request(seen := [], reset=False, say=b"H") as server:
        await fetch(transport, server.url)
        with pytest.raises(Failure, match="without an answer") as caught:
            await transport.send(post(server.url), TIMEOUTS)
        assert caught.value.kind is FailureKind.UPSTREAM_UNAVAILABLE
        assert (server.accepted, len(seen)) == (1, 1)


async def test_a_fresh_connection_that_says_nothing_is_not_tried_again(transport: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.close()

    async with RawServer(serve) as server:
        with pytest.raises(Failure, match="without an answer"):
            await transport.send(post(server.url), TIMEOUTS)
        assert server.accepted == 1


@POOL_ONLY
async def test_a_race_lost_is_followed_by_a_fresh_connection_not_by_another_idle_one(
    transport: Transport,
) -> None:
    """A server that restarts ends all its idle connections; the one retry must not meet the next of them.

    aiohttp cannot be asked for a fresh connection.
    """
    both = asyncio.Barrier(2)

    async def serve(peer: Peer) -> None:
        request = await peer.read_request()
        if request.body == b"burst":
            await both.wait()
            await peer.send(reply())
            await peer.read_request()
            await peer.close()
        else:
            await peer.send(reply(b"fresh"))

    async with RawServer(serve) as server:
        await asyncio.gather(*[fetch(transport, server.url, b"burst") for _ in range(2)])
        assert await fetch(transport, server.url) == b"fresh"
        assert server.accepted == 3


async def test_after_a_timeout_a_request_is_not_sent_again(transport: Transport) -> None:
    """It may be at work upstream, and cost money."""

    async def serve(peer: Peer) -> None:
        await peer.answer()
        await peer.until_left()

    async with RawServer(serve) as server:
        await fetch(transport, server.url)
        with pytest.raises(Failure) as caught:
            await transport.send(post(server.url), Timeouts(0.05, 0.05, 5, 5, 5))
        assert caught.value.kind is FailureKind.UPSTREAM_HEADERS_TIMEOUT
        assert server.accepted == 1
        await server.wait_for_connections(0)


async def test_a_response_closed_before_its_end_takes_its_connection_with_it(transport: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(STREAM_HEAD + chunk(b"hello"))
        await peer.until_left()

    async with RawServer(serve) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        assert await response.read_piece(5.0) == b"hello"
        await response.close()
        await server.wait_for_connections(0)
        await response.close()  # again does no harm


async def cancelled(task: asyncio.Task[object]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_calling_off_a_wait_for_the_head_closes_the_upstream(transport: Transport) -> None:
    is_asked = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        is_asked.set()
        await peer.until_left()

    async with RawServer(serve) as server:
        task = asyncio.create_task(transport.send(post(server.url), TIMEOUTS))
        await is_asked.wait()
        await cancelled(task)
        await server.wait_for_connections(0)


async def test_calling_off_a_wait_for_a_piece_loses_nothing(transport: Transport) -> None:
    is_waiting = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(STREAM_HEAD)
        await is_waiting.wait()
        await peer.send(chunk(b"hello"))
        await peer.until_left()

    async with RawServer(serve) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        task = asyncio.create_task(response.read_piece(5.0))
        await asyncio.sleep(0)
        await cancelled(task)
        with pytest.raises(TimeoutError):
            await response.read_piece(0.01)
        is_waiting.set()
        assert await response.read_piece(5.0) == b"hello"
        await response.close()
        await server.wait_for_connections(0)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_calling_off_at_any_moment_leaves_nothing(
    open_transport: Callable[..., Transport],
    kind: str,
    tls: bool,
    certificate: tuple[object, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request is called off after 1, 2, 3… turns of the loop, until one gets through."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    transport = open_transport()

    async def serve(peer: Peer) -> None:
        await peer.answer(b"x" * 1000)
        await peer.until_left()

    async with RawServer(serve, tls=certificate[0] if tls else None) as server:  # type: ignore[arg-type]
        before = sockets()
        is_through = False
        for turns in chain(range(100), range(100, 20_000, 100)):
            task = asyncio.create_task(fetch(transport, server.url))
            for _ in range(turns):
                await asyncio.sleep(0)
            if task.done():
                is_through = task.result() == b"x" * 1000
                break
            await cancelled(task)  # type: ignore[arg-type]
        assert is_through
        await transport.close()
        await settle(before)
        await server.wait_for_connections(0)
    leftover = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert leftover == []


async def test_closing_the_transport_closes_all_its_connections(transport: Transport) -> None:
    before = sockets()

    async def serve(peer: Peer) -> None:
        request = await peer.read_request()
        if request.body == b"idle":
            await peer.send(reply())
        else:
            await peer.send(STREAM_HEAD + chunk(b"hello"))
        await peer.until_left()

    async with RawServer(serve) as server:
        listening = sockets()
        busy = await transport.send(post(server.url, b"busy"), TIMEOUTS)
        await fetch(transport, server.url, b"idle")
        assert server.accepted == 2
        await transport.close()
        await server.wait_for_connections(0)
        await settle(listening)
        with pytest.raises(Failure) as caught:
            await read_pieces(busy)
        await busy.close()
        assert caught.value.kind is FailureKind.UPSTREAM_STREAM_INTERRUPTED
    await settle(before)
    gc.collect()  # a forgotten transport would warn, and a warning is an error


@POOL_ONLY
async def test_what_is_idle_for_too_long_is_closed(kind: str) -> None:
    """aiohttp's limit is not ours to shorten for a test."""
    transport = PoolTransport(idle_seconds=0.1)
    both = asyncio.Barrier(2)

    async def serve(peer: Peer) -> None:
        while True:
            request = await peer.read_request()
            if request.body == b"burst":
                await both.wait()
            await peer.send(reply())

    async with RawServer(serve) as server:
        await asyncio.gather(*[fetch(transport, server.url, b"burst") for _ in range(2)])
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.3
        while loop.time() < end:  # one of the two stays in use
            await fetch(transport, server.url)
            await asyncio.sleep(0.01)
        assert server.open_connections == 1
        assert server.accepted == 2
        await server.wait_for_connections(0)
    await transport.close()


async def test_a_slow_reader_slows_the_upstream_down(transport: Transport) -> None:
    """What is not read stays in the upstream's hands: memory does not grow with the reply."""
    total = 32 << 20
    sent = 0
    piece = bytes(64 << 10)

    async def serve(peer: Peer) -> None:
        nonlocal sent
        await peer.read_request()
        await peer.send(f"HTTP/1.1 200 OK\r\ncontent-length: {total}\r\n\r\n".encode())
        while sent < total:
            await peer.send(piece)
            sent += len(piece)
        await peer.until_left()

    async with RawServer(serve, buffer=64 << 10) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        async with asyncio.timeout(5):
            known = -1
            while sent != known:  # until the server is stuck
                known = sent
                await asyncio.sleep(0.05)
        # Both kernel buffers are in this figure too: at most 4 MiB and 6 MiB here.
        assert sent < 12 << 20
        received = 0
        while piece_read := await response.read_piece(5.0):
            received += len(piece_read)
        await response.close()
        assert received == total
        assert sent == total


async def test_after_a_slow_reader_the_connection_is_awake_again(transport: Transport) -> None:
    """Bodies of all lengths around those at which reading is paused, the last piece included."""

    async def serve(peer: Peer) -> None:
        while True:
            request = await peer.read_request()
            await peer.send(reply(bytes(int(request.body) * 1024)))

    async with RawServer(serve) as server:
        for length in (64, 128, 200, 256, 257, 300, 400, 500, 512, 600, 1024):
            response = await transport.send(post(server.url, b"%d" % length), TIMEOUTS)
            await asyncio.sleep(0.01)
            assert len(await response.read(1 << 21)) == length * 1024
            await response.close()
        assert server.accepted == 1


async def test_no_thread_is_started_for_an_address(transport: Transport) -> None:
    before = threading.active_count()
    async with RawServer(keep_answering) as server:
        await asyncio.gather(*[fetch(transport, server.url) for _ in range(20)])
    assert threading.active_count() == before


async def test_half_closed_behind_a_reply_the_connection_is_not_used_again(transport: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.answer()
        peer.half_close()
        await peer.until_left()

    async with RawServer(serve) as server:
        for number in (1, 2):
            assert await fetch(transport, server.url) == b"ok"
            await server.wait_for_connections(0)
            assert server.accepted == number
