"""What both transports make of a reply's bytes: framing, interim heads, limits, and every way to break off."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib

import pytest

from api.services.translation.failures import Failure, FailureKind
from api.services.wire import Transport
from tests.transport.conftest import POOL_ONLY, TIMEOUTS, post, read_pieces
from tests.transport.raw_server import Peer, RawServer, chunk, chunked, keep_answering, reply


def saying(data: bytes, *, reset: bool = False, half: bool = False, drip: bool = False):
    """A server that answers each connection's first request with `data`, then hangs up."""

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        for part in [data[at : at + 1] for at in range(len(data))] if drip else [data]:
            await peer.send(part)
            await asyncio.sleep(0)
        if half:
            peer.half_close()
            await peer.until_left()
        else:
            await peer.close(reset=reset)

    return RawServer(serve)


async def receive(transport: Transport, server: RawServer) -> tuple[int, bytes]:
    response = await transport.send(post(server.url), TIMEOUTS)
    try:
        return response.status, await read_pieces(response)
    finally:
        await response.close()


PACKED = gzip.compress(b"hello")
CLOSE_DELIMITED = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nhello world"
WHOLE = {
    "length": (reply(b"hello world"), b"hello world"),
    "empty": (reply(b""), b""),
    "chunked": (chunked(b"hello", b" ", b"world"), b"hello world"),
    "chunk extensions": (
        b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n',
        b"hello",
    ),
    "trailers": (chunked(b"hello", trailers="x-checksum: 1\r\nx-other: 2\r\n"), b"hello"),
    "coding in capitals": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"hi",
    ),
    "close-delimited": (CLOSE_DELIMITED, b"hello world"),
    "close-delimited and empty": (b"HTTP/1.1 200 OK\r\n\r\n", b""),
    "http/1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi", b"hi"),
    "empty header": (b"HTTP/1.1 200 OK\r\nx-empty:\r\ncontent-length: 2\r\n\r\nhi", b"hi"),
    "100": (b"HTTP/1.1 100 Continue\r\n\r\n" + reply(b"hi"), b"hi"),
    "103 twice": (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 2 + chunked(b"hi"), b"hi"),
    "gzip": (reply(gzip.compress(b"hello" * 100), "content-encoding: gzip\r\n"), b"hello" * 100),
    "gzip, chunked": (
        chunked(PACKED[:9], PACKED[9:], headers="content-encoding: GZIP\r\n"),
        b"hello",
    ),
    "deflate": (reply(zlib.compress(b"hello"), "content-encoding: deflate\r\n"), b"hello"),
    "identity": (reply(b"hello", "content-encoding: identity\r\n"), b"hello"),
}
"""Each with the whole bytes of the reply, and its body."""


