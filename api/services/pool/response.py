"""One response: httptools parses into it, its reader waits on it.

Owns what is known of the response, its buffer and the one future that its reader waits
for, or the function that its pieces are poured into. It touches no socket: the
connection feeds it and is told when to pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Final, Protocol

import httptools

from api.services.wire import Take
from api.services.wire_failures import Trouble, too_long

_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_HEADERS: Final = 128
_MAX_BUFFERED_BYTES: Final = 256 * 1024
_WORTH_WAKING_BYTES: Final = 64 * 1024
_USUAL_NAME_BYTES: Final = 64


class Source(Protocol):
    """What a response needs of its connection."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def finish(self, *, is_reusable: bool) -> None:
        """The response has all its bytes."""
        ...

    def abort(self) -> None: ...


class Response:
    """A WireResponse. `status` is 0 until its head has arrived; interim (1xx) heads are skipped."""

    __slots__ = (
        "_arrived",
        "_buffered",
        "_headers_seen",
        "_is_close_delimited",
        "_is_complete",
        "_is_interim",
        "_is_paused",
        "_loop",
        "_parser",
        "_pieces",
        "_source",
        "_take_error",
        "_taker",
        "_timer",
        "_unproductive",
        "_waiter",
        "_wants_whole",
        "headers",
        "is_silent",
        "on_body",
        "status",
        "trouble",
    )

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.trouble: Trouble | None = None
        self.is_silent = True
        """Not one byte has arrived."""
        self._source = source
        self._loop = loop
        self._waiter: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._headers_seen = 0
        self._unproductive = 0
        self._taker: Take | None = None
        self._take_error: BaseException | None = None
        self._arrived = 0.0
        self._is_interim = False
        self._is_close_delimited = False
        self._is_complete = False
        self._is_paused = False
        self._wants_whole = False
        self.on_body: Final = self._pieces.append
        """The parser calls it for each piece of a body, of streams for each chunk: the list's own method
        is the cheapest there is. What it means that there are pieces, `feed` sees."""
        self._parser = httptools.HttpResponseParser(self)

    # The connection's side.

    def feed(self, data: bytes) -> None:
        self.is_silent = False
        pieces = self._pieces
        held = len(pieces)
        # Heads, trailers and chunk extensions are held by the parser, which has no limit.
        self._unproductive += len(data)
        try:
            self._parser.feed_data(data)
            if len(pieces) > held:
                self._unproductive = 0
            elif self._unproductive > _MAX_HEAD_BYTES and not self._is_complete:
                raise httptools.HttpParserError
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # Bytes behind the end come here too: the response stays whole, the connection goes.
            self.trouble = Trouble.BROKEN_OFF if self.status else Trouble.NOT_HTTP
            self._source.abort()
            self._wake()
        if pieces:
            if self._taker is not None:
                self._pour(self._taker)
            else:
                self._hold(len(data))

    def _hold(self, size: int) -> None:
        """Pieces of `size` bytes, framing included, came, and nobody takes them yet."""
        self._buffered += size
        if self._buffered > _MAX_BUFFERED_BYTES and not self._is_paused and not self._is_ended:
            self._is_paused = True
            self._source.pause_reading()
        # Who wants all of it has nothing to do with less.
        if not self._wants_whole or self._buffered >= _WORTH_WAKING_BYTES:
            self._wake()

    @property
    def _is_ended(self) -> bool:
        return self._is_complete or self.trouble is not None

    def end(self) -> None:
        """The upstream has closed its side in good order."""
        if self._is_close_delimited and self.trouble is None:
            self._complete(is_reusable=False)
        else:
            self.cut()

    def cut(self) -> None:
        """No more bytes will come."""
        if not self._is_complete and self.trouble is None:
            self.trouble = Trouble.BROKEN_OFF if self.status else Trouble.NO_ANSWER
            self._wake()

    def _complete(self, *, is_reusable: bool) -> None:
        self._is_complete = True
        if self._is_paused:
            self._is_paused = False
            self._source.resume_reading()
        self._source.finish(is_reusable=is_reusable)
        self._wake()

    # The parser's side. An exception in here makes the parser fail.

    def on_message_begin(self) -> None:
        if self._is_complete:
            raise ValueError("bytes behind the end of the response")
        self._is_interim = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers_seen += 1
        if self._headers_seen > _MAX_HEADERS:
            raise ValueError("too many headers")
        if not self.status:  # else it is a trailer, which nobody reads
            known = _usual_name(name) if len(name) <= _USUAL_NAME_BYTES else _read_name(name)
            self.headers[known] = value.decode("latin-1").rstrip(" \t")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._unproductive > _MAX_HEAD_BYTES and self._head_size() > _MAX_HEAD_BYTES:
            raise ValueError("the head is too long")
        if 100 <= status < 200:
            self._is_interim = True
            self.headers = {}
            return
        if status < 100:
            raise ValueError("no such status")
        codings = self.headers.get("transfer-encoding", "").lower()
        if codings not in ("", "chunked", "identity"):
            raise ValueError("a transfer coding that was not asked for")
        self.status = status
        self._headers_seen = 0
        self._is_close_delimited = codings != "chunked" and "content-length" not in self.headers
        self._wake()

    def on_message_complete(self) -> None:
        if not self._is_interim:
            self._complete(is_reusable=self._parser.should_keep_alive())

    def _head_size(self) -> int:
        return sum(len(name) + len(value) + 4 for name, value in self.headers.items())

    # The reader's side.

    def wait(self, seconds: float | None) -> asyncio.Future[bool]:
        """To be awaited at once: until anything changes; False where `seconds` passed first."""
        if self._timer is not None:  # of a wait that was called off
            self._timer.cancel()
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiter = waiter
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._wake, False)
        return waiter

    def _wake(self, is_news: bool = True) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._stop_waiting()
            if not waiter.done():
                waiter.set_result(is_news)

    def _stop_waiting(self) -> None:
        self._waiter = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take_whole(self, limit: int) -> bytes | None:
        return self._take() if self._is_complete and self._buffered <= limit else None

    async def read(self, limit: int, seconds: float | None = None) -> bytes:
        self._wants_whole = True
        return await read_all(self.read_piece, limit, seconds)

    async def read_piece(self, seconds: float | None) -> bytes:
        is_in_time = True
        while True:
            if self._pieces:
                return self._take()
            if self._is_complete:
                return b""
            if self.trouble is not None:
                raise self.trouble.failure()
            if not is_in_time:
                raise TimeoutError
            is_in_time = await self.wait(seconds)

    async def pour(self, take: Take, seconds: float | None) -> bool:
        while True:
            while self._pieces:
                if not take(self._take()):
                    return False
            if self._is_complete:
                return True
            if self.trouble is not None:
                raise self.trouble.failure()
            self._taker = take
            try:
                if not await self._wait_for_silence(seconds):
                    raise TimeoutError
            finally:
                is_stopped, self._taker = self._taker is None, None
            if self._take_error is not None:
                error, self._take_error = self._take_error, None
                raise error
            if is_stopped:
                return False

    async def _wait_for_silence(self, seconds: float | None) -> bool:
        """Like `wait`, with the time counted anew from each piece that was poured."""
        self._arrived = self._loop.time()
        left = seconds
        while not await self.wait(left):
            left = self._arrived + seconds - self._loop.time() if seconds is not None else None
            if left is not None and left <= 0:
                return False
        return True

    def _pour(self, take: Take) -> None:
        """Hand on what has come, here and now: waking a task for each piece costs more than the piece."""
        self._arrived = self._loop.time()
        pieces = self._pieces
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        try:
            if take(piece):
                return
        except BaseException as error:  # It concerns the task that waits, not the event loop.
            self._take_error = error
        self._taker = None
        self._wake()

    def _take(self) -> bytes:
        pieces = self._pieces
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._buffered = 0
        if self._is_paused:
            self._is_paused = False
            self._source.resume_reading()
        return piece

    async def close(self) -> None:
        self.drop()

    def drop(self) -> None:
        """`close` for those who cannot await."""
        self._stop_waiting()
        self._pieces.clear()
        if not self._is_complete:
            self.trouble = self.trouble or Trouble.BROKEN_OFF
            self._source.abort()


def _read_name(name: bytes) -> str:
    return name.decode("latin-1").lower()


_usual_name = lru_cache(maxsize=512)(_read_name)
"""Upstreams send the same names again and again. Only for short ones: what is kept is bounded."""


async def read_all(
    read_piece: Callable[[float | None], Awaitable[bytes]], limit: int, seconds: float | None = None
) -> bytes:
    """All pieces as one.

    Raises:
        Failure: the body breaks off, or is longer than `limit` bytes.
        TimeoutError: it does not end within `seconds`.
    """
    loop = asyncio.get_running_loop()
    until = None if seconds is None else loop.time() + seconds
    pieces: list[bytes] = []
    size = 0
    while piece := await read_piece(seconds):
        size += len(piece)
        if size > limit:
            raise too_long(limit)
        pieces.append(piece)
        if until is not None:
            seconds = until - loop.time()
            if seconds <= 0:
                raise TimeoutError
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
