"""How many requests this process works on at once, and how many more may wait for that.

Owns the places and the queue before them, in the order of arrival. What waits longer
than QUEUE_TIMEOUT, or would make the queue longer than MAX_QUEUED, is refused at once:
a queue that only grows helps nobody. It knows nothing of keys and models, whose limits
come first (api/services/limits).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from django.conf import settings

from api.services.translation.failures import Failure, FailureKind

_RETURN_SPREAD: Final = 3
"""Those who were refused together are sent away for 1, 2 or 3 seconds in turn: SDKs keep to it exactly."""


class Admission:
    """The places of one event loop. `in_use` and `queued` are of now, `refused` is counted from the start."""

    __slots__ = ("_max_queued", "_places", "_timeout", "_waiting", "in_use", "refused")

    def __init__(self, *, places: int, max_queued: int, timeout: float) -> None:
        self._places = places
        self._max_queued = max_queued
        self._timeout = timeout
        # Oldest first. Whoever is in here has not been told anything yet, or was cancelled just now.
        self._waiting: OrderedDict[asyncio.Future[bool], None] = OrderedDict()
        self.in_use = 0
        self.refused = 0

    @property
    def queued(self) -> int:
        return len(self._waiting)

    def try_enter(self) -> bool:
        """Take a place if one is free. Whoever got in calls `leave` once."""
        if self.in_use >= self._places:
            return False
        self.in_use += 1
        return True

    async def enter(self) -> None:
        """Take a place, waiting for one in the order of arrival. Whoever got in calls `leave` once.

        Raises:
            Failure: the queue is full, or the wait took too long.
        """
        if self.try_enter():
            return
        self.check_room()
        loop = asyncio.get_running_loop()
        place: asyncio.Future[bool] = loop.create_future()
        self._waiting[place] = None
        timer = loop.call_later(self._timeout, self._end_wait, place)
        try:
            is_in = await place
        except asyncio.CancelledError:
            self._waiting.pop(place, None)
            if not place.cancelled() and place.result():
                self.leave()  # The place and the cancellation came at the same moment.
            raise
        finally:
            timer.cancel()
        if not is_in:
            raise self._refuse()

    def leave(self) -> None:
        """Give a place back: to whoever has waited longest, if anybody waits."""
        while self._waiting:
            place, _ = self._waiting.popitem(last=False)
            if not place.done():
                place.set_result(True)
                return
        self.in_use -= 1

    def _end_wait(self, place: asyncio.Future[bool]) -> None:
        if not place.done():
            self._waiting.pop(place, None)
            place.set_result(False)

    def check_room(self) -> None:
        """Raises a Failure where neither a place nor a place in the queue is free."""
        if self.in_use >= self._places and len(self._waiting) >= self._max_queued:
            raise self._refuse()

    def _refuse(self) -> Failure:
        self.refused += 1
        return Failure(
            FailureKind.OVERLOADED,
            "The proxy is working on as many requests as it can. Try again in a moment. "
            "The operator sets how many with MAX_UPSTREAM_CALLS, MAX_QUEUED and QUEUE_TIMEOUT.",
            retry_after=1 + self.refused % _RETURN_SPREAD,
            should_retry=True,
        )


_current: Admission | None = None


def current() -> Admission:
    """The places of this process, as many as the settings say."""
    global _current
    if _current is None:
        _current = Admission(
            places=settings.MAX_UPSTREAM_CALLS, max_queued=settings.MAX_QUEUED, timeout=settings.QUEUE_TIMEOUT
        )
    return _current
