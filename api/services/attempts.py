"""What to try next after a failure, and when to stop. PURE.

A candidate is a deployment with one of its provider's keys. Trouble with a key (refused,
used up, limited) moves on to the next key; any other trouble moves on to the next
deployment. What the client did wrong is tried nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from api.services.translation.failures import Failure, FailureKind
from routing.domain.table import CredentialRow, DeploymentRow

_KEY_TROUBLE: Final = frozenset(
    {
        FailureKind.UPSTREAM_AUTHENTICATION,
        FailureKind.UPSTREAM_PERMISSION,
        FailureKind.UPSTREAM_RATE_LIMITED,
        FailureKind.UPSTREAM_QUOTA,
    }
)
# The client's patience is over, wherever one would ask next.
_FINAL: Final = frozenset({FailureKind.UPSTREAM_TOTAL_TIMEOUT})


@dataclass(frozen=True, slots=True)
class Candidate:
    """`credential` is None where the provider needs none, or has none."""

    deployment: DeploymentRow
    credential: CredentialRow | None


def list_candidates(deployments: Sequence[DeploymentRow], turn: int) -> list[Candidate]:
    """Every deployment with every key of its provider, in the order in which they are tried.

    `turn` shifts the keys, so that requests in a row start with different ones. A
    provider that lacks the key it needs is passed over, unless all do: then the first
    stays, and sending says what is missing.
    """
    candidates: list[Candidate] = []
    for deployment in deployments:
        keys = deployment.provider.credentials
        if keys:
            first = turn % len(keys)
            candidates += [Candidate(deployment, key) for key in (*keys[first:], *keys[:first])]
        elif not deployment.provider.requires_key:
            candidates.append(Candidate(deployment, None))
    return candidates or [Candidate(deployment, None) for deployment in deployments[:1]]


def next_candidate(candidates: Sequence[Candidate], tried: int, failure: Failure) -> int | None:
    """The place of the candidate to try after the one at `tried` failed; None: the failure stands."""
    if not is_worth_another(failure):
        return None
    failed = candidates[tried].deployment
    for place in range(tried + 1, len(candidates)):
        if failure.kind in _KEY_TROUBLE or candidates[place].deployment is not failed:
            return place
    return None


def is_worth_another(failure: Failure) -> bool:
    """Whether another upstream, or another key, may do better."""
    if failure.kind in _FINAL:
        return False
    # An id that the upstream no longer serves says nothing of the other deployments.
    is_retired = failure.kind is FailureKind.MODEL_NOT_FOUND and failure.upstream_status == 404
    return failure.spec.is_retryable or is_retired