@pytest.mark.parametrize("drip", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("name", WHOLE)
async def test_a_whole_reply_is_read_to_its_end(transport: Transport, name: str, drip: bool) -> None:
    data, body = WHOLE[name]
    async with saying(data, drip=drip) as server:
        assert await receive(transport, server) == (200, body)


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("headers", ["", "content-length: 5\r\n"], ids=["bare", "with a length"])
async def test_a_status_without_a_body_ends_with_its_head(
    transport: Transport, status: int, headers: str
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(f"HTTP/1.1 {status} X\r\n{headers}\r\n".encode())
        await peer.until_left()

    async with RawServer(serve) as server:
        assert await receive(transport, server) == (status, b"")


@pytest.mark.parametrize("status", [200, 201, 301, 307, 400, 401, 404, 429, 500, 503, 529])
async def test_every_final_status_is_an_answer(transport: Transport, status: int) -> None:
    """Redirects too: following one would carry the credential elsewhere."""
    headers = "location: http://127.0.0.1:9/\r\nset-cookie: a=b\r\n"
    async with saying(reply(b"{}", headers, status)) as server:
        assert await receive(transport, server) == (status, b"{}")
        assert server.accepted == 1


async def test_headers_are_in_lower_case_and_without_outer_blanks(transport: Transport) -> None:
    async with saying(reply(b"", "X-Request-ID:  req_1 \r\nContent-Type: text/plain; a=b\r\n")) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        await response.close()
    assert response.headers["x-request-id"] == "req_1"
    assert response.headers["content-type"] == "text/plain; a=b"


async def test_interim_headers_do_not_leak_into_the_reply(transport: Transport) -> None:
    async with saying(b"HTTP/1.1 103 X\r\nx-request-id: interim\r\n\r\n" + reply(b"hi")) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        await response.close()
    assert "x-request-id" not in response.headers


CUTTABLE = {
    "length": WHOLE["length"],
    "chunked": WHOLE["chunked"],
    "trailers": WHOLE["trailers"],
    "interim": WHOLE["100"],
    "gzip": (reply(gzip.compress(b"hello world"), "content-encoding: gzip\r\n"), b"hello world"),
}


@pytest.mark.parametrize("ending", ["closed", "half-closed", "reset"])
@pytest.mark.parametrize("name", CUTTABLE)
async def test_a_reply_cut_at_any_byte_is_a_failure(transport: Transport, name: str, ending: str) -> None:
    """Before the head is whole nothing was answered; behind it, the reply is interrupted."""
    data, body = CUTTABLE[name]
    head = data.rindex(b"\r\n\r\n", 0, data.index(b"\r\n\r\n", data.index(b" 200 ")) + 4) + 4
    for length in range(len(data)):
        async with saying(data[:length], reset=ending == "reset", half=ending == "half-closed") as server:
            received = b""
            try:
                response = await transport.send(post(server.url), TIMEOUTS)
                try:
                    while piece := await response.read_piece(5.0):
                        received += piece
                finally:
                    await response.close()
            except Failure as failure:
                kind = failure.kind
            else:
                pytest.fail(f"cut after {length} bytes of {len(data)}, it passed for whole")
            assert body.startswith(received)
            expected = (
                FailureKind.UPSTREAM_UNAVAILABLE if length < head else FailureKind.UPSTREAM_STREAM_INTERRUPTED
            )
            # A reset may overtake what was sent before it.
            assert kind is expected or (ending == "reset" and kind is FailureKind.UPSTREAM_UNAVAILABLE)


@pytest.mark.parametrize("ending", ["closed", "half-closed"])
async def test_a_close_delimited_body_ends_where_the_connection_ends(
    transport: Transport, ending: str
) -> None:
    """HTTP cannot tell a cut from the end here; what speaks inside (SSE) has to."""
    for length in range(CLOSE_DELIMITED.index(b"\r\n\r\n") + 4, len(CLOSE_DELIMITED) + 1):
        async with saying(CLOSE_DELIMITED[:length], half=ending == "half-closed") as server:
            assert await receive(transport, server) == (
                200,
                CLOSE_DELIMITED[:length].partition(b"\r\n\r\n")[2],
            )


@POOL_ONLY
async def test_a_reset_is_no_end_of_a_close_delimited_body(transport: Transport) -> None:
    """aiohttp takes it for the end."""
    is_read = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(CLOSE_DELIMITED)
        await is_read.wait()
        await peer.close(reset=True)

    async with RawServer(serve) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        assert await response.read_piece(5.0) == b"hello world"
        is_read.set()
        with pytest.raises(Failure) as caught:
            await response.read_piece(5.0)
        await response.close()
    assert caught.value.kind is FailureKind.UPSTREAM_STREAM_INTERRUPTED


INVALID = {
    "not http": b"\x16\x03\x01\x02\x00\x01" * 20,
    "html": b"<html><body>hello</body></html>\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n",
    "status of letters": b"HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n",
    "length and chunked": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nhi",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi",
    "negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nhi",
    "blank in a name": b"HTTP/1.1 200 OK\r\na b: c\r\ncontent-length: 2\r\n\r\nhi",
    "long header": b"HTTP/1.1 200 OK\r\na: " + b"x" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"content-length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", INVALID)
async def test_what_is_not_http_is_an_invalid_response(transport: Transport, name: str) -> None:
    async with saying(INVALID[name]) as server:
        with pytest.raises(Failure) as caught:
            await transport.send(post(server.url), TIMEOUTS)
    assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE
    assert caught.value.message == "The upstream's answer is not valid HTTP."


@POOL_ONLY
@pytest.mark.parametrize(
    "head",
    [
        pytest.param("200 OK\r\na: b\r\n c\r\ncontent-length: 2", id="folded line"),
        pytest.param("200 OK\r\ntransfer-encoding: gzip, chunked", id="packed transfer"),
        pytest.param("200 OK\r\ntransfer-encoding: gzip", id="packed transfer to the end"),
        pytest.param("101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade", id="upgrade"),
        pytest.param("101 Switching Protocols", id="101"),
        pytest.param("042 What", id="042"),
    ],
)
async def test_what_nobody_asked_for_is_an_invalid_response(transport: Transport, head: str) -> None:
    """aiohttp lets all of these pass; unfolding is even permitted to clients by RFC 9112."""
    async with saying(f"HTTP/1.1 {head}\r\n\r\nhi".encode()) as server:
        with pytest.raises(Failure) as caught:
            await transport.send(post(server.url), TIMEOUTS)
    assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
GZIP_HEAD = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"


async def break_in_the_body(transport: Transport, head: bytes, body: bytes) -> Failure:
    is_begun = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(head)
        await is_begun.wait()
        await peer.send(body)
        await peer.until_left()

    async with RawServer(serve) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        is_begun.set()
        with pytest.raises(Failure) as caught:
            await read_pieces(response)
        await response.close()
    return caught.value


async def test_a_body_that_cannot_be_unpacked_is_an_interrupted_reply(transport: Transport) -> None:
    failure = await break_in_the_body(transport, GZIP_HEAD, chunk(b"hi" * 100) + b"0\r\n\r\n")
    assert failure.kind is FailureKind.UPSTREAM_STREAM_INTERRUPTED


@POOL_ONLY
@pytest.mark.parametrize("body", [b"2\r\nhi\r\nzz\r\n", b"2\r\nhi!!0\r\n\r\n"], ids=["size", "break"])
async def test_chunks_that_make_no_sense_are_an_interrupted_reply(transport: Transport, body: bytes) -> None:
    """aiohttp's reader is not told, and waits until its time is up."""
    failure = await break_in_the_body(transport, CHUNKED_HEAD, body)
    assert failure.kind is FailureKind.UPSTREAM_STREAM_INTERRUPTED


@POOL_ONLY
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(chunk(PACKED[:-9]) + b"0\r\n\r\n", id="gzip without its end"),
        pytest.param(chunk(b"hi") + b"0\r\nx: " + b"y" * 400_000, id="endless trailer"),
        pytest.param(b"2;" + b"y" * 400_000, id="endless chunk extension"),
    ],
)
async def test_a_body_may_not_go_on_and_on(transport: Transport, body: bytes) -> None:
    """aiohttp takes a gzip body that lacks its end for whole, and puts no limit on trailers."""
    failure = await break_in_the_body(transport, GZIP_HEAD if PACKED[:9] in body else CHUNKED_HEAD, body)
    assert failure.kind is FailureKind.UPSTREAM_STREAM_INTERRUPTED


