"""How a test's thread steers a reply that the server's loop is writing.

Owns the crossing between the two threads; refuses sleeps: whoever waits here is woken.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable


class _Crossing:
    """State changed in any thread, awaited in any event loop."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def _announce(self) -> None:
        """Wake all waiters; the caller holds the condition."""
        self._condition.notify_all()
        waiters, self._waiters = self._waiters, []
        for loop, waiter in waiters:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, waiter)

    async def _until(self, claim: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with self._condition:
                if claim():
                    return
                waiter: asyncio.Future[None] = loop.create_future()
                self._waiters.append((loop, waiter))
            await waiter

    def _block_until(self, claim: Callable[[], bool], timeout: float, what: str) -> None:
        with self._condition:
            if not self._condition.wait_for(claim, timeout):
                raise TimeoutError(f"{what} within {timeout} s")


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Gate(_Crossing):
    """A door that replies wait at (see `Hold`) until the test opens it; it stays open."""

    def __init__(self) -> None:
        super().__init__()
        self._is_open = False
        self._arrived = 0

    def open(self) -> None:
        with self._condition:
            self._is_open = True
            self._announce()

    def wait_reached(self, timeout: float = 5.0, count: int = 1) -> None:
        """Block the test until `count` replies have come to the door."""
        self._block_until(lambda: self._arrived >= count, timeout, f"no {count} replies reached the gate")

    async def passed(self) -> None:
        with self._condition:
            self._arrived += 1
            self._announce()
        await self._until(lambda: self._is_open)


class Pace(_Crossing):
    """Lets the pieces of paced replies out one at a time, and knows when each went."""

    def __init__(self) -> None:
        super().__init__()
        self._permits = 0
        self._is_free = False
        self._sent: list[float] = []

    @property
    def sent(self) -> list[float]:
        """`time.monotonic()` just before each piece was written, once it was."""
        with self._condition:
            return list(self._sent)

    def release(self, count: int = 1) -> None:
        with self._condition:
            self._permits += count
            self._announce()

    def release_all(self) -> None:
        """From now on nothing waits."""
        with self._condition:
            self._is_free = True
            self._announce()

    def wait_sent(self, count: int, timeout: float = 5.0) -> float:
        """Block until `count` pieces in all have gone out; returns the time of the last of them."""
        self._block_until(lambda: len(self._sent) >= count, timeout, f"no {count} pieces were sent")
        with self._condition:
            return self._sent[count - 1]

    def reset(self) -> None:
        with self._condition:
            self._permits, self._is_free, self._sent = 0, False, []

    async def permit(self) -> None:
        await self._until(self._take)

    def note_sent(self, at: float) -> None:
        with self._condition:
            self._sent.append(at)
            self._announce()

    def _take(self) -> bool:
        if self._is_free:
            return True
        if self._permits == 0:
            return False
        self._permits -= 1
        return True
