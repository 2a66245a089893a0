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


Headroom: TypeAlias = tuple[int, int, int]
"""A limit as it holds here, how much of it is left, and the microseconds until nothing counts any more."""


def share_of(limit: int, workers: int) -> int:
    """What each of `workers` processes may admit by itself so that together they never exceed `limit`.

    Rounded down. A limit below the number of workers leaves each of them nothing: there
    is no part of one request.
    """
    return limit // workers


_NEVER: Final = 1 << 62


class Window:
    """Amounts of the last 60 seconds. The youngest entry is kept apart: most of what comes joins it.

    `latest` is its time. `due`: before, there is nothing to forget.
    """

    __slots__ = ("_amount", "_amounts", "_tick_ends", "_times", "due", "latest", "used")

    def __init__(self) -> None:
        self._times: deque[int] = deque()
        self._amounts: deque[int] = deque()
        self._amount = 0
        self._tick_ends = 0
        self.latest = 0
        self.used = 0
        self.due = _NEVER

    def __len__(self) -> int:
        """How many entries are kept."""
        return len(self._times) + bool(self._amount)

    def forget(self, now: int) -> None:
        """Let go of what is 60 seconds old. The other methods expect that this was done."""
        times = self._times
        horizon = now - WINDOW
        while times and times[0] <= horizon:
            times.popleft()
            self.used -= self._amounts.popleft()
        if self.latest <= horizon:
            self.used = self._amount = 0
        if self._amount:
            self.due = (times[0] if times else self.latest) + WINDOW
        else:
            self.due = _NEVER

    def add(self, now: int, amount: int, *, is_exact: bool) -> None:
        self.used += amount
        if now < self._tick_ends and not is_exact:
            self._amount += amount
        else:
            if self._amount:
                self._times.append(self.latest)
                self._amounts.append(self._amount)
            else:
                self.due = now + WINDOW
            self._amount = amount
            self._tick_ends = now - now % TICK + TICK
        self.latest = now

    def wait(self, now: int, limit: int) -> int:
        """Microseconds until less than `limit` is used. For a limit of zero there is no such time: 60 s."""
        left = self.used
        if left < limit:
            return 0
        for at, amount in zip(self._times, self._amounts, strict=True):
            left -= amount
            if left < limit:
                return at + WINDOW - now
        return self.latest + WINDOW - now if limit and self._amount else WINDOW

    def reset(self, now: int) -> int:
        return self.latest + WINDOW - now if self._amount else 0


class _Counters:
    """What one scope used lately. `is_forgotten`: it was idle, and the book has let go of it."""

    __slots__ = ("in_flight", "is_forgotten", "requests", "share", "tokens", "whole")

    def __init__(self) -> None:
        self.requests = Window()
        self.tokens = Window()
        self.in_flight = 0
        self.is_forgotten = False
        self.whole: Limit | None = None
        self.share: Limit | None = None

    def forget(self, now: int) -> None:
        if self.requests.due <= now:
            self.requests.forget(now)
        if self.tokens.due <= now:
            self.tokens.forget(now)

    def is_idle(self, now: int) -> bool:
        self.forget(now)
        return not self.in_flight and self.requests.due == self.tokens.due == _NEVER

    def share_of(self, limit: Limit, workers: int) -> Limit:
        """The scope's limit as it holds for one of so many workers, worked out when it is a new one."""
        if self.share is None or self.whole is not limit:
            self.whole = limit
            self.share = Limit(
                *(
                    None if most is None else share_of(most, workers)
                    for most in (limit.requests_per_minute, limit.tokens_per_minute, limit.max_concurrent)
                )
            )
        return self.share


Holding: TypeAlias = list[tuple[str, Limit, _Counters]]
"""One request's place in its scopes: of each its name, the limit that admitted it, and where it counts."""

