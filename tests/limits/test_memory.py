"""Limits within one process: what is admitted, and what a client reads of it."""

from __future__ import annotations

import pytest

from api.services.limits import UNLIMITED, Limit, Scope
from api.services.limits.memory import MemoryLimiter
from api.services.translation.dialects.openai_chat.failures import encode_failure, encode_failure_headers
from api.services.translation.failures import Failure
from tests.limits.conftest import Clock


async def refusal_of(limiter: MemoryLimiter, scopes: list[Scope]) -> Failure:
    with pytest.raises(Failure) as caught:
        await limiter.acquire(scopes)
    return caught.value


async def test_a_hundred_a_minute_means_a_hundred(clock: Clock) -> None:
    limiter = MemoryLimiter(clock=clock)
    scopes = [Scope("key:1", Limit(requests_per_minute=100))]
    for _ in range(100):
        clock.advance(0.1)
        await limiter.acquire(scopes)
    failure = await refusal_of(limiter, scopes)
    assert failure.retry_after is not None
    clock.advance(failure.retry_after - 1e-6)
    await refusal_of(limiter, scopes)
    clock.advance(1e-6)
    await limiter.acquire(scopes)
    await refusal_of(limiter, scopes)


async def test_a_refusal_of_requests_in_openais_words(clock: Clock) -> None:
    limiter = MemoryLimiter(clock=clock)
    scopes = [Scope("key:12", Limit(requests_per_minute=3), "API key sk-pb-Ab12…")]
    for _ in range(3):
        await limiter.acquire(scopes)
    clock.advance(39.4995)
    failure = await refusal_of(limiter, scopes)
    assert encode_failure(failure) == {
        "error": {
            "message": "Rate limit reached for API key sk-pb-Ab12… on requests per min (RPM): "
            "Limit 3, Used 3, Requested 1. Please try again in 21s.",
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }
    assert failure.status == 429
    assert encode_failure_headers(failure) == {
        "retry-after": "21",
        "retry-after-ms": "20501",
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "21s",
    }


async def test_tokens_are_admitted_below_the_limit_and_counted_afterwards(clock: Clock) -> None:
    limiter = MemoryLimiter(clock=clock)
    scopes = [Scope("model:1", Limit(tokens_per_minute=1000), "model gpt-4o")]
    first = await limiter.acquire(scopes)
    second = await limiter.acquire(scopes)
    first.settle(999)
    await limiter.acquire(scopes)
    clock.advance(10)
    second.settle(500)
    failure = await refusal_of(limiter, scopes)
    assert failure.type == "tokens"
    assert failure.message == (
        "Rate limit reached for model gpt-4o on tokens per min (TPM): Limit 1000, Used 1499. "
        "Please try again in 50s."
    )
    assert failure.headers["x-ratelimit-remaining-tokens"] == "0"
    clock.advance(50)
    lease = await limiter.acquire(scopes)
    assert lease.headers() == {
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "500",
        "x-ratelimit-reset-tokens": "10s",
    }


async def test_slots_return_when_a_request_ends_however_often_it_says_so(clock: Clock) -> None:
    limiter = MemoryLimiter(clock=clock)
    scopes = [Scope("key:1", Limit(max_concurrent=2), "API key sk-pb-Ab12…")]
    first, second = await limiter.acquire(scopes), await limiter.acquire(scopes)
    failure = await refusal_of(limiter, scopes)
    assert failure.message == (
        "Rate limit reached for API key sk-pb-Ab12… on concurrent requests: Limit 2, Used 2, Requested 1. "
        "Please try again in 1s."
    )
    assert failure.type == "requests"
    first.release()
    first.release()
    third = await limiter.acquire(scopes)
    await refusal_of(limiter, scopes)
    second.release()
    third.release()


async def test_a_lease_that_is_lost_gives_its_slot_back(clock: Clock) -> None:
    limiter = MemoryLimiter(clock=clock)
    scopes = [Scope("key:1", Limit(max_concurrent=1))]
    lease = await limiter.acquire(scopes)
    await refusal_of(limiter, scopes)
    del lease
    await limiter.acquire(scopes)


async def test_usage_counts_once(clock: Clock) -> None:
    limiter = MemoryLimiter(clock=clock)
    scopes = [Scope("key:1", Limit(tokens_per_minute=100))]
    lease = await limiter.acquire(scopes)
    lease.release()
    lease.settle(60)
    lease.settle(60)
    assert (await limiter.acquire(scopes)).headers()["x-ratelimit-remaining-tokens"] == "40"


async def test_headers_are_those_of_the_tightest_scope(clock: Clock) -> None:
    limiter = MemoryLimiter(clock=clock)
    key, team = Scope("key:1", Limit(100, 50)), Scope("team:1", Limit(60, 5000, 10))
    lease = await limiter.acquire([key, team])
    assert lease.headers() == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-tokens": "50",
        "x-ratelimit-remaining-tokens": "50",
        "x-ratelimit-reset-tokens": "0ms",
    }


async def test_what_has_no_limit_costs_nothing() -> None:
    assert await MemoryLimiter().acquire([]) is UNLIMITED
    UNLIMITED.settle(10)
    UNLIMITED.release()
    assert UNLIMITED.headers() == {}


async def test_a_limit_of_zero_admits_nothing_and_says_that_trying_again_is_no_use(clock: Clock) -> None:
    failure = await refusal_of(MemoryLimiter(clock=clock), [Scope("key:1", Limit(requests_per_minute=0))])
    assert encode_failure_headers(failure)["x-should-retry"] == "false"
    assert "retry-after" not in encode_failure_headers(failure)
    assert "VALKEY_URL" not in failure.message


async def test_a_limit_below_the_number_of_workers_names_the_remedy(clock: Clock) -> None:
    limiter = MemoryLimiter(workers=4, clock=clock)
    failure = await refusal_of(limiter, [Scope("key:1", Limit(max_concurrent=3))])
    assert failure.should_retry is False
    assert "The limit of 3 is smaller than the number of worker processes" in failure.message
    assert "VALKEY_URL" in failure.message


async def test_workers_take_a_share_each(clock: Clock) -> None:
    limiter = MemoryLimiter(workers=3, clock=clock)
    scopes = [Scope("key:1", Limit(requests_per_minute=100))]
    leases = [await limiter.acquire(scopes) for _ in range(33)]
    assert leases[-1].headers()["x-ratelimit-limit-requests"] == "33"
    await refusal_of(limiter, scopes)
