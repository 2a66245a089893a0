"""Rate limits as arithmetic: what fits into the last 60 seconds, and when the next thing will.

Owns the sliding windows and the slots of concurrent requests. Knows no clock (`now` is
handed in, in whole microseconds of any clock that never runs backwards), no I/O and no
words for clients.

A window holds at most its limit in *any* 60 seconds. One of up to 1,000 remembers every
entry; a larger one, and one of tokens, keeps entries of the same 60 ms together and gives
them back with the youngest of them: never too early, at most 60 ms late, and in bounded
memory whatever the limit.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

SECOND: Final = 1_000_000
WINDOW: Final = 60 * SECOND
EXACT_ENTRIES: Final = 1000
TICK: Final = WINDOW // EXACT_ENTRIES

SLOT_WAIT: Final = SECOND
"""What to wait for a slot: nobody knows when a request will end."""


class Measure(StrEnum):
    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENT = "concurrent"


@dataclass(frozen=True, slots=True)
class Limit:
    """What one scope may use. None: as much as it likes. Zero: nothing."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_concurrent: int | None = None

    @property
    def is_unlimited(self) -> bool:
        return (
            self.requests_per_minute is None
            and self.tokens_per_minute is None
            and self.max_concurrent is None
        )

    def of(self, measure: Measure) -> int | None:
        match measure:
            case Measure.REQUESTS:
                return self.requests_per_minute
            case Measure.TOKENS:
                return self.tokens_per_minute
            case Measure.CONCURRENT:
                return self.max_concurrent


@dataclass(frozen=True, slots=True)
class Scope:
    """What is counted together. `name` identifies it ("key:12"), `label` is what a client is told of it."""

    name: str
    limit: Limit
    label: str = ""


class Standing(NamedTuple):
    """How one measure of a scope stands. Times in microseconds from now.

    `limit` is what is enforced here, which may be a share of the scope's own. `wait`:
    until something fits again, 0 if it does now. `reset`: until nothing counts any more.
    """

    scope: Scope
    measure: Measure
    limit: int
    used: int
    wait: int
    reset: int

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)


Headroom: TypeAlias = tuple[Measure, int, int, int]
"""A measure, its limit here, how much of it is left, and the microseconds until nothing counts any more."""


def share_of(limit: int, workers: int) -> int:
    """What each of `workers` processes may admit by itself so that together they never exceed `limit`.

    Rounded down. A limit below the number of workers leaves each of them nothing: there
    is no part of one request.
    """
    return limit // workers


_NEVER: Final = 1 << 62


class Window:
    """Amounts of the last 60 seconds."""

    __slots__ = ("_amounts", "_times", "due", "used")

    def __init__(self) -> None:
        self._times: deque[int] = deque()
        self._amounts: deque[int] = deque()
        self.used = 0
        self.due = _NEVER
        """When there is something to forget: before, nothing need be asked to."""

    def __len__(self) -> int:
        """How many entries are kept."""
        return len(self._times)

    def forget(self, now: int) -> None:
        """Let go of what is 60 seconds old. The other methods expect that this was done."""
        times = self._times
        horizon = now - WINDOW
        while times and times[0] <= horizon:
            times.popleft()
            self.used -= self._amounts.popleft()
        self.due = times[0] + WINDOW if times else _NEVER

    def add(self, now: int, amount: int, *, is_exact: bool) -> None:
        times = self._times
        self.used += amount
        if not is_exact and times and times[-1] // TICK == now // TICK:
            times[-1] = now
            self._amounts[-1] += amount
            if len(times) == 1:
                self.due = now + WINDOW
        else:
            if not times:
                self.due = now + WINDOW
            times.append(now)
            self._amounts.append(amount)

    def wait(self, now: int, limit: int) -> int:
        """Microseconds until less than `limit` is used. For a limit of zero there is no such time: 60 s."""
        left = self.used
        if left < limit:
            return 0
        for at, amount in zip(self._times, self._amounts, strict=True):
            left -= amount
            if left < limit:
                return at + WINDOW - now
        return WINDOW

    def reset(self, now: int) -> int:
        return self._times[-1] + WINDOW - now if self._times else 0


class _Counters:
    __slots__ = ("in_flight", "requests", "tokens")

    def __init__(self) -> None:
        self.requests = Window()
        self.tokens = Window()
        self.in_flight = 0

    def forget(self, now: int) -> None:
        if self.requests.due <= now:
            self.requests.forget(now)
        if self.tokens.due <= now:
            self.tokens.forget(now)

    def is_idle(self, now: int) -> bool:
        self.forget(now)
        return not self.in_flight and self.requests.due == self.tokens.due == _NEVER