@POOL_ONLY
async def test_damage_does_not_take_back_what_arrived_before_it(transport: Transport) -> None:
    """aiohttp forgets what is still unread when the connection breaks off."""
    async with saying(CHUNKED_HEAD + chunk(b"hello") + b"5\r\nwor", reset=False) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        await server.wait_for_connections(0)
        assert (await response.read_piece(5.0)).startswith(b"hello")
        with pytest.raises(Failure):
            await read_pieces(response)
        await response.close()


@POOL_ONLY
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("x-gzip", PACKED),
        ("gzip", PACKED + PACKED),
        ("deflate", zlib.compress(b"hello", wbits=-15)),
        ("gzip", gzip.compress(b"hello" * 200_000)),
        ("gzip", gzip.compress(b"x" * (256 * 1024))),
    ],
    ids=["x-gzip", "two members", "bare deflate", "a megabyte", "one full piece"],
)
async def test_rarer_packings(transport: Transport, encoding: str, body: bytes) -> None:
    """aiohttp hands `x-gzip` through as it is."""
    async with saying(reply(body, f"content-encoding: {encoding}\r\n")) as server:
        _, received = await receive(transport, server)
    whole = zlib.decompress(body, wbits=-15) if encoding == "deflate" else gzip.decompress(body)
    assert received == whole


@POOL_ONLY
@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "nonsense"])
async def test_a_packing_that_nobody_asked_for_is_refused(transport: Transport, encoding: str) -> None:
    """aiohttp hands some of them through as they are."""
    async with saying(reply(b"hello", f"content-encoding: {encoding}\r\n")) as server:
        with pytest.raises(Failure, match="compressed its answer") as caught:
            await transport.send(post(server.url), TIMEOUTS)
    assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


@pytest.mark.parametrize("body", [reply(b"x" * 1001), chunked(*[b"x" * 100] * 11)], ids=["length", "chunked"])
async def test_a_reply_longer_than_its_limit_is_refused(transport: Transport, body: bytes) -> None:
    async with saying(body) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        with pytest.raises(Failure, match=r"larger than 1000 bytes.*MAX_REPLY_BYTES") as caught:
            await response.read(1000)
        await response.close()
    assert caught.value.kind is FailureKind.UPSTREAM_INVALID_RESPONSE


async def test_a_reply_as_long_as_its_limit_is_read(transport: Transport) -> None:
    async with saying(chunked(*[b"x" * 100] * 10)) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        assert await response.read(1000) == b"x" * 1000
        await response.close()


async def test_a_small_body_that_unpacks_to_gigabytes_stops_at_the_limit(
    transport: Transport, kind: str
) -> None:
    bomb = zlib.compressobj(9, wbits=31)
    packed = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(64)) + bomb.flush()
    async with saying(reply(packed, "content-encoding: gzip\r\n")) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        tracemalloc.start()
        try:
            with pytest.raises(Failure):
                await response.read(1 << 20)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await response.close()
    if kind == "pool":  # aiohttp unpacks ahead of its reader
        assert peak < 4 << 20


async def test_packed_events_come_one_by_one(transport: Transport) -> None:
    """Each event is flushed by the server, and none waits in the client for the next."""
    packer = zlib.compressobj(wbits=31)
    proceed = asyncio.Event()
    events = [b"data: %d\n\n" % number for number in range(5)]

    async def serve(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n")
        for event in events:
            await peer.send(chunk(packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)))
            await proceed.wait()
            proceed.clear()
        await peer.send(chunk(packer.flush()) + b"0\r\n\r\n")
        await peer.until_left()

    async with RawServer(serve) as server:
        response = await transport.send(post(server.url), TIMEOUTS)
        for event in events:
            assert await response.read_piece(5.0) == event
            proceed.set()
        assert await response.read_piece(5.0) == b""
        await response.close()


async def test_several_replies_follow_each_other_on_a_connection(transport: Transport) -> None:
    async with RawServer(keep_answering) as server:
        for _ in range(20):
            assert await receive(transport, server) == (200, b"ok")
        assert server.accepted == 1
