"""One candidate's circuit, with what it is called, and what of it others may see."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from api.services.attempts import Candidate, CandidateKey
from api.services.cooldowns.circuit import Circuit, State
from api.services.cooldowns.verdicts import Reason
from routing.domain.table import DeploymentRow, RoutingTable


def find_rows(table: RoutingTable, asked: Container[int]) -> dict[int, DeploymentRow]:
    """The deployments with these ids that are still there."""
    return {row.id: row for model in table.models for row in model.deployments if row.id in asked}


def has_key(row: DeploymentRow, credential_id: str | None) -> bool:
    return credential_id is None or any(key.id == credential_id for key in row.provider.credentials)


@dataclass(frozen=True, slots=True)
class Names:
    """What a circuit is called in logs, in the admin and in metrics. No part of it is secret."""

    provider: str
    upstream_id: str
    credential: str | None

    def __str__(self) -> str:
        return f"{self.provider}/{self.upstream_id}"


def names_of(candidate: Candidate) -> Names:
    deployment, credential = candidate.deployment, candidate.credential
    label = credential.label if credential is not None else None
    return Names(deployment.provider.name, deployment.upstream_id, label)


class CandidateCircuit(Circuit):
    """The circuit of one candidate.

    `resets` is the deployment's counter as last seen. `episode` names the rest to other
    processes. `failure` is the kind of the failure that began it. `used_at` is when a
    request last told of it, `kept_at` when anything else did.
    """

    __slots__ = (
        "_opened_wall",
        "_until_wall",
        "episode",
        "failure",
        "kept_at",
        "key",
        "names",
        "resets",
        "used_at",
    )

    def __init__(self, key: CandidateKey, names: Names, resets: int) -> None:
        super().__init__()
        self.key = key
        self.names = names
        self.resets = resets
        self.episode = ""
        self.failure: str | None = None
        self.used_at = self.kept_at = float("-inf")
        self._opened_wall = self._until_wall = datetime.fromtimestamp(0, UTC)

    def note_times(self, now: float) -> None:
        """Take down the time of day of the rest's bounds, for people to read: nothing is decided by it."""
        wall = datetime.now(UTC)
        self._opened_wall = wall - timedelta(seconds=now - self.opened_at)
        self._until_wall = wall + timedelta(seconds=self.until - now)

    def seen(self, now: float) -> OpenCircuit:
        return OpenCircuit(
            deployment_id=self.key[0],
            names=self.names,
            state=self.state(now),
            reason=self.reason,
            failure=self.failure,
            opened_at=self._opened_wall,
            until=self._until_wall,
        )

    def log_fields(self) -> dict[str, Any]:
        fields = {
            "deployment": str(self.names),
            "credential": self.names.credential,
            "reason": self.reason.value,
            "failure": self.failure,
        }
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """A circuit that is not closed, for metrics and the admin."""

    deployment_id: int
    names: Names
    state: State
    reason: Reason
    failure: str | None
    opened_at: datetime
    until: datetime

    def describe(self) -> dict[str, Any]:
        """The same for a JSON column; times are ISO 8601 in UTC."""
        return {
            "deployment": self.deployment_id,
            "provider": self.names.provider,
            "upstream_id": self.names.upstream_id,
            "credential": self.names.credential,
            "reason": self.reason.value,
            "failure": self.failure,
            "state": self.state.value,
            "opened_at": self.opened_at.isoformat(timespec="seconds"),
            "until": self.until.isoformat(timespec="seconds"),
        }


class Board(Protocol):
    """Where other processes are told. Nothing here waits."""

    def post_rest(self, circuit: CandidateCircuit, *, is_shorter: bool = False) -> None:
        """A rest began, or ends at another time than was told before."""
        ...

    def post_state(self, circuit: CandidateCircuit) -> None:
        """It closed or was forgotten, or its probe began or ended."""
        ...
