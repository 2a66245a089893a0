"""Frames of a stream, written straight to uvicorn's connection.

ASGI's `send` is a coroutine with a message for each frame: half of what a chunk costs.
It has opened the response and closes it; in between, frames go out here, in the same
chunked framing. Where the server is another one, or answers otherwise, there is no
direct way, and everything goes through `send`.

It reads attributes of uvicorn's that are not documented: `tests/api/test_streaming.py`
watches them over real sockets.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class DirectClient:
    __slots__ = ("_cycle", "_flow", "_write")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._flow = cycle.flow
        self._write = cycle.transport.write

    def write(self, frame: bytes) -> bool:
        # A client that has gone gets nothing, and is waited for by nobody.
        if not self._cycle.disconnected:
            self._write(b"%x\r\n%b\r\n" % (len(frame), frame))
        return not self._flow.write_paused

    async def drain(self) -> None:
        if self._flow.write_paused and not self._cycle.disconnected:
            await self._flow.drain()


def direct_client(send: Any) -> DirectClient | None:
    """The way around ASGI's `send`, whose response has begun; None where there is none."""
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle):
        return None
    is_chunked = cycle.response_started and cycle.chunked_encoding and cycle.scope["method"] != "HEAD"
    return DirectClient(cycle) if is_chunked and not cycle.response_complete else None
