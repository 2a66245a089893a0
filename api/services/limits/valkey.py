"""Limits that all processes and machines count together, in Valkey.

One round trip for all scopes of a request. What follows the request (tokens, slots)
travels behind it. The clock is Valkey's own, so machines need not agree on the time.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakSet

from api.services.limits.leases import UNLIMITED, Lease
from api.services.limits.line import Away, Line, Operation
from api.services.limits.memory import MemoryLimiter
from api.services.limits.wording import encode_headers, to_failure
from api.services.translation.failures import Failure, FailureKind
from routing.domain.limits import Measure, Scope, Standing

_MEASURES: Final = tuple(Measure)


class ValkeyLimiter:
    """A `Limiter` over the server at `url`.

    While Valkey is away, `is_open` decides: requests pass, held to what this process can
    count by itself, or requests that have limits are refused. Either way they do not wait
    for it: it is asked again every `pause` seconds, by nobody's request.

    A slot is kept while its process renews it. Those of a process that died come back
    within `slot_life` seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        is_open: bool,
        pause: float = 1.0,
        slot_life: float = 30.0,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._line = Line(
            url, timeout=timeout, pause=pause, slot_life=slot_life, on_back=self._renew_now, clock=clock
        )
        self._alone = MemoryLimiter() if is_open else None
        self._pause = pause
        self._renewal_interval = slot_life / 3
        self._renewal: asyncio.TimerHandle | None = None
        self._holders: WeakSet[_ValkeyLease] = WeakSet()
        self._process = secrets.token_hex(6)
        self._numbers = itertools.count()

    @property
    def is_away(self) -> bool:
        """Whether Valkey gave no answer lately."""
        return self._line.is_away

    @property
    def backlog(self) -> int:
        """How much waits to be sent."""
        return self._line.backlog

    def take(self, scopes: Sequence[Scope]) -> None:
        return None

    async def acquire(self, scopes: Sequence[Scope]) -> Lease:
        asked = [
            (scope, measure, limit)
            for scope in scopes
            for measure in _MEASURES
            if (limit := scope.limit.of(measure)) is not None
        ]
        if not asked:
            return UNLIMITED
        operation = Operation(
            "acquire",
            f"{self._process}:{next(self._numbers)}",
            [_key(scope, measure) for scope, measure, _ in asked],
            [measure for _, measure, _ in asked],
            [limit for _, _, limit in asked],
        )
        try:
            is_admitted, *report = await self._line.ask(operation)
        except Away:
            return self._acquire_alone(scopes)
        numbers = zip(*[iter(report)] * 3, strict=True)
        standings = [Standing(*question, *answer) for question, answer in zip(asked, numbers, strict=True)]
        if not is_admitted:
            raise to_failure(max(standings, key=lambda standing: standing.wait), standings)
        lease = _ValkeyLease(self._line, operation.subject, standings)
        if lease.slots:
            self._holders.add(lease)
            self._schedule_renewal()
        return lease

    async def close(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        await self._line.close()

    def _acquire_alone(self, scopes: Sequence[Scope]) -> Lease:
        if self._alone is not None:
            return self._alone.take(scopes)
        raise Failure(
            FailureKind.OVERLOADED,
            "Rate limits cannot be checked at the moment. Try again in a moment.",
            retry_after=self._pause,
        )

    def _schedule_renewal(self) -> None:
        if self._renewal is None:
            loop = asyncio.get_running_loop()
            self._renewal = loop.call_later(self._renewal_interval, self._renew)

    def _renew(self) -> None:
        self._renewal = None
        self._renew_now()

    def _renew_now(self) -> None:
        """Keep the slots of all requests that are still open; a server that lost them gets them anew."""
        for lease in list(self._holders):
            lease.renew()
        if self._holders:
            self._schedule_renewal()


def _key(scope: Scope, measure: Measure) -> str:
    return f"patchbay:limits:{scope.name}:{measure}"


class _ValkeyLease:
    __slots__ = ("__weakref__", "_id", "_is_settled", "_line", "_standings", "_windows", "slots")

    def __init__(self, line: Line, lease_id: str | int, standings: Sequence[Standing]) -> None:
        self._line = line
        self._id = lease_id
        self._standings = standings
        self._windows = [_key(s.scope, s.measure) for s in standings if s.measure is Measure.TOKENS]
        self._is_settled = False
        self.slots = [_key(s.scope, s.measure) for s in standings if s.measure is Measure.CONCURRENT]

    def settle(self, tokens: int) -> None:
        if not self._is_settled and self._windows and tokens > 0:
            self._line.post(Operation("settle", tokens, self._windows))
        self._is_settled = True

    def release(self) -> None:
        if self.slots:
            self._line.post(Operation("release", self._id, self.slots))
            self.slots = []

    def renew(self) -> None:
        if self.slots:
            self._line.post(Operation("renew", self._id, self.slots))

    def headers(self) -> dict[str, str]:
        return encode_headers(self._standings)
