"""The cooldowns of one process: who goes last, what operators see, what is forgotten."""

from __future__ import annotations

import asyncio
import json
import logging
from random import Random

import pytest

from api.services.cooldowns import Cooldowns, Reason, Rules, State
from api.services.cooldowns.circuit import PROBE_SECONDS
from api.services.translation.failures import Failure, FailureKind
from tests.cooldowns.rows import SECRET, Clock, candidate, failure, table, with_resets

A, B, C = candidate(1), candidate(2), candidate(3)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cooldowns(clock: Clock) -> Cooldowns:
    return Cooldowns(Rules(), clock=clock, rng=Random(1))


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "patchbay.cooldowns")
    return caplog


def trip(cooldowns: Cooldowns, *candidates: object, kind: FailureKind = FailureKind.UPSTREAM_ERROR) -> None:
    for tripped in candidates:
        for _ in range(5):
            cooldowns.fail(tripped, failure(kind))  # type: ignore[arg-type]


def test_where_nothing_rests_nothing_changes(cooldowns: Cooldowns) -> None:
    plan = (A, B, C)
    cooldowns.succeed(A, 0.1)
    for _ in range(4):
        cooldowns.fail(B, failure())
    assert cooldowns.order(plan) is plan
    assert not cooldowns.is_any_resting
    assert all(cooldowns.admit(each) for each in plan)


def test_who_rests_goes_last_and_is_still_there(cooldowns: Cooldowns) -> None:
    trip(cooldowns, A)
    assert cooldowns.order([A, B, C]) == [B, C, A]
    trip(cooldowns, B, C)
    assert cooldowns.order([A, B, C]) == [A, B, C]
    assert not cooldowns.admit(A)


def test_each_key_has_its_own(cooldowns: Cooldowns) -> None:
    other_key = candidate(1, key=2)
    cooldowns.fail(A, failure(FailureKind.UPSTREAM_RATE_LIMITED, retry_after=20))
    assert cooldowns.is_resting(A)
    assert not cooldowns.is_resting(other_key)
    assert cooldowns.order([A, other_key]) == [other_key, A]


def test_one_request_probes_and_its_answer_ends_the_cooldown(cooldowns: Cooldowns, clock: Clock) -> None:
    trip(cooldowns, A)
    clock.advance(12)
    assert cooldowns.order([A, B]) == [A, B]
    assert cooldowns.admit(A)
    assert not cooldowns.admit(A)
    assert cooldowns.order([A, B]) == [B, A]
    clock.advance(1)
    cooldowns.succeed(A, 1.0)
    assert cooldowns.order([A, B]) == [A, B]
    assert not cooldowns.is_any_resting


@pytest.mark.parametrize("how", ["hung up", "asked wrongly"])
def test_a_probe_that_says_nothing_makes_way_for_the_next(
    cooldowns: Cooldowns, clock: Clock, how: str
) -> None:
    trip(cooldowns, A)
    clock.advance(12)
    began = clock()
    assert cooldowns.admit(A)
    clock.advance(1)
    if how == "hung up":
        cooldowns.abandon(A, began=began)
    else:
        cooldowns.fail(A, failure(FailureKind.UPSTREAM_REJECTED), began=began)
    assert cooldowns.is_any_resting
    assert cooldowns.admit(A)


def test_a_stream_that_began_before_the_trouble_does_not_end_it(cooldowns: Cooldowns, clock: Clock) -> None:
    began = clock()
    clock.advance(5)
    trip(cooldowns, A)
    clock.advance(1)
    cooldowns.succeed(A, 0.2, began=began)
    assert cooldowns.is_resting(A)


def test_a_stream_that_breaks_counts(cooldowns: Cooldowns) -> None:
    trip(cooldowns, A, kind=FailureKind.UPSTREAM_STREAM_INTERRUPTED)
    assert cooldowns.is_resting(A)


def test_what_the_client_asked_wrongly_never_counts(cooldowns: Cooldowns) -> None:
    for kind in (
        FailureKind.UPSTREAM_REJECTED,
        FailureKind.CONTEXT_LENGTH_EXCEEDED,
        FailureKind.INVALID_REQUEST,
    ):
        for _ in range(30):
            cooldowns.fail(A, Failure(kind, "", retry_after=5))
    assert not cooldowns.is_any_resting


def test_an_operator_ends_a_cooldown_before_the_next_request_is_planned(cooldowns: Cooldowns) -> None:
    trip(cooldowns, A)
    fresh = with_resets(A, 1)
    assert cooldowns.order([fresh, B]) == [fresh, B]
    assert cooldowns.admit(fresh)
    # A request that was planned before: its old row is no new reset, and trouble counts anew.
    trip(cooldowns, A)
    assert cooldowns.is_resting(fresh)
    assert not cooldowns.is_resting(with_resets(A, 2))


