"""The order in which deployments are tried."""

from __future__ import annotations

import itertools
from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from routing.domain.plan import is_usable, order_candidates
from routing.domain.table import DeploymentRow, ModelRow, ProviderRow

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
