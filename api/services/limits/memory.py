"""Limits counted by this process alone. Exact, and gone with the process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from api.services.limits.leases import UNLIMITED, Lease
from api.services.limits.wording import encode_headroom, to_failure
from routing.domain.limits import Book, Holding, Scope, Standing


def monotonic_microseconds() -> int:
    return int(time.monotonic() * 1_000_000)


class MemoryLimiter:
    """A `Limiter` without a server. `workers` processes that do so divide each limit among them."""

    def __init__(self, workers: int = 1, clock: Callable[[], int] = monotonic_microseconds) -> None:
        self._book = Book(workers)
        self._clock = clock

    async def acquire(self, scopes: Sequence[Scope]) -> Lease:
        return self.take(scopes)

    def take(self, scopes: Sequence[Scope]) -> Lease:
        if not scopes:
            return UNLIMITED
        now = self._clock()
        held = self._book.reserve(scopes, now)
        if isinstance(held, Standing):
            raise to_failure(held, self._book.standings(scopes, now))
        return _MemoryLease(self._book, held, self._clock)

    async def close(self) -> None:
        pass


class _MemoryLease:
    __slots__ = ("_book", "_clock", "_held", "_is_released", "_is_settled")

    def __init__(self, book: Book, held: Holding, clock: Callable[[], int]) -> None:
        self._book = book
        self._held = held
        self._clock = clock
        self._is_settled = False
        self._is_released = False

    def settle(self, tokens: int) -> None:
        if not self._is_settled:
            self._is_settled = True
            self._book.settle(self._held, tokens, self._clock())

    def release(self) -> None:
        if not self._is_released:
            self._is_released = True
            self._book.release(self._held)

    def headers(self) -> dict[str, str]:
        return encode_headroom(*self._book.tightest(self._held, self._clock()))

    def __del__(self) -> None:
        # A request that was lost on its way must not take its slot along for good.
        if not self._is_released:
            self.release()
