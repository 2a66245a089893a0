"""A stream's way to its client: frames written straight to the connection, in chunked framing.

ASGI's `send` is a coroutine with a message for each frame: half of what a chunk costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy_site.direct_cycle import DirectCycle


class DirectClient:
    """The client of a cycle whose answer goes out in chunks. `head` goes out with the first of them.

    Each write is a system call at once, and a packet: what can leave together does.
    """

    __slots__ = ("_cycle", "_flow", "_head", "_write")

    def __init__(self, cycle: DirectCycle, head: bytes) -> None:
        self._cycle = cycle
        self._head = head
        self._flow = cycle.flow
        self._write = cycle.transport.write

    def write(self, frame: bytes) -> bool:
        # A client that has gone gets nothing, and is waited for by nobody. An empty chunk would be the end.
        if frame and not self._cycle.disconnected:
            if self._head:
                self._write(b"%b%x\r\n%b\r\n" % (self._take_head(), len(frame), frame))
            else:
                self._write(b"%x\r\n%b\r\n" % (len(frame), frame))
        return not self._flow.write_paused

    async def drain(self) -> None:
        if self._flow.write_paused and not self._cycle.disconnected:
            await self._flow.drain()

    def end(self, frame: bytes) -> None:
        if not self._cycle.disconnected:
            last = b"%x\r\n%b\r\n" % (len(frame), frame) if frame else b""
            self._write(self._take_head() + last + b"0\r\n\r\n")
            self._cycle.complete()

    def _take_head(self) -> bytes:
        head, self._head = self._head, b""
        return head
