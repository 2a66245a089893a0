"""The retry budget against the plain rule: at most a tenth of the last ten seconds' requests, three at least."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.services.retry_budget import LEAST, SECONDS, SHARE, RetryBudget, RetryBudgets

steps = st.lists(
    st.tuples(st.floats(0, 4), st.sampled_from(["request", "requests", "retry"])), min_size=1, max_size=80
)


@given(steps)
def test_the_ring_counts_as_a_list_would(steps: list[tuple[float, str]]) -> None:
    budget = RetryBudget()
    requests: list[int] = []
    retries: list[int] = []
    now = 1000.0
    for passed, what in steps:
        now += passed
        if what != "retry":
            for _ in range(1 if what == "request" else 50):
                budget.count_request(now)
                requests.append(int(now))
            continue
        recent = [second for second in requests if second > int(now) - SECONDS]
        spent = [second for second in retries if second > int(now) - SECONDS]
        allowed = len(spent) < max(LEAST, int(len(recent) * SHARE))
        assert budget.take(now) is allowed
        if allowed:
            retries.append(int(now))


def test_a_quiet_worker_has_three_and_gets_them_back() -> None:
    budget = RetryBudget()
    assert [budget.take(50.0) for _ in range(4)] == [True, True, True, False]
    assert not budget.take(59.9)
    assert [budget.take(60.0) for _ in range(4)] == [True, True, True, False]


def test_a_busy_worker_has_a_tenth() -> None:
    budget = RetryBudget()
    for _ in range(200):
        budget.count_request(7.5)
    assert [budget.take(8.0) for _ in range(21)] == [True] * 20 + [False]


def test_a_request_that_took_its_time_to_arrive_counts_now() -> None:
    budget = RetryBudget()
    budget.count_request(100.0)
    for _ in range(100):
        budget.count_request(3.0)
    assert [budget.take(100.0) for _ in range(11)] == [True] * 10 + [False]


def test_what_one_model_uses_up_another_has_left() -> None:
    budgets = RetryBudgets()
    while budgets.of("down").take(0):
        pass
    assert budgets.of("well").take(0)
    assert not budgets.of("down").take(0)
