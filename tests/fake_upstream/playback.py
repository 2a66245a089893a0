"""Writes one reply to one connection, with the faults that were attached to it.

Owns framing and the order of things on the wire; refuses to know what the bytes mean.
Every wait in here ends by cancellation when the peer goes away.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol, TypeVar

from tests.fake_upstream.behaviours import Rendered
from tests.fake_upstream.faults import (
    Chunked,
    CloseDelimited,
    CloseIdle,
    Cut,
    Fault,
    Gzip,
    Hold,
    Interim,
    Paced,
    SlowDrip,
    Stall,
    Trailers,
    WithHeaders,
)
from tests.fake_upstream.gates import Pace

_FaultT = TypeVar("_FaultT")


class Sink(Protocol):
    async def write(self, data: bytes) -> None:
        """Hand bytes to the socket; returns when the peer's window has room."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What becomes of the connection after a reply."""

    keep_open: bool
    reset: bool = False
    close_on_next_request: bool = False


class _CutShort(Exception):
    def __init__(self, *, reset: bool, clean: bool = False) -> None:
        self.reset, self.clean = reset, clean


class Playback:
    def __init__(
        self, sink: Sink, rendered: Rendered, faults: Sequence[Fault], pace: Pace, *, keep_alive: bool
    ) -> None:
        self._sink = sink
        self._rendered = rendered
        self._faults = faults
        self._keep_alive = keep_alive and rendered.keep_open
        self._body_offset = 0
        self._wire_offset = 0
        self._in_body = rendered.framing == "raw"
        self._drip = self._one(SlowDrip)
        self._cut = self._one(Cut)
        paced = self._one(Paced)
        self._pace = (paced.pace or pace) if paced else None
        gzip = self._one(Gzip)
        self._gzip = zlib.compressobj(wbits=31) if gzip else None
        trailers, chunks = self._one(Trailers), self._one(Chunked)
        self._trailers: Mapping[str, str] = trailers.fields if trailers else {}
        self._chunk_size = chunks.size if chunks else 0
        self._framing = rendered.framing
        if self._framing != "raw":
            if self._one(CloseDelimited):
                self._framing = "close"
            elif trailers or chunks or (gzip and self._framing == "length" and len(rendered.pieces) > 1):
                self._framing = "chunked"
        if self._framing == "close":
            self._keep_alive = False

    async def run(self) -> Ending:
        try:
            await self._play()
        except _CutShort as cut:
            if not cut.clean:
                return Ending(keep_open=False, reset=cut.reset)
            await self._finish()
        idle = self._one(CloseIdle)
        if idle is None:
            return Ending(self._keep_alive)
        if idle.when == "after_reply":
            return Ending(keep_open=False, reset=idle.reset)
        return Ending(self._keep_alive, idle.reset, close_on_next_request=True)

    async def _play(self) -> None:
        await self._wait_before("headers")
        for interim in self._all(Interim):
            await self._emit(_head(interim.status, tuple(interim.headers.items())) * interim.times)
        pieces = self._encoded_pieces()
        if self._framing != "raw":
            await self._emit(self._final_head(pieces))
            self._in_body = True
        await self._wait_before(0)
        for index, piece in enumerate(pieces):
            if index and self._rendered.delay:
                await asyncio.sleep(self._rendered.delay)
            if self._pace:
                await self._pace.permit()
            at = time.monotonic()
            for part in _slices(piece, self._chunk_size):
                await self._send_body(part)
            if self._pace:
                self._pace.note_sent(at)
        if self._cut:
            raise _CutShort(reset=self._cut.reset, clean=self._cut.clean)
        await self._finish()

    def _final_head(self, pieces: Sequence[bytes]) -> bytes:
        headers = list(self._rendered.headers)
        for extra in self._all(WithHeaders):
            replaced = {name.lower() for name in extra.headers}
            headers = [pair for pair in headers if pair[0].lower() not in replaced]
            headers += extra.headers.items()
        if self._gzip:
            headers.append(("content-encoding", "gzip"))
        if self._framing == "length":
            headers.append(("content-length", str(sum(map(len, pieces)))))
        elif self._framing == "chunked":
            headers.append(("transfer-encoding", "chunked"))
        if self._trailers:
            headers.append(("trailer", ", ".join(self._trailers)))
        if not self._keep_alive:
            headers.append(("connection", "close"))
        return _head(self._rendered.status, headers)

    def _encoded_pieces(self) -> Sequence[bytes]:
        if not self._gzip:
            return self._rendered.pieces
        packed = [
            self._gzip.compress(piece) + self._gzip.flush(zlib.Z_SYNC_FLUSH)
            for piece in self._rendered.pieces
        ]
        return [*packed, self._gzip.flush()]

    async def _send_body(self, piece: bytes) -> None:
        """Frame one piece and write it, stopping at every stall, hold and cut inside it."""
        if not piece:
            return
        start = self._body_offset
        cut = self._cut if self._cut and self._cut.within == "body" else None
        if cut and cut.clean and cut.after_bytes < start + len(piece):
            piece = piece[: max(0, cut.after_bytes - start)]
        pending = b"%x\r\n" % len(piece) if self._framing == "chunked" and piece else b""
        stops = {mark for mark in self._marks() if start < mark < start + len(piece)}
        if cut and not cut.clean and start <= cut.after_bytes < start + len(piece):
            stops.add(cut.after_bytes)
        done = 0
        for stop in sorted(stops):
            await self._emit(pending + piece[done : stop - start])
            pending, done = b"", stop - start
            self._body_offset = stop
            await self._wait_before(stop)
            if cut and not cut.clean and stop == cut.after_bytes:
                raise _CutShort(reset=cut.reset)
        if piece:
            await self._emit(pending + piece[done:] + (b"\r\n" if self._framing == "chunked" else b""))
        self._body_offset = start + len(piece)
        if cut and cut.clean and self._body_offset >= cut.after_bytes:
            raise _CutShort(reset=False, clean=True)
        if self._body_offset not in stops:
            await self._wait_before(self._body_offset)

    async def _finish(self) -> None:
        if self._framing == "chunked":
            fields = "".join(f"{name}: {value}\r\n" for name, value in self._trailers.items())
            await self._emit(b"0\r\n" + fields.encode("latin-1") + b"\r\n")

    async def _emit(self, data: bytes) -> None:
        cut = self._cut if self._cut and self._cut.within == "response" else None
        if cut and self._wire_offset + len(data) > cut.after_bytes:
            await self._write(data[: cut.after_bytes - self._wire_offset])
            raise _CutShort(reset=cut.reset)
        await self._write(data)

    async def _write(self, data: bytes) -> None:
        self._wire_offset += len(data)
        if self._drip and (self._in_body or self._drip.head):
            for part in _slices(data, self._drip.bytes_per_write):
                await self._sink.write(part)
                await asyncio.sleep(self._drip.delay)
        elif data:
            await self._sink.write(data)

    async def _wait_before(self, place: str | int) -> None:
        for fault in self._faults:
            if isinstance(fault, Stall | Hold) and _place(fault.before) == place:
                if isinstance(fault, Stall):
                    await asyncio.sleep(fault.seconds)
                else:
                    await fault.gate.passed()

    def _marks(self) -> set[int]:
        places = {_place(fault.before) for fault in self._faults if isinstance(fault, Stall | Hold)}
        return {place for place in places if isinstance(place, int)}

    def _one(self, kind: type[_FaultT]) -> _FaultT | None:
        found = self._all(kind)
        return found[-1] if found else None

    def _all(self, kind: type[_FaultT]) -> list[_FaultT]:
        return [fault for fault in self._faults if isinstance(fault, kind)]


def _place(before: str | int) -> str | int:
    return 0 if before == "body" else before


def _slices(data: bytes, size: int) -> list[bytes]:
    if size <= 0 or len(data) <= size:
        return [data]
    return [data[start : start + size] for start in range(0, len(data), size)]


def _head(status: int, headers: Sequence[tuple[str, str]]) -> bytes:
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:  # 529 and other numbers of the upstreams' own
        reason = "Unknown"
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