class Book:
    """The counters of all scopes in one process.

    Nothing in here waits, so each call is one atomic step for everything that runs in
    the same event loop. `workers` is how many processes share the limits without
    knowing of each other.
    """

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._is_alone = workers == 1
        self._counters: OrderedDict[str, _Counters] = OrderedDict()

    def __len__(self) -> int:
        """How many scopes are remembered: those in use, and idle ones until their turn in the sweep."""
        return len(self._counters)

    def reserve(self, scopes: Sequence[Scope], now: int) -> Standing | None:
        """Take one request's place in every scope, or in none of them.

        Returns None when it is taken, else the standing that refuses the longest. A
        window of tokens is only asked whether anything is left: what the request uses is
        known at its end, see `settle`.
        """
        self._sweep(now)
        refusals: list[Standing] | None = None
        found: list[_Counters] = []
        for scope in scopes:
            limit = scope.limit
            counters = self._fresh(scope.name, now)
            found.append(counters)
            requests, tokens, slots = limit.requests_per_minute, limit.tokens_per_minute, limit.max_concurrent
            if not self._is_alone:
                requests, tokens, slots = self._share(requests), self._share(tokens), self._share(slots)
            if (
                (requests is not None and counters.requests.used >= requests)
                or (tokens is not None and counters.tokens.used >= tokens)
                or (slots is not None and counters.in_flight >= slots)
            ):
                refusals = refusals or []
                refusals += (standing for standing in self._standings(scope, now) if standing.wait)
        if refusals is not None:
            return max(refusals, key=_wait)
        for scope, counters in zip(scopes, found, strict=True):
            limit = scope.limit
            if limit.requests_per_minute is not None:
                counters.requests.add(now, 1, is_exact=limit.requests_per_minute <= EXACT_ENTRIES)
            if limit.max_concurrent is not None:
                counters.in_flight += 1
        return None

    def settle(self, scopes: Sequence[Scope], tokens: int, now: int) -> None:
        """Count what a request used, now that it is known."""
        if tokens <= 0:
            return
        for scope in scopes:
            if scope.limit.tokens_per_minute is not None:
                window = self._fresh(scope.name, now).tokens
                window.add(now, tokens, is_exact=False)

    def release(self, scopes: Sequence[Scope]) -> None:
        """Give back the slots of a request that `reserve` admitted: once, and with the same scopes."""
        for scope in scopes:
            if scope.limit.max_concurrent is not None:
                self._find(scope.name).in_flight -= 1

    def standings(self, scopes: Sequence[Scope], now: int) -> list[Standing]:
        """How every measure that has a limit stands."""
        found: list[Standing] = []
        for scope in scopes:
            self._fresh(scope.name, now)
            found += self._standings(scope, now)
        return found

    def tightest(self, scopes: Sequence[Scope], now: int) -> list[Headroom]:
        """Of requests and of tokens, where they are limited: that scope which has the least left."""
        requests: Headroom | None = None
        tokens: Headroom | None = None
        for scope in scopes:
            limit = scope.limit
            counters = self._fresh(scope.name, now)
            if (most := self._share(limit.requests_per_minute)) is not None:
                left = max(0, most - counters.requests.used)
                if requests is None or left < requests[2]:
                    requests = (Measure.REQUESTS, most, left, counters.requests.reset(now))
            if (most := self._share(limit.tokens_per_minute)) is not None:
                left = max(0, most - counters.tokens.used)
                if tokens is None or left < tokens[2]:
                    tokens = (Measure.TOKENS, most, left, counters.tokens.reset(now))
        return [headroom for headroom in (requests, tokens) if headroom is not None]

    def _standings(self, scope: Scope, now: int) -> list[Standing]:
        limit, counters = scope.limit, self._counters[scope.name]
        found: list[Standing] = []
        for measure, whole, window in (
            (Measure.REQUESTS, limit.requests_per_minute, counters.requests),
            (Measure.TOKENS, limit.tokens_per_minute, counters.tokens),
        ):
            if (share := self._share(whole)) is not None:
                found.append(
                    Standing(scope, measure, share, window.used, window.wait(now, share), window.reset(now))
                )
        if (share := self._share(limit.max_concurrent)) is not None:
            used = counters.in_flight
            wait = SLOT_WAIT if used >= share else 0
            found.append(Standing(scope, Measure.CONCURRENT, share, used, wait, 0))
        return found

    def _share(self, limit: int | None) -> int | None:
        return limit if self._is_alone or limit is None else share_of(limit, self._workers)

    def _fresh(self, name: str, now: int) -> _Counters:
        """The scope's counters, with nothing in them that is 60 seconds old."""
        counters = self._counters.get(name)
        if counters is None:
            counters = self._counters[name] = _Counters()
        elif counters.requests.due <= now or counters.tokens.due <= now:
            counters.forget(now)
        return counters

    def _find(self, name: str) -> _Counters:
        counters = self._counters.get(name)
        if counters is None:
            counters = self._counters[name] = _Counters()
        return counters

    def _sweep(self, now: int) -> None:
        """Look at one scope, in turn, and forget it if nothing counts there any more."""
        name = next(iter(self._counters), None)
        if name is None:
            return
        if self._counters[name].is_idle(now):
            del self._counters[name]
        else:
            self._counters.move_to_end(name)


def _wait(standing: Standing) -> int:
    return standing.wait
