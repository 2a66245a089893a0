"""One socket to an upstream, which serves one exchange at a time.

Owns writing a request (with back-pressure), handing what arrives to the response, and
letting go of the socket. Which connection serves which request is the pool's affair.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, cast

from api.services.pool.response import Response
from api.services.pool.targets import Origin
from api.services.wire_failures import Trouble

_SLICE: Final = 256 * 1024
_JOINED_BYTES: Final = 64 * 1024
_NOTHING: Final = memoryview(b"")


class Owner(Protocol):
    """What a connection needs of its pool."""

    def connection_idle(self, connection: Connection) -> None: ...

    def connection_closed(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    def __init__(self, owner: Owner, origin: Origin) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._is_open = False
        self._response: Response | None = None
        self._unsent = _NOTHING
        self._is_full = False

    @property
    def is_usable(self) -> bool:
        return self._is_open and not self._transport.is_closing()

    async def exchange(
        self, head: bytes, body: bytes, seconds: float, until: float | None = None
    ) -> Response:
        """Send a request, and wait until its response has a status, or trouble.

        Raises:
            Failure: neither came for `seconds`, counted anew while a long body is still going out.
            TimeoutError: neither came before the loop's clock reached `until`.
        """
        response = self._response = Response(self, self._loop)
        try:
            self._write(head, body)
            is_in_time = True
            left = seconds
            while not response.status and response.trouble is None:
                if not is_in_time:
                    if left < seconds:
                        raise TimeoutError
                    raise Trouble.HEADERS_TIMEOUT.failure()
                if until is not None:
                    left = min(seconds, until - self._loop.time())
                unsent = len(self._unsent)
                is_in_time = await response.wait(left) or (left > 0 and len(self._unsent) != unsent)
        except BaseException:
            response.drop()
            raise
        return response

    def finish(self, *, is_reusable: bool) -> None:
        # Answered before the request was all sent: what the upstream makes of the rest is unknown.
        if not is_reusable or self._unsent:
            self.abort()
            return
        self._response = None
        self._owner.connection_idle(self)

    def abort(self) -> None:
        """Close at once. A polite end of TLS would wait for an upstream that may go on talking."""
        if self._is_open:
            self._is_open = False
            self._unsent = _NOTHING
            self._transport.abort()

    def close(self) -> None:
        """Close an idle connection politely."""
        self._is_open = False
        self._transport.close()

    # Sending.

    def _write(self, head: bytes, body: bytes) -> None:
        if len(body) <= _JOINED_BYTES:
            self._transport.write(head + body)
            return
        self._transport.write(head)
        self._unsent = memoryview(body)
        self._write_more()

    def _write_more(self) -> None:
        # An upstream that has refused already need not hear the rest.
        while self._unsent and not self._is_full and not self._is_refused:
            piece, self._unsent = self._unsent[:_SLICE], self._unsent[_SLICE:]
            self._transport.write(piece)

    @property
    def _is_refused(self) -> bool:
        return self._response is not None and self._response.status >= 300

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._write_more()

    # Receiving.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._is_open = True

    def data_received(self, data: bytes) -> None:
        if self._response is None:  # an upstream that talks unasked
            self.abort()
        else:
            self._response.feed(data)

    def eof_received(self) -> None:
        if self._response is not None:
            self._response.end()
        self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        is_their_doing, self._is_open = self._is_open, False
        if self._response is not None:
            # An end without TLS's goodbye is an EOF to asyncio, and comes straight here in uvloop.
            if is_their_doing and error is None:
                self._response.end()
            else:
                self._response.cut()
            self._response = None
        self._owner.connection_closed(self)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()
