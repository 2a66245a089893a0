"""The order of attempts, whatever fails: nothing twice, nothing left out that could have helped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services.attempts import Candidate, is_worth_another, list_candidates, next_candidate
from api.services.translation.failures import FAILURES, Failure, FailureKind
from routing.domain.table import CredentialRow, DeploymentRow, ProviderRow, Secret


def deployment(number: int, keys: int, requires_key: bool = True) -> DeploymentRow:
    credentials = tuple(
        CredentialRow(f"key:{number}-{k}", "", Secret(f"secret-{number}-{k}")) for k in range(keys)
    )
    provider = ProviderRow(
        id=number, name=f"p{number}", kind="openai", requires_key=requires_key, credentials=credentials
    )
    return DeploymentRow(id=number, provider=provider, upstream_id="m")


deployments = st.lists(st.integers(0, 3), min_size=1, max_size=5).map(
    lambda counts: [deployment(number, keys) for number, keys in enumerate(counts)]
)
kinds = st.sampled_from(list(FailureKind))


@given(deployments, st.integers(0, 1000))
def test_candidates_are_every_key_once_in_the_order_of_the_deployments(
    rows: list[DeploymentRow], turn: int
) -> None:
    candidates = list_candidates(rows, turn)
    usable = [row for row in rows if row.provider.credentials]
    if not usable:
        assert candidates == [Candidate(rows[0], None)]
        return
    assert list(dict.fromkeys(c.deployment for c in candidates)) == usable
    assert len(candidates) == sum(len(row.provider.credentials) for row in usable)
    assert len({c.credential.id for c in candidates if c.credential}) == len(candidates)


def test_a_server_that_needs_no_key_is_a_candidate_without_one() -> None:
    row = deployment(1, 0, requires_key=False)
    assert list_candidates([deployment(0, 0), row], 0) == [Candidate(row, None)]


@given(deployments, st.lists(kinds, max_size=20))
def test_attempts_only_go_forward_and_end(rows: list[DeploymentRow], failures: list[FailureKind]) -> None:
    candidates = list_candidates(rows, 0)
    place = 0
    for kind in failures:
        following = next_candidate(candidates, place, Failure(kind, "x"))
        if following is None:
            return
        assert place < following < len(candidates)
        place = following


@pytest.mark.parametrize("kind", list(FailureKind))
def test_only_what_another_upstream_may_mend_is_tried_again(kind: FailureKind) -> None:
    worth = is_worth_another(Failure(kind, "x"))
    expected = FAILURES[kind].is_retryable and kind is not FailureKind.UPSTREAM_TOTAL_TIMEOUT
    assert worth is expected
    if FAILURES[kind].status in {400, 401, 404, 413} and not kind.value.startswith("upstream"):
        assert not worth


def test_an_upstream_error_skips_the_other_keys_of_the_same_deployment() -> None:
    candidates = list_candidates([deployment(0, 3), deployment(1, 1)], 0)
    assert next_candidate(candidates, 0, Failure(FailureKind.UPSTREAM_OVERLOADED, "x")) == 3
    assert next_candidate(candidates, 0, Failure(FailureKind.UPSTREAM_RATE_LIMITED, "x")) == 1
