"""A listening socket on 127.0.0.1 whose every byte a test decides.

It knows just enough HTTP to read one request. What it sends, when, and how it hangs up
is a coroutine of the test's own, called once for each connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Received:
    line: str
    headers: dict[str, str]
    body: bytes
    head: bytes


class Peer:
    """The server's end of one connection. `number` counts connections from 1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number

    async def read_head(self) -> Received:
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        pairs = [field.split(": ", 1) for field in fields]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), f"a header was sent twice: {fields}"
        return Received(line, headers, b"", head)

    async def read_request(self) -> Received:
        received = await self.read_head()
        body = await self.reader.readexactly(int(received.headers.get("content-length", "0")))
        return Received(received.line, received.headers, body, received.head)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"ok", headers: str = "", status: int = 200) -> Received:
        """Read a request, and answer it with a body of known length."""
        received = await self.read_request()
        await self.send(reply(body, headers, status))
        return received

    def half_close(self) -> None:
        self.writer.write_eof()

    async def close(self, *, reset: bool = False) -> None:
        """Hang up: with FIN after all that was written, or with RST."""
        if reset:
            raw = self.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()
            with contextlib.suppress(ConnectionError):
                await self.writer.wait_closed()

    async def until_left(self) -> bytes:
        """Until the client has closed its side; what it still said before that."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""


Serve = Callable[[Peer], Awaitable[None]]


class RawServer:
    """`async with RawServer(serve) as server:`; leaving the block raises what `serve` raised."""

    def __init__(
        self, serve: Serve, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", buffer: int = 0
    ) -> None:
        self.accepted = 0
        self._serve = serve
        self._tls = tls
        self._host = host
        self._buffer = buffer
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[BaseException] = []
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.authority}"

    @property
    def authority(self) -> str:
        return f"[{self._host}]:{self.port}" if ":" in self._host else f"{self._host}:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._tasks)

    async def wait_for_connections(self, count: int) -> None:
        """Until `count` connections are being served."""
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: len(self._tasks) == count)

    async def __aenter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # With the protocol named, asyncio switches Nagle's algorithm off.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._buffer)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer)
        listener.bind((self._host, 0))
        self.port: int = listener.getsockname()[1]
        self._server = await asyncio.start_server(
            self._accept, sock=listener, ssl=self._tls, backlog=512, limit=1 << 16
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._errors and error is None:
            raise AssertionError("the test's server failed") from self._errors[0]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        peer = Peer(reader, writer, self.accepted)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        await self._tell()
        try:
            await self._serve(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has left, or the test is over
        except BaseException as error:
            self._errors.append(error)
        finally:
            writer.transport.abort() if writer.transport.is_closing() else writer.close()
            self._tasks.discard(task)
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def reply(body: bytes = b"ok", headers: str = "", status: int = 200) -> bytes:
    """A whole response. `headers` are lines, each with its line break."""
    return f"HTTP/1.1 {status} X\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body


def chunked(*pieces: bytes, headers: str = "", trailers: str = "") -> bytes:
    head = f"HTTP/1.1 200 OK\r\n{headers}transfer-encoding: chunked\r\n\r\n".encode()
    return head + b"".join(chunk(piece) for piece in pieces) + b"0\r\n" + trailers.encode() + b"\r\n"


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


async def keep_answering(peer: Peer) -> None:
    """Answer every request on the connection with `ok`."""
    while True:
        await peer.answer()
