"""One circuit through any history of calls: when it opens, how long it rests, what closes it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from api.services.cooldowns.circuit import PROBE_SECONDS, WINDOW_SECONDS, Circuit, Rules, State
from api.services.cooldowns.verdicts import VERDICTS, Reason, Verdict, judge
from api.services.translation.failures import Failure, FailureKind

RULES = Rules(after=5, seconds=10.0, maximum=300.0)
BAD = [verdict for verdict in Verdict if verdict is not Verdict.NOTHING]
# Off the bounds of a bucket of the window, so that sums of floats cannot fall on either side.
START = 1001.0


def opened(rules: Rules = RULES, at: float = START) -> Circuit:
    circuit = Circuit()
    for _ in range(rules.after):
        circuit.fail(at, at, Verdict.COUNTS, rules)
    assert circuit.state(at) is State.OPEN
    return circuit


def test_every_kind_of_failure_has_its_verdict() -> None:
    assert set(VERDICTS) == set(FailureKind)


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if not kind.value.startswith("upstream_")])
def test_what_is_not_the_upstream_s_fault_says_nothing(kind: FailureKind) -> None:
    assert judge(Failure(kind, "")) is Verdict.NOTHING


def test_a_retired_upstream_id_counts() -> None:
    assert judge(Failure(FailureKind.MODEL_NOT_FOUND, "", upstream_status=404)) is Verdict.COUNTS
    assert judge(Failure(FailureKind.MODEL_NOT_FOUND, "", upstream_status=400)) is Verdict.NOTHING


@given(st.integers(1, 30))
def test_so_many_failures_in_a_row_open_it_and_not_one_fewer(after: int) -> None:
    rules = Rules(after=after)
    circuit = Circuit()
    # Answers enough that their share says nothing.
    for _ in range(100):
        circuit.succeed(START, START)
    for _ in range(after - 1):
        assert not circuit.fail(START, START, Verdict.COUNTS, rules)
    assert circuit.admit(START)
    assert circuit.fail(START, START, Verdict.COUNTS, rules)
    assert circuit.reason is Reason.FAILURES
    assert not circuit.admit(START)


def test_an_answer_begins_the_count_anew() -> None:
    circuit = Circuit()
    for _ in range(4):
        for _ in range(4):
            assert not circuit.fail(START, START, Verdict.COUNTS, RULES)
        for _ in range(30):
            circuit.succeed(START, START)


@pytest.mark.parametrize(("answers", "opens"), [(9, False), (10, True), (11, False)])
def test_half_of_twenty_is_enough_and_less_of_either_is_not(answers: int, opens: bool) -> None:
    circuit = Circuit()
    for _ in range(answers):
        circuit.succeed(START, START)
    failures = [circuit.fail(START + 24, START + 24, Verdict.COUNTS, Rules(after=1000)) for _ in range(10)]
    assert failures == [False] * 9 + [opens]


def test_what_is_longer_ago_than_the_window_says_nothing() -> None:
    circuit = Circuit()
    for _ in range(30):
        circuit.succeed(START, START)
    later = START + WINDOW_SECONDS + 1
    failures = [circuit.fail(later, later, Verdict.COUNTS, Rules(after=1000)) for _ in range(20)]
    assert failures == [False] * 19 + [True]


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 8))
def test_half_of_the_last_calls_open_it(outcomes: list[bool], gap: int) -> None:
    """Against the plain reading of the rule, with the window as buckets of five seconds."""
    rules = Rules(after=1000)
    circuit = Circuit()
    calls: list[tuple[float, bool]] = []
    now = START
    for is_answered in outcomes:
        now += gap
        calls.append((now, is_answered))
        if is_answered:
            circuit.succeed(now, now)
            assert circuit.is_closed
            continue
        has_opened = circuit.fail(now, now, Verdict.COUNTS, rules)
        recent = [answered for at, answered in calls if at // 5 > now // 5 - WINDOW_SECONDS / 5]
        assert has_opened == (len(recent) >= 20 and recent.count(False) * 2 >= len(recent))
        if has_opened:
            assert circuit.reason is Reason.FAILURE_SHARE
            return


@pytest.mark.parametrize(
    ("verdict", "reason", "seconds"),
    [
        (Verdict.KEY_REFUSED, Reason.KEY_REFUSED, 60),
        (Verdict.QUOTA, Reason.QUOTA, 60),
        (Verdict.RATE_LIMITED, Reason.RATE_LIMITED, 10),
    ],
)
def test_trouble_with_the_key_opens_it_at_once(verdict: Verdict, reason: Reason, seconds: float) -> None:
    circuit = Circuit()
    assert circuit.fail(START, START, verdict, RULES)
    assert circuit.reason is reason
    assert circuit.until == START + seconds


@pytest.mark.parametrize(
    ("asked", "least", "most"), [(0.0, 1.0, 1.1), (7.0, 7.0, 7.7), (40.0, 40.0, 44.0), (9999.0, 300.0, 300.0)]
)
@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_a_rate_limit_ends_when_the_upstream_says(
    asked: float, least: float, most: float, jitter: float
) -> None:
    circuit = Circuit()
    circuit.fail(START, START, Verdict.RATE_LIMITED, RULES, retry_after=asked, jitter=jitter)
    assert least <= circuit.until - START <= most + 1e-9


def test_other_trouble_rests_longer_where_the_upstream_asks_for_it_and_never_shorter() -> None:
    patient, hasty = Circuit(), Circuit()
    for _ in range(5):
        patient.fail(START, START, Verdict.COUNTS, RULES, retry_after=40.0, jitter=0.0)
        hasty.fail(START, START, Verdict.COUNTS, RULES, retry_after=1.0, jitter=0.0)
    assert patient.until == START + 40
    assert hasty.until == START + 10


def test_each_failed_probe_doubles_the_rest_up_to_the_maximum() -> None:
    circuit = opened()
    now = START
    rests = []
    for _ in range(8):
        rests.append(circuit.until - now)
        now = circuit.until
        assert circuit.admit(now)
        assert circuit.fail(now, now, Verdict.COUNTS, RULES)
    assert rests == [10, 20, 40, 80, 160, 300, 300, 300]
    now = circuit.until
    assert circuit.admit(now)
    assert circuit.succeed(now, now)
    for _ in range(5):
        circuit.fail(now, now, Verdict.COUNTS, RULES)
    assert circuit.until - now == 10


def test_one_probe_at_a_time() -> None:
    circuit = opened()
    now = circuit.until
    assert not circuit.is_resting(now)
    assert circuit.admit(now)
    assert circuit.is_resting(now)
    assert not circuit.admit(now + 1)
    # The client of the probe hung up.
    assert circuit.abandon(now)
    assert circuit.admit(now + 1)
    assert not circuit.admit(now + 2)
    # Nothing was ever heard of that one.
    assert circuit.admit(now + 1 + PROBE_SECONDS)


def test_what_began_before_the_rest_neither_ends_it_nor_begins_another() -> None:
    circuit = opened()
    assert not circuit.succeed(START + 1, START - 5)
    assert circuit.state(START + 1) is State.OPEN
    half_open = circuit.until + 1
    assert not circuit.fail(half_open, START - 5, Verdict.COUNTS, RULES)
    assert circuit.state(half_open) is State.HALF_OPEN
    assert circuit.succeed(half_open + 1, half_open)
    for _ in range(5):
        circuit.fail(half_open + 2, START - 5, Verdict.KEY_REFUSED, RULES)
    assert circuit.is_closed


def test_tried_for_want_of_anything_better_an_answer_closes_it_and_failures_do_not_prolong_it() -> None:
    circuit = opened()
    until = circuit.until
    for _ in range(50):
        assert not circuit.fail(START + 1, START + 1, Verdict.COUNTS, RULES)
    assert circuit.until == until
    assert circuit.succeed(START + 2, START + 1)
    assert circuit.is_closed


def test_attempts_of_the_rest_that_fail_after_it_are_one_failed_probe_together() -> None:
    circuit = opened()
    late = circuit.until + 1
    assert circuit.fail(late, START + 1, Verdict.COUNTS, RULES)
    assert not circuit.fail(late, START + 2, Verdict.COUNTS, RULES)
    assert circuit.until == late + 20


def test_nothing_ever_rests_where_it_is_switched_off() -> None:
    circuit = Circuit()
    for verdict in BAD * 100:
        assert not circuit.fail(START, START, verdict, Rules(after=0), retry_after=60.0)
    assert circuit.admit(START)


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens, in whatever order, and however late it is heard of."""

    @initialize(
        after=st.integers(1, 6), seconds=st.sampled_from([0.05, 1.0, 10.0]), times=st.sampled_from([1, 4, 30])
    )
    def begin(self, after: int, seconds: float, times: int) -> None:
        self.rules = Rules(after=after, seconds=seconds, maximum=seconds * times)
        self.circuit = Circuit()
        self.now = START
        self.begun: list[float] = []
        self.probes: list[float] = []

    @rule(seconds=st.floats(0.0, 100.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def send(self) -> None:
        state = self.circuit.state(self.now)
        if self.circuit.admit(self.now):
            assert state is not State.OPEN
            if state is State.HALF_OPEN:
                assert all(self.now - at >= PROBE_SECONDS for at in self.probes)
                self.probes.append(self.now)
        else:
            assert state is not State.CLOSED
        # Admitted or not: where nothing else is left, it is tried all the same.
        self.begun.append(self.now)

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        began = self._take(data)
        was = self.circuit.state(self.now)
        closed = self.circuit.succeed(self.now, began)
        assert closed == (was is not State.CLOSED and began >= self.circuit.opened_at)
        if closed:
            self.probes = []

    @precondition(lambda self: self.begun)
    @rule(
        data=st.data(),
        verdict=st.sampled_from(BAD),
        retry_after=st.none() | st.floats(0, 1000),
        jitter=st.floats(0, 1),
    )
    def fail(self, data: st.DataObject, verdict: Verdict, retry_after: float | None, jitter: float) -> None:
        began = self._take(data)
        was, streak, until = self.circuit.state(self.now), self.circuit.streak, self.circuit.until
        has_opened = self.circuit.fail(
            self.now, began, verdict, self.rules, retry_after=retry_after, jitter=jitter
        )
        if has_opened:
            assert was is not State.OPEN
            assert self.circuit.streak == (streak + 1 if was is State.HALF_OPEN else 0)
            assert self.circuit.state(self.now) is State.OPEN
            self.probes = []
        elif was is State.OPEN:
            assert self.circuit.until >= until

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        if self.circuit.abandon(self._take(data)):
            self.probes = []

    @rule()
    def end_rest(self) -> None:
        was = self.circuit.state(self.now)
        self.circuit.end_rest(self.now)
        assert self.circuit.state(self.now) is (State.CLOSED if was is State.CLOSED else State.HALF_OPEN)

    @invariant()
    def a_rest_is_bounded(self) -> None:
        if not self.circuit.is_closed:
            rest = self.circuit.until - self.circuit.opened_at
            assert rest <= self.rules.maximum or math.isclose(rest, self.rules.maximum)

    @invariant()
    def it_is_never_shut_for_good(self) -> None:
        later = max(self.now, self.circuit.until) + PROBE_SECONDS + 0.001
        assert not self.circuit.is_resting(later)

    def _take(self, data: st.DataObject) -> float:
        return self.begun.pop(data.draw(st.integers(0, len(self.begun) - 1)))


TestAnyHistory = AnyHistory.TestCase
