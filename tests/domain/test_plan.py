"""The order in which deployments are tried."""

from __future__ import annotations

import itertools
from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from routing.domain.plan import is_usable, order_candidates
from routing.domain.table import Balancing, DeploymentRow, ModelRow, ProviderRow

PROVIDERS = (
    ProviderRow(id=1, name="up", kind="openai"),
    ProviderRow(id=2, name="off", kind="openai", is_enabled=False),
)


def deployment(number: int, **fields: object) -> DeploymentRow:
    return DeploymentRow(id=number, upstream_id=f"m{number}", **({"provider": PROVIDERS[0]} | fields))  # type: ignore[arg-type]


deployments = st.lists(
    st.builds(
        deployment,
        st.integers(),
        provider=st.sampled_from(PROVIDERS),
        priority=st.integers(0, 3),
        weight=st.integers(0, 5),
        is_enabled=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda row: row.id,
)


@given(deployments, st.integers())
def test_a_plan_permutes_what_is_usable_and_keeps_priorities(rows: list[DeploymentRow], seed: int) -> None:
    model = ModelRow(id=1, public_id="m", deployments=tuple(rows))
    plan = order_candidates(model, Random(seed))
    assert sorted(row.id for row in plan) == sorted(row.id for row in rows if is_usable(row))
    assert [row.priority for row in plan] == sorted(row.priority for row in plan)
    for earlier, later in itertools.pairwise(plan):
        if earlier.priority == later.priority and earlier.weight == 0:
            assert later.weight == 0


def test_the_first_place_follows_the_weights() -> None:
    model = ModelRow(id=1, public_id="m", deployments=(deployment(1, weight=3), deployment(2, weight=1)))
    rng = Random(7)
    firsts = Counter(order_candidates(model, rng)[0].id for _ in range(4000))
    assert 0.72 < firsts[1] / 4000 < 0.78


def test_the_second_place_does_too() -> None:
    rows = (deployment(1, weight=100), deployment(2, weight=3), deployment(3, weight=1))
    rng = Random(11)
    seconds = Counter(
        plan[1].id
        for plan in (order_candidates(ModelRow(1, "m", deployments=rows), rng) for _ in range(4000))
        if plan[0].id == 1
    )
    assert 0.70 < seconds[2] / sum(seconds.values()) < 0.80


def test_one_deployment_that_is_off_is_no_candidate() -> None:
    for row in (deployment(1, is_enabled=False), deployment(1, provider=PROVIDERS[1])):
        assert order_candidates(ModelRow(1, "m", deployments=(row,)), Random(0)) == ()


latencies = st.dictionaries(st.integers(0, 9), st.floats(0, 1e9), max_size=8)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=8, unique=True), latencies, st.integers())
def test_latencies_change_the_order_and_nothing_else(
    numbers: list[int], measured: dict[int, float], seed: int
) -> None:
    rows = tuple(deployment(number, priority=number % 2, weight=number % 3) for number in numbers)
    model = ModelRow(1, "m", deployments=rows, balancing=Balancing.LATENCY)
    plan = order_candidates(model, Random(seed), measured)
    assert sorted(row.id for row in plan) == sorted(numbers)
    assert [(row.priority, row.weight == 0) for row in plan] == sorted(
        (row.priority, row.weight == 0) for row in rows
    )


def shares(
    measured: dict[int, float], *, balancing: Balancing = Balancing.LATENCY, **weights: int
) -> dict[int, float]:
    rows = tuple(deployment(number, weight=weights.get(f"w{number}", 1)) for number in (1, 2, 3))
    model = ModelRow(1, "m", deployments=rows, balancing=balancing)
    rng = Random(5)
    firsts = Counter(order_candidates(model, rng, measured)[0].id for _ in range(6000))
    return {number: 100 * count / 6000 for number, count in firsts.items()}


def test_the_faster_gets_more_and_none_gets_all() -> None:
    found = shares({1: 0.5, 2: 1.0, 3: 50.0})
    assert 85 <= found[1] <= 91  # 1 : 1/8 : 1/100
    assert 8 <= found[2] <= 14
    assert 0 < found[3] <= 2, "or nobody would notice that it is fast again"


def test_what_was_not_measured_gets_as_much_as_the_fastest() -> None:
    found = shares({1: 0.5, 2: 5.0})
    assert abs(found[1] - found[3]) <= 4
    assert found[2] <= 2


def test_weights_hold_where_latencies_are_alike() -> None:
    found = shares({1: 1.0, 2: 1.0, 3: 1.0}, w1=3)
    assert 56 <= found[1] <= 64


def test_a_model_that_does_not_ask_for_it_is_not_balanced_by_latency() -> None:
    found = shares({1: 0.1, 2: 9.0, 3: 9.0}, balancing=Balancing.WEIGHT)
    assert all(30 <= share <= 37 for share in found.values())
