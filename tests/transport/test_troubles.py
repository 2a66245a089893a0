"""What a failure says, wherever in the exchange it happens; and that time limits hold."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import pytest

from api.services.pool import PoolTransport
from api.services.pool.dial import Address, Resolver, dial
from api.services.translation.failures import Failure, FailureKind
from api.services.wire import Timeouts, Transport
from tests.fake_upstream.unreachable import black_hole
from tests.transport.conftest import POOL_ONLY, TIMEOUTS, fetch, post
from tests.transport.raw_server import Peer, RawServer, chunk, keep_answering

SHORT = Timeouts(connect=0.1, headers=0.1, first_token=5, idle=5, total=5)


async def failure_of(transport: Transport, url: str, timeouts: Timeouts = TIMEOUTS) -> Failure:
    with pytest.raises(Failure) as caught:
        await transport.send(post(url), timeouts)
    return caught.value


async def test_a_refused_connection(transport: Transport) -> None:
    with socket.socket() as bound:  # bound, but not listening
        bound.bind(("127.0.0.1", 0))
        failure = await failure_of(transport, f"http://127.0.0.1:{bound.getsockname()[1]}/")
    assert failure.kind is FailureKind.UPSTREAM_UNAVAILABLE
    assert failure.message == "The upstream refused the connection."


async def test_a_name_that_nobody_knows(transport: Transport) -> None:
    # https://www.rfc-editor.org/rfc/rfc6761#section-6.4
    failure = await failure_of(transport, "http://upstream.invalid/")
    assert failure.kind is FailureKind.UPSTREAM_UNAVAILABLE
    assert failure.message == "The upstream's host name could not be resolved."


async def test_an_upstream_that_does_not_take_the_connection(transport: Transport) -> None:
    with black_hole() as url:
        began = time.monotonic()
        failure = await failure_of(transport, url, SHORT)
        assert time.monotonic() - began < 2
    assert failure.kind is FailureKind.UPSTREAM_CONNECT_TIMEOUT
    assert failure.message == "Could not connect to the upstream in time."


async def test_the_time_to_connect_covers_tls(transport: Transport) -> None:
    """A server that takes the connection, and never says hello."""

    async def serve(peer: Peer) -> None:
        await peer.until_left()

    async with RawServer(serve) as server:
        failure = await failure_of(transport, f"https://{server.authority}/", SHORT)
        assert failure.kind is FailureKind.UPSTREAM_CONNECT_TIMEOUT
        await server.wait_for_connections(0)


async def test_an_upstream_that_never_answers(transport: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.until_left()

    async with RawServer(serve) as server:
        failure = await failure_of(transport, server.url, SHORT)
        await server.wait_for_connections(0)
    assert failure.kind is FailureKind.UPSTREAM_HEADERS_TIMEOUT
    assert failure.message == "The upstream did not begin to answer in time."


async def test_interim_heads_and_half_a_head_do_not_stop_the_clock(transport: Transport) -> None:
    async def serve(peer: Peer) -> None:
        await peer.read_request()
        async with asyncio.timeout(3):
            while not peer.reader.at_eof():
                await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
                try:
                    async with asyncio.timeout(0.02):
                        await peer.reader.read(1)
                except TimeoutError:
                    pass

    async with RawServer(serve) as server:
        failure = await failure_of(transport, server.url, SHORT)
        await server.wait_for_connections(0)
    assert failure.kind is FailureKind.UPSTREAM_HEADERS_TIMEOUT


async def test_a_pause_within_the_body_can_be_waited_out(transport: Transport) -> None:
    """A timeout between two pieces is the reader's affair: it may go on, and has lost nothing."""
    proceed = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b"one"))
        await proceed.wait()
        await peer.send(chunk(b"two") + b"0\r\n\r\n")
        await keep_answering(peer)

    async with RawServer(serve) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        assert await response.read_piece(5.0) == b"one"
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await response.read_piece(0.01)
        proceed.set()
        assert await response.read_piece(5.0) == b"two"
        assert await response.read_piece(5.0) == b""
        assert await response.read_piece(5.0) == b""
        await response.close()
        await fetch(transport, server.url)
        assert server.accepted == 1


