"""What a failure means for the attempts that follow, and what the client is told in the end. PURE.

A candidate is a deployment with one of its provider's keys. Trouble with a key (refused,
used up, limited) moves on to the next key; any other trouble moves on to the next
deployment. What the client did wrong is tried nowhere else.

The order of the attempts is `course.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, TypeAlias

from api.services.translation.failures import Failure, FailureKind
from routing.domain.table import CredentialRow, DeploymentRow, FallbackReason

_KEY_TROUBLE: Final = frozenset(
    {
        FailureKind.UPSTREAM_AUTHENTICATION,
        FailureKind.UPSTREAM_PERMISSION,
        FailureKind.UPSTREAM_RATE_LIMITED,
        FailureKind.UPSTREAM_QUOTA,
    }
)
# Said before anything was sent: this provider's protocol has no word for what the client
# asked. Another deployment of the same model may speak another one.
_UNSPEAKABLE: Final = frozenset({FailureKind.UNSUPPORTED_VALUE, FailureKind.UNSUPPORTED_PARAMETER})
# The same candidate may do better a moment later. Not so where an operator has to act
# first, and not after two minutes without a sign of an answer: a reply that takes longer
# than that to make takes as long the second time, and is paid for twice.
_PASSING: Final = frozenset(
    {
        FailureKind.CONFLICT,
        FailureKind.UPSTREAM_RATE_LIMITED,
        FailureKind.UPSTREAM_OVERLOADED,
        FailureKind.UPSTREAM_ERROR,
        FailureKind.UPSTREAM_UNAVAILABLE,
        FailureKind.UPSTREAM_INVALID_RESPONSE,
        FailureKind.UPSTREAM_STREAM_INTERRUPTED,
        FailureKind.UPSTREAM_TIMEOUT,
        FailureKind.UPSTREAM_CONNECT_TIMEOUT,
        FailureKind.UPSTREAM_FIRST_TOKEN_TIMEOUT,
        FailureKind.UPSTREAM_IDLE_TIMEOUT,
    }
)


CandidateKey: TypeAlias = tuple[int, str | None]
"""A deployment's id and a credential's."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """`credential` is None where the provider needs none, or has none.

    `key` tells candidates apart, across configurations and processes; `name` is for
    people: provider and upstream id.
    """

    deployment: DeploymentRow
    credential: CredentialRow | None
    key: CandidateKey = field(init=False, compare=False)
    name: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        deployment, credential = self.deployment, self.credential
        key = (deployment.id, credential.id if credential is not None else None)
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "name", f"{deployment.provider.name}/{deployment.upstream_id}")


_MOST: Final = 4096
# By deployment id: rows never change, and a new configuration brings new ones.
_candidates: dict[int, tuple[Candidate, ...]] = {}


def candidates_of(deployment: DeploymentRow) -> tuple[Candidate, ...]:
    """One for each key of its provider; where it has none, one without. Worked out once for each row."""
    known = _candidates.get(deployment.id)
    if known is not None and known[0].deployment is deployment:
        return known
    if len(_candidates) >= _MOST:
        _candidates.clear()
    keys = deployment.provider.credentials or (None,)
    found = _candidates[deployment.id] = tuple([Candidate(deployment, key) for key in keys])
    return found


def list_candidates(deployments: Sequence[DeploymentRow], turn: int) -> tuple[Candidate, ...]:
    """Every deployment with every key of its provider, in the order in which they are tried.

    `turn` shifts the keys, so that requests in a row start with different ones. A
    provider that lacks the key it needs is passed over, unless all do: then the first
    stays, and sending says what is missing.
    """
    if len(deployments) == 1:
        return _shifted(candidates_of(deployments[0]), turn)
    candidates: list[Candidate] = []
    for deployment in deployments:
        if deployment.provider.is_configured:
            candidates += _shifted(candidates_of(deployment), turn)
    return tuple(candidates or [candidates_of(deployment)[0] for deployment in deployments[:1]])


def _shifted(candidates: tuple[Candidate, ...], turn: int) -> tuple[Candidate, ...]:
    if len(candidates) == 1:
        return candidates
    first = turn % len(candidates)
    return candidates[first:] + candidates[:first]


def is_key_trouble(failure: Failure) -> bool:
    """Whether another key of the same provider may do better at the same deployment."""
    return failure.kind in _KEY_TROUBLE


def is_unspeakable(failure: Failure) -> bool:
    """Whether only this deployment's protocol is in the way of the request."""
    return failure.kind in _UNSPEAKABLE and failure.upstream_status is None


def is_passing(failure: Failure) -> bool:
    """Whether the same candidate may do better a moment later. An upstream that says no is believed."""
    return failure.kind in _PASSING and failure.should_retry is not False


def reason_of(failure: Failure) -> FallbackReason | None:
    """Which of a model's fallbacks it leads to; None: to none, it is about the client's request.

    None too for what is unspeakable: a fallback is for a model that cannot answer, not
    for a request that it never could.
    """
    if failure.kind is FailureKind.CONTEXT_LENGTH_EXCEEDED:
        return FallbackReason.CONTEXT_OVERFLOW
    if failure.kind is FailureKind.CONTENT_REFUSED:
        return FallbackReason.REFUSAL
    # Neither a 404 (an id or an address that the upstream does not know) nor what the
    # operator left out says anything of the other deployments.
    is_ours = failure.upstream_status == 404 or failure.kind is FailureKind.PROVIDER_NOT_CONFIGURED
    return FallbackReason.FAILURE if failure.spec.is_retryable or is_ours else None


class _Worth(IntEnum):
    """How much a failure helps the client that is told of it, when several could be told."""

    CONFIGURATION = 0
    ACCOUNT = 1
    TROUBLE = 2
    LIMIT = 3


def _worth(failure: Failure) -> _Worth:
    if failure.kind is FailureKind.UPSTREAM_RATE_LIMITED:
        return _Worth.LIMIT
    if failure.kind in _KEY_TROUBLE:
        return _Worth.ACCOUNT
    return _Worth.TROUBLE if failure.spec.is_retryable else _Worth.CONFIGURATION


def most_useful(own: Sequence[Failure], others: Sequence[Failure]) -> Failure:
    """The failure that the client is told, of all that there were; `own` are those of the model it asked for.

    A rate limit goes first, the one that ends soonest: it says when to come back. Then
    whatever may pass by itself, the latest of it. What only the operator can mend comes
    last, and what a fallback said counts only beside that.

    Each sequence is in the order in which things happened, and one at least is not empty.
    """
    best = _best(own) if own else None
    if best is None or (_worth(best) is _Worth.CONFIGURATION and others):
        other = _best(others)
        if best is None or _worth(other) > _worth(best):
            return other
    return best


def _best(failures: Sequence[Failure]) -> Failure:
    best = failures[0]
    for failure in failures[1:]:
        if _is_better(failure, best):
            best = failure
    return best


def _is_better(failure: Failure, best: Failure) -> bool:
    worth, bar = _worth(failure), _worth(best)
    if worth is bar is _Worth.LIMIT:
        return best.retry_after is None or (
            failure.retry_after is not None and failure.retry_after <= best.retry_after
        )
    return worth >= bar
