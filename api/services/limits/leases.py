"""What a request holds while it is served, and who hands it out. Types only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from routing.domain.limits import Scope


class Lease(Protocol):
    """One request's place within its limits.

    Whoever acquired it calls `settle` and `release` however the request ends, in any
    order; both count once, neither waits, raises or needs the event loop's time.
    """

    def settle(self, tokens: int) -> None:
        """Count what the request used. A request that used nothing need not be settled."""

    def release(self) -> None:
        """Give back its slot among the concurrent requests."""

    def headers(self) -> dict[str, str]:
        """OpenAI's `x-ratelimit-*` of the tightest limits; none where nothing is limited."""


class Limiter(Protocol):
    """Counts requests, tokens and concurrent requests of scopes."""

    def take(self, scopes: Sequence[Scope]) -> Lease | None:
        """As `acquire`, where that takes no waiting; else None, and `acquire` is to be called."""

    async def acquire(self, scopes: Sequence[Scope]) -> Lease:
        """A place within all of `scopes`, taken in one step: in every one of them, or in none.

        Raises:
            Failure: a limit is reached, or limits cannot be checked and must be.
        """

    async def close(self) -> None:
        """Say what is still to be said, and let go of connections."""


class _Unlimited:
    __slots__ = ()

    def settle(self, tokens: int) -> None:
        pass

    def release(self) -> None:
        pass

    def headers(self) -> dict[str, str]:
        return {}


UNLIMITED: Final[Lease] = _Unlimited()