_SWEPT: Final = 32


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
        self._until_sweep = _SWEPT

    def __len__(self) -> int:
        """How many scopes are remembered: those in use, and idle ones until their turn in the sweep."""
        return len(self._counters)

    def reserve(self, scopes: Sequence[Scope], now: int) -> Holding | Standing:
        """Take one request's place in every scope, or in none of them.

        Returns what is held when it is taken, else the standing that refuses the longest.
        A window of tokens is only asked whether anything is left: what the request uses is
        known at its end, see `settle`.
        """
        self._until_sweep -= 1
        if not self._until_sweep:
            self._sweep(now)
        is_refused = False
        holding: Holding = []
        for scope in scopes:
            name, limit = scope.name, scope.limit
            counters = self._counters.get(name)
            if counters is None or counters.requests.due <= now or counters.tokens.due <= now:
                counters = self._fresh(name, now)
            if not self._is_alone:
                limit = counters.share_of(limit, self._workers)
            requests, tokens, slots = limit.requests_per_minute, limit.tokens_per_minute, limit.max_concurrent
            if (
                (requests is not None and counters.requests.used >= requests)
                or (tokens is not None and counters.tokens.used >= tokens)
                or (slots is not None and counters.in_flight >= slots)
            ):
                is_refused = True
            holding.append((name, limit, counters))
        if is_refused:
            return max(self.standings(scopes, now), key=_wait)
        for _, limit, counters in holding:
            requests = limit.requests_per_minute
            if requests is not None:
                counters.requests.add(now, 1, is_exact=requests <= EXACT_ENTRIES)
            if limit.max_concurrent is not None:
                counters.in_flight += 1
        return holding

    def settle(self, holding: Holding, tokens: int, now: int) -> None:
        """Count what a request used, now that it is known."""
        if tokens <= 0:
            return
        for name, limit, counters in holding:
            if limit.tokens_per_minute is not None:
                if counters.is_forgotten:
                    counters = self._fresh(name, now)
                counters.tokens.add(now, tokens, is_exact=False)

    def release(self, holding: Holding) -> None:
        """Give back the slots of a request that `reserve` admitted: once."""
        for _, limit, counters in holding:
            if limit.max_concurrent is not None:
                counters.in_flight -= 1

    def tightest(self, holding: Holding, now: int) -> tuple[Headroom | None, Headroom | None]:
        """Of requests and of tokens, where they are limited: that scope which has the least left."""
        requests: Headroom | None = None
        tokens: Headroom | None = None
        for name, limit, counters in holding:
            if counters.is_forgotten or counters.requests.due <= now or counters.tokens.due <= now:
                counters = self._fresh(name, now)
            if (most := limit.requests_per_minute) is not None:
                window = counters.requests
                left = most - window.used if window.used < most else 0
                if requests is None or left < requests[1]:
                    requests = (most, left, window.latest + WINDOW - now if window.used else 0)
            if (most := limit.tokens_per_minute) is not None:
                window = counters.tokens
                left = most - window.used if window.used < most else 0
                if tokens is None or left < tokens[1]:
                    tokens = (most, left, window.latest + WINDOW - now if window.used else 0)
        return requests, tokens

    def standings(self, scopes: Sequence[Scope], now: int) -> list[Standing]:
        """How every measure that has a limit stands."""
        found: list[Standing] = []
        for scope in scopes:
            self._fresh(scope.name, now)
            found += self._standings(scope, now)
        return found

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

    def _sweep(self, now: int) -> None:
        """Look at some scopes, in turn, and forget those where nothing counts any more.

        As many as there were requests since the last time, so idle ones never pile up.
        """
        self._until_sweep = _SWEPT
        for _ in range(min(_SWEPT, len(self._counters))):
            name, counters = next(iter(self._counters.items()))
            if counters.is_idle(now):
                counters.is_forgotten = True
                del self._counters[name]
            else:
                self._counters.move_to_end(name)


def _wait(standing: Standing) -> int:
    return standing.wait
