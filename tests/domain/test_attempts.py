"""What a failure leads to, and which of several the client is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services.attempts import (
    Candidate,
    is_passing,
    is_unspeakable,
    list_candidates,
    most_useful,
    reason_of,
)
from api.services.translation.failures import FAILURES, Failure, FailureKind
from routing.domain.table import CredentialRow, DeploymentRow, FallbackReason, ProviderRow, Secret

RATE_LIMITED = FailureKind.UPSTREAM_RATE_LIMITED


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


@given(deployments, st.integers(0, 1000))
def test_candidates_are_every_key_once_in_the_order_of_the_deployments(
    rows: list[DeploymentRow], turn: int
) -> None:
    candidates = list_candidates(rows, turn)
    usable = [row for row in rows if row.provider.credentials]
    if not usable:
        assert candidates == (Candidate(rows[0], None),)
        return
    assert list(dict.fromkeys(c.deployment for c in candidates)) == usable
    assert len(candidates) == sum(len(row.provider.credentials) for row in usable)
    assert len({c.credential.id for c in candidates if c.credential}) == len(candidates)


def test_a_server_that_needs_no_key_is_a_candidate_without_one() -> None:
    row = deployment(1, 0, requires_key=False)
    assert list_candidates([deployment(0, 0), row], 0) == (Candidate(row, None),)


def test_candidates_of_a_row_are_made_once_and_anew_for_another_row_of_the_same_id() -> None:
    row = deployment(1, 2)
    first = list_candidates([row], 0)
    assert [c.key for c in first] == [(1, "key:1-0"), (1, "key:1-1")]
    assert [id(c) for c in list_candidates([row], 1)] == [id(c) for c in reversed(first)]
    changed = deployment(1, 3)
    assert [c.key for c in list_candidates([changed], 0)] == [(1, f"key:1-{k}") for k in range(3)]
    assert list_candidates([changed], 0)[0].deployment is changed


@pytest.mark.parametrize("kind", list(FailureKind))
def test_only_what_another_upstream_may_mend_is_asked_of_one(kind: FailureKind) -> None:
    reason = reason_of(Failure(kind, "x"))
    if kind is FailureKind.CONTEXT_LENGTH_EXCEEDED:
        assert reason is FallbackReason.CONTEXT_OVERFLOW
    elif kind is FailureKind.CONTENT_REFUSED:
        assert reason is FallbackReason.REFUSAL
    elif FAILURES[kind].is_retryable or kind is FailureKind.PROVIDER_NOT_CONFIGURED:
        assert reason is FallbackReason.FAILURE
    else:
        assert reason is None


@pytest.mark.parametrize("kind", list(FailureKind))
def test_nothing_is_asked_twice_that_would_say_the_same_again(kind: FailureKind) -> None:
    failure = Failure(kind, "x")
    if is_passing(failure):
        assert reason_of(failure) is FallbackReason.FAILURE
        assert FAILURES[kind].should_retry is not False
        assert not is_passing(Failure(kind, "x", should_retry=False))


@pytest.mark.parametrize("kind", [FailureKind.MODEL_NOT_FOUND, FailureKind.NOT_FOUND])
def test_what_an_upstream_does_not_know_another_may(kind: FailureKind) -> None:
    assert reason_of(Failure(kind, "x", upstream_status=404)) is FallbackReason.FAILURE
    assert reason_of(Failure(kind, "x")) is None


def test_what_a_protocol_cannot_say_is_no_verdict_of_an_upstream() -> None:
    assert is_unspeakable(Failure(FailureKind.UNSUPPORTED_VALUE, "x"))
    assert not is_unspeakable(Failure(FailureKind.UNSUPPORTED_VALUE, "x", upstream_status=400))


@pytest.mark.parametrize(
    ("own", "others", "told"),
    [
        (["a:upstream_error", "b:upstream_unavailable"], [], "b"),
        (["a:upstream_rate_limited:7", "b:upstream_overloaded"], [], "a"),
        (["a:upstream_rate_limited:7", "b:upstream_rate_limited:3", "c:upstream_rate_limited:9"], [], "b"),
        (["a:upstream_rate_limited", "b:upstream_rate_limited:30"], [], "b"),
        (["a:upstream_error", "b:upstream_quota", "c:provider_not_configured"], [], "a"),
        (["a:upstream_authentication", "b:provider_not_configured"], [], "a"),
        (["a:upstream_error"], ["x:upstream_rate_limited:1"], "a"),
        (["a:provider_not_configured"], ["x:upstream_error", "y:upstream_rejected"], "x"),
        (["a:provider_not_configured"], ["x:provider_not_configured"], "a"),
        ([], ["x:provider_not_configured", "y:upstream_error"], "y"),
    ],
)
def test_the_client_is_told_what_helps_it_most(own: list[str], others: list[str], told: str) -> None:
    assert most_useful([_failure(text) for text in own], [_failure(text) for text in others]).message == told


def _failure(text: str) -> Failure:
    name, kind, *wait = text.split(":")
    return Failure(FailureKind(kind), name, retry_after=float(wait[0]) if wait else None)
