"""Candidates and failures to try cooldowns with, and a clock that stands still until a test moves it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from api.services.attempts import Candidate
from api.services.translation.failures import Failure, FailureKind
from routing.domain.table import CredentialRow, DeploymentRow, ModelRow, ProviderRow, RoutingTable, Secret

SECRET = "sk-very-secret"


@dataclass
class Clock:
    """Seconds, as `time.perf_counter` counts them."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def candidate(number: int = 1, key: int = 1, resets: int = 0) -> Candidate:
    credential = CredentialRow(f"key:{key}", f"label {key}", Secret(SECRET))
    provider = ProviderRow(id=1, name="openai", kind="openai", credentials=(credential,))
    return Candidate(
        DeploymentRow(id=number, provider=provider, upstream_id=f"model-{number}", cooldown_resets=resets),
        credential,
    )


def with_resets(known: Candidate, resets: int) -> Candidate:
    return Candidate(replace(known.deployment, cooldown_resets=resets), known.credential)


def table(*candidates: Candidate) -> RoutingTable:
    model = ModelRow(id=1, public_id="m", deployments=tuple(c.deployment for c in candidates))
    return RoutingTable(version=1, models=[model])


def failure(
    kind: FailureKind = FailureKind.UPSTREAM_UNAVAILABLE, retry_after: float | None = None
) -> Failure:
    return Failure(kind, "It did not work.", retry_after=retry_after)
