"""One accepted connection: requests in, replies out, in order; and how it ends.

An asyncio protocol rather than a web framework's, because it must be able to stop,
close or reset at any byte, and must notice at once that its peer has gone.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import httptools

from tests.fake_upstream.playback import Ending, Sink
from tests.fake_upstream.recorded import Disconnect, RecordedRequest


class Owner(Protocol):
    """What a connection needs from its server; all of it is called in the server's loop."""

    def connection_opened(self, connection: Connection) -> int:
        """Returns the connection's number."""

    def connection_closed(self, connection: Connection) -> None: ...

    def request_arrived(
        self, method: str, target: str, headers: tuple[tuple[str, str], ...], body: bytes, connection_id: int
    ) -> RecordedRequest: ...

    def peer_left(self, disconnect: Disconnect) -> None: ...

    def broke(self, error: BaseException) -> None: ...

    def idle_race_lost(self) -> None: ...


Replier = Callable[[RecordedRequest, Sink, bool], Awaitable[Ending]]


class Connection(asyncio.Protocol):
    def __init__(self, owner: Owner, replier: Replier) -> None:
        self._owner = owner
        self._replier = replier
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._requests: asyncio.Queue[tuple[RecordedRequest, bool]] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._worker: asyncio.Task[None] | None = None
        self._current: RecordedRequest | None = None
        self._written = 0
        self._ending: Ending | None = None
        self._is_closing = False
        self.id = 0

    @property
    def is_replying(self) -> bool:
        return self._current is not None

    # --- asyncio's side -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.id = self._owner.connection_opened(self)
        self._worker = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        if self._ending and self._ending.close_on_next_request:
            self._owner.idle_race_lost()
            self.close(reset=self._ending.reset)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            if self._transport:
                self._transport.write(
                    b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                )
            self.close()

    def eof_received(self) -> bool:
        self._peer_is_gone()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._peer_is_gone()
        if self._worker:
            self._worker.cancel()
        self._owner.connection_closed(self)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    # --- the parser's side ----------------------------------------------------------

    def on_message_begin(self) -> None:
        self._target, self._headers, self._body = b"", [], []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        expects = any(name.lower() == "expect" and value == "100-continue" for name, value in self._headers)
        if expects and self._transport:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        request = self._owner.request_arrived(
            self._parser.get_method().decode("ascii"),
            self._target.decode("latin-1"),
            tuple(self._headers),
            b"".join(self._body),
            self.id,
        )
        self._current = self._current or request
        self._requests.put_nowait((request, self._parser.should_keep_alive()))

    # --- replying -------------------------------------------------------------------

    async def write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the peer has gone")
        self._written += len(data)
        transport.write(data)
        await self._room.wait()
        # A written piece is on its way before the next one is made.
        await asyncio.sleep(0)

    async def _serve(self) -> None:
        while True:
            request, keep_alive = await self._requests.get()
            self._current, self._written, self._ending = request, 0, None
            try:
                ending = await self._replier(request, self, keep_alive)
            except ConnectionError:
                return
            except Exception as error:
                self._owner.broke(error)
                ending = Ending(keep_open=False)
            self._current = None
            if not ending.keep_open:
                await self._drained()
                self.close(reset=ending.reset)
                return
            self._ending = ending

    async def _drained(self) -> None:
        """Until the kernel has all bytes: a reset must not swallow what was sent before it."""
        while (
            self._transport and not self._transport.is_closing() and self._transport.get_write_buffer_size()
        ):
            await asyncio.sleep(0.001)

    def close(self, *, reset: bool = False) -> None:
        self._is_closing = True
        transport = self._transport
        if transport is None:
            return
        if reset:
            raw = transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()

    def _peer_is_gone(self) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        if self._current is not None:
            self._owner.peer_left(Disconnect(self._current, time.monotonic(), self._written))
        if self._worker:
            self._worker.cancel()