async def test_no_failure_names_an_address(transport: Transport) -> None:
    for url in ("http://127.0.0.1:1/secret-path", "http://secret-host.invalid/", "nonsense secret"):
        failure = await failure_of(transport, url)
        text = f"{failure} {failure!r} {failure.upstream_message}"
        assert "secret" not in text
        assert "127.0.0.1" not in text
        assert failure.__suppress_context__ or failure.__context__ is None


# Which addresses are dialled, and how. Only the pool lets a test ask.


@POOL_ONLY
async def test_an_address_may_be_forbidden(open_transport: Callable[..., PoolTransport]) -> None:
    asked: list[str] = []

    def check(ip: str, allows_private: bool) -> None:
        asked.append(ip)
        raise Failure(FailureKind.PROVIDER_NOT_CONFIGURED, "That address is not allowed.")

    transport = open_transport(check_address=check)
    async with RawServer(keep_answering) as server:
        for host in ("127.0.0.1", "localhost"):
            failure = await failure_of(transport, f"http://{host}:{server.port}/")
            assert failure.message == "That address is not allowed."
        assert server.accepted == 0
    assert asked[0] == "127.0.0.1"
    assert asked[1] in ("127.0.0.1", "::1")


@POOL_ONLY
async def test_every_address_is_asked_about_before_any_is_dialled(
    open_transport: Callable[..., PoolTransport],
) -> None:
    asked: list[str] = []
    transport = open_transport(check_address=lambda ip, _: asked.append(ip))
    async with RawServer(keep_answering) as server:
        assert await fetch(transport, f"http://localhost:{server.port}/") == b"ok"
        assert await fetch(transport, f"http://localhost:{server.port}/") == b"ok"
    assert "127.0.0.1" in asked
    assert len(asked) == len(set(asked))  # not again for the connection that was kept


def loopback(port: int) -> Address:
    return Address(socket.AF_INET, ("127.0.0.1", port))


async def test_dialling_goes_on_to_the_next_address_after_a_refusal() -> None:
    async with RawServer(keep_answering) as server:
        sock = await dial([loopback(1), loopback(1), loopback(server.port)])
        assert sock.getpeername()[1] == server.port
        sock.close()


async def test_dialling_does_not_wait_for_an_address_that_is_silent() -> None:
    """RFC 8305: the next one starts after a quarter of a second, and the first to answer wins."""
    async with RawServer(keep_answering) as server:
        with black_hole() as url:
            silent = int(url.rpartition(":")[2])
            began = time.monotonic()
            sock = await dial([loopback(silent), loopback(server.port)])
            assert 0.2 < time.monotonic() - began < 2
            assert sock.getpeername()[1] == server.port
            sock.close()
            await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) <= 2  # this test and the server's connection


async def test_dialling_nobody_tells_what_the_first_address_said() -> None:
    with pytest.raises(ConnectionRefusedError):
        await dial([loopback(1), loopback(2)])


async def test_dialling_can_be_called_off() -> None:
    with black_hole() as url:
        silent = int(url.rpartition(":")[2])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await dial([loopback(silent), loopback(silent)])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1


async def test_a_name_is_looked_up_once_for_all_who_wait() -> None:
    resolver = Resolver()
    found = await asyncio.gather(*[resolver.resolve("localhost", 80) for _ in range(20)])
    assert all(addresses is found[0] for addresses in found)
    assert "127.0.0.1" in {address.ip for address in found[0]}
    resolver.close()


async def test_a_failed_lookup_is_not_remembered() -> None:
    resolver = Resolver()
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await resolver.resolve("upstream.invalid", 80)
    resolver.close()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await resolver.resolve("upstream.invalid", 80)
    resolver.close()