def test_trouble_after_an_operator_s_reset_is_trouble(cooldowns: Cooldowns) -> None:
    cooldowns.succeed(A, 0.1)
    fresh = with_resets(A, 1)
    trip(cooldowns, fresh)
    assert cooldowns.is_resting(fresh)


async def test_a_new_configuration_ends_what_an_operator_reset_or_removed(clock: Clock) -> None:
    cooldowns = Cooldowns(Rules(), clock=clock, loop=asyncio.get_running_loop())
    gone_key = candidate(3, key=9)
    trip(cooldowns, A, B, C, gone_key)
    # As the watcher's thread calls it.
    await asyncio.to_thread(cooldowns.follow, table(with_resets(A, 1), C))
    await asyncio.sleep(0)
    assert [circuit.deployment_id for circuit in cooldowns.open_circuits()] == [3]
    assert cooldowns.is_resting(C)
    assert not cooldowns.is_resting(gone_key)


def test_openings_are_told_once_each_and_without_the_key(
    cooldowns: Cooldowns, clock: Clock, said: pytest.LogCaptureFixture
) -> None:
    trip(cooldowns, A)
    trip(cooldowns, A)
    clock.advance(12)
    assert cooldowns.admit(A)
    cooldowns.fail(A, failure(FailureKind.UPSTREAM_HEADERS_TIMEOUT))
    clock.advance(25)
    assert cooldowns.admit(A)
    cooldowns.succeed(A, 0.0)
    cooldowns.succeed(A, 0.0)
    told = [(record.levelno, record.getMessage()) for record in said.records]
    assert told == [
        (logging.WARNING, "openai/model-1 rests: other candidates go first."),
        (logging.INFO, "openai/model-1 rests on: its probe failed."),
        (logging.INFO, "openai/model-1 serves again. It answers again."),
    ]
    fields = said.records[1].fields  # type: ignore[attr-defined]
    assert fields["credential"] == "label 1"
    assert fields["failure"] == "upstream_headers_timeout"
    assert SECRET not in said.text + repr([record.__dict__ for record in said.records])


def test_what_operators_see(cooldowns: Cooldowns, clock: Clock) -> None:
    trip(cooldowns, A)
    cooldowns.fail(B, failure(FailureKind.UPSTREAM_AUTHENTICATION))
    first = cooldowns.describe()
    assert json.loads(json.dumps(first)) == first
    assert [(row["deployment"], row["reason"], row["state"]) for row in first] == [
        (1, "failures", "open"),
        (2, "key_refused", "open"),
    ]
    assert {row["credential"] for row in first} == {"label 1"}
    assert SECRET not in repr(first) + repr(cooldowns.open_circuits())
    # Nothing happened: a worker that writes it down on changes has nothing to write.
    clock.advance(2)
    assert cooldowns.describe() == first
    assert cooldowns.openings[Reason.FAILURES] == 1
    assert cooldowns.openings[Reason.KEY_REFUSED] == 1
    clock.advance(10)
    assert [circuit.state for circuit in cooldowns.open_circuits()] == [State.HALF_OPEN, State.OPEN]


def test_switched_off_nothing_rests_and_latencies_are_kept(clock: Clock) -> None:
    cooldowns = Cooldowns(Rules(after=0), clock=clock)
    trip(cooldowns, A)
    cooldowns.succeed(B, 2.0)
    assert not cooldowns.is_any_resting
    assert cooldowns.latencies() == {2: 2.0}


def test_latency_is_a_moving_average_of_what_was_answered(cooldowns: Cooldowns) -> None:
    cooldowns.succeed(A, 1.0)
    cooldowns.succeed(A, 2.0)
    assert cooldowns.latencies()[1] == pytest.approx(1.2)
    cooldowns.fail(A, failure())
    assert cooldowns.latencies()[1] == pytest.approx(1.2)
    for _ in range(50):
        cooldowns.succeed(candidate(1, key=2), 4.0)
    assert cooldowns.latencies()[1] == pytest.approx(4.0, rel=0.01)


def test_memory_follows_the_traffic(cooldowns: Cooldowns, clock: Clock) -> None:
    for number in range(1, 2001):
        cooldowns.succeed(candidate(number), 0.1)
    trip(cooldowns, candidate(5000))
    assert len(cooldowns.latencies()) == 2000
    clock.advance(500)
    cooldowns.succeed(C, 0.1)
    clock.advance(200)
    cooldowns.succeed(A, 0.1)
    assert set(cooldowns.latencies()) == {1, 3}
    assert not cooldowns.is_any_resting


def test_a_probe_that_is_lost_does_not_keep_the_next_back_for_good(
    cooldowns: Cooldowns, clock: Clock
) -> None:
    trip(cooldowns, A)
    clock.advance(12)
    assert cooldowns.admit(A)
    clock.advance(PROBE_SECONDS)
    assert cooldowns.admit(A)
