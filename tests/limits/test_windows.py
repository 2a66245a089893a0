"""The arithmetic of limits, against a list of everything that ever happened."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.domain.limits import (
    EXACT_ENTRIES,
    SECOND,
    TICK,
    WINDOW,
    Book,
    Holding,
    Limit,
    Measure,
    Scope,
    Standing,
    Window,
    share_of,
)

# Gaps that sit on the edges: nothing, a microsecond, a tick, the window and its neighbours.
GAPS = st.one_of(
    st.sampled_from([0, 1, TICK - 1, TICK, SECOND, WINDOW - 1, WINDOW, WINDOW + 1]),
    st.integers(0, WINDOW // 2),
)
LIMITS = st.one_of(st.none(), st.integers(0, 5))
SCOPES = st.lists(
    st.builds(Scope, st.sampled_from(["key:1", "key:2", "team:1"]), st.builds(Limit, LIMITS, LIMITS, LIMITS)),
    max_size=3,
    unique_by=lambda scope: scope.name,
)


class Oracle:
    """Remembers everything, computes everything anew."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Measure, int, int]] = []
        self.open: list[str] = []

    def used(self, scope: Scope, measure: Measure, now: int) -> int:
        if measure is Measure.CONCURRENT:
            return self.open.count(scope.name)
        return sum(
            amount
            for name, kind, at, amount in self.events
            if name == scope.name and kind is measure and now - WINDOW < at <= now
        )

    def admits(self, scopes: list[Scope], now: int) -> bool:
        return all(
            limit is None or self.used(scope, measure, now) < limit
            for scope in scopes
            for measure in Measure
            for limit in [scope.limit.of(measure)]
        )

    def admit(self, scopes: list[Scope], now: int) -> None:
        for scope in scopes:
            if scope.limit.requests_per_minute is not None:
                self.events.append((scope.name, Measure.REQUESTS, now, 1))
            if scope.limit.max_concurrent is not None:
                self.open.append(scope.name)

    def settle(self, scopes: list[Scope], tokens: int, now: int) -> None:
        for scope in scopes:
            if scope.limit.tokens_per_minute is not None:
                # The window keeps a tick together, and gives it back with its youngest entry.
                self.events = [
                    (name, kind, now, amount)
                    if (name, kind, at // TICK) == (scope.name, Measure.TOKENS, now // TICK)
                    else (name, kind, at, amount)
                    for name, kind, at, amount in self.events
                ]
                self.events.append((scope.name, Measure.TOKENS, now, tokens))

    def release(self, scopes: list[Scope]) -> None:
        for scope in scopes:
            if scope.limit.max_concurrent is not None:
                self.open.remove(scope.name)


@given(st.lists(st.tuples(GAPS, SCOPES, st.integers(0, 4), st.booleans()), max_size=30))
def test_admits_exactly_what_the_limits_allow(
    steps: list[tuple[int, list[Scope], int, bool]],
) -> None:
    book, oracle, now = Book(), Oracle(), 0
    for gap, scopes, tokens, is_released in steps:
        now += gap
        held = book.reserve(scopes, now)
        assert isinstance(held, Standing) != oracle.admits(scopes, now)
        if not isinstance(held, Standing):
            oracle.admit(scopes, now)
            book.settle(held, tokens, now)
            oracle.settle(scopes, tokens, now)
            if is_released:
                book.release(held)
                oracle.release(scopes)
        standings = book.standings(scopes, now)
        for standing in standings:
            assert standing.used == oracle.used(standing.scope, standing.measure, now)
        if not isinstance(held, Standing):
            for measure, headroom in zip(
                (Measure.REQUESTS, Measure.TOKENS), book.tightest(held, now), strict=True
            ):
                of_it = [standing for standing in standings if standing.measure is measure]
                tightest = min(of_it, key=lambda standing: standing.remaining, default=None)
                assert headroom == (tightest and (tightest.limit, tightest.remaining, tightest.reset))


@given(st.lists(st.tuples(GAPS, st.integers(1, 9)), max_size=40), st.integers(1, 6), st.booleans())
def test_the_wait_is_exact_to_the_microsecond(
    entries: list[tuple[int, int]], limit: int, is_exact: bool
) -> None:
    window, now = Window(), 0
    for gap, amount in entries:
        now += gap
        window.forget(now)
        window.add(now, amount, is_exact=is_exact)
    wait, reset = window.wait(now, limit), window.reset(now)
    for later in sorted({0, wait - 1, wait, reset - 1, reset} - {-1}):
        window.forget(now + later)
        assert (window.used < limit) == (later >= wait)
        assert (window.used == 0) == (later >= reset)


@given(st.lists(st.tuples(GAPS, st.integers(1, 9)), min_size=1, max_size=60), st.data())
def test_entries_kept_together_return_never_early_and_at_most_a_tick_late(
    entries: list[tuple[int, int]], data: st.DataObject
) -> None:
    window, now, log = Window(), 0, []
    for gap, amount in entries:
        now += gap
        window.forget(now)
        window.add(now, amount, is_exact=False)
        log.append((now, amount))
    later = now + data.draw(st.integers(0, WINDOW + TICK))
    window.forget(later)
    assert window.used >= sum(amount for at, amount in log if at > later - WINDOW)
    assert window.used <= sum(amount for at, amount in log if at > later - WINDOW - TICK)


def admit(book: Book, scopes: list[Scope], now: int) -> Holding:
    held = book.reserve(scopes, now)
    assert not isinstance(held, Standing)
    return held


def pass_time(book: Book, now: int) -> None:
    """So many requests of others that every idle scope has had its turn in the sweep."""
    for _ in range(2000):
        admit(book, [Scope("key:last", Limit(10**6))], now)


@pytest.mark.parametrize("limit", [3, EXACT_ENTRIES, 2500])
def test_a_flood_gets_the_limit_in_any_minute_and_no_more_memory_than_that(limit: int) -> None:
    rng, book, now = random.Random(limit), Book(), 0
    scopes = [Scope("key:1", Limit(requests_per_minute=limit))]
    admitted: list[int] = []
    while now < 4 * WINDOW:
        now += rng.randrange(2 * WINDOW // (3 * limit))  # About three times too many.
        if not isinstance(book.reserve(scopes, now), Standing):
            admitted.append(now)
    for first, beyond in zip(admitted, admitted[limit:], strict=False):
        assert beyond - first >= WINDOW
    # All is used: whatever returned was taken within a tick and the next try.
    assert len(admitted) >= limit * 3.9


def test_a_window_keeps_at_most_one_entry_a_tick() -> None:
    window = Window()
    for now in range(0, 3 * WINDOW, 1000):
        window.forget(now)
        window.add(now, 1, is_exact=False)
    assert len(window) <= EXACT_ENTRIES + 1
    assert WINDOW // 1000 <= window.used <= (WINDOW + TICK) // 1000


def test_a_refusal_takes_nothing_anywhere() -> None:
    book = Book()
    generous, spent = Scope("key:1", Limit(10, None, 10)), Scope("team:1", Limit(1))
    admit(book, [spent], 0)
    refusal = book.reserve([generous, spent], 1)
    assert isinstance(refusal, Standing)
    assert refusal.scope is spent
    assert [standing.used for standing in book.standings([generous], 1)] == [0, 0]


def test_of_several_refusals_the_longest_counts() -> None:
    book = Book()
    soon, late = Scope("key:1", Limit(1)), Scope("team:1", Limit(1))
    book.reserve([soon], 0)
    book.reserve([late], 10 * SECOND)
    refusal = book.reserve([soon, late], 20 * SECOND)
    assert isinstance(refusal, Standing)
    assert (refusal.scope, refusal.wait) == (late, 50 * SECOND)


def test_a_limit_that_is_lowered_or_raised_holds_at_once() -> None:
    book = Book()
    for _ in range(5):
        admit(book, [Scope("key:1", Limit(5))], 0)
    assert isinstance(book.reserve([Scope("key:1", Limit(2))], 1), Standing)
    admit(book, [Scope("key:1", Limit(6))], 2)


def test_idle_scopes_are_forgotten_and_open_requests_are_not() -> None:
    book = Book()
    held = [Scope("key:held", Limit(max_concurrent=1))]
    admit(book, held, 0)
    for number in range(1000):
        admit(book, [Scope(f"key:{number}", Limit(1))], 0)
    pass_time(book, WINDOW)
    assert len(book) <= 3
    assert isinstance(book.reserve(held, WINDOW), Standing)


def test_a_request_counts_where_its_scope_does_though_it_outlived_what_was_known_of_it() -> None:
    book, now = Book(), 2 * WINDOW
    scopes = [Scope("key:1", Limit(1000, 1000))]
    long, short = admit(book, scopes, 0), admit(book, [Scope("key:1", Limit(None, 1000))], 0)
    pass_time(book, now)
    other = admit(book, scopes, now)
    book.settle(long, 30, now)
    book.settle(short, 4, now)
    assert [standing.used for standing in book.standings(scopes, now)] == [1, 34]
    assert book.tightest(long, now) == book.tightest(other, now) == ((1000, 999, WINDOW), (1000, 966, WINDOW))


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_shares_never_add_up_to_more_than_the_limit(limit: int, workers: int) -> None:
    assert share_of(limit, workers) * workers <= limit
    assert limit - share_of(limit, workers) * workers < workers


@pytest.mark.parametrize("limit", [Limit(requests_per_minute=100), Limit(max_concurrent=100)])
def test_several_processes_together_admit_the_limit_at_most(limit: Limit) -> None:
    books = [Book(workers=3) for _ in range(3)]
    scopes = [Scope("key:1", limit)]
    answers = [book.reserve(scopes, now) for book in books for now in range(100)]
    assert sum(not isinstance(answer, Standing) for answer in answers) == 99
