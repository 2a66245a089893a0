"""The circuits of this process: one for each deployment and key that was asked lately.

Everything here happens on the event loop, without a wait and without a lock; only
`follow`, `describe` and `open_circuits` may be called from other threads. Owns which
circuits there are, what is said when one opens or closes, and how fast deployments
answer. When one opens is decided in circuit.py.
"""

from __future__ import annotations

import logging
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, Protocol

from api.services.attempts import Candidate
from api.services.cooldowns.circuit import Circuit, Rules, State
from api.services.cooldowns.verdicts import Reason, Verdict, judge
from api.services.translation.failures import Failure
from routing.domain.table import DeploymentRow, RoutingTable

logger = logging.getLogger("patchbay.cooldowns")

_LATENCY_SHARE: Final = 0.2
"""How much the newest answer weighs in a deployment's moving average."""

_SWEEP_SECONDS: Final = 60.0
_UNUSED_SECONDS: Final = 600.0
"""A circuit that nobody needed for so long is forgotten, and its deployment's latency with it."""

Key = tuple[int, str | None]
"""A deployment's id and a credential's."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a circuit is called in logs, in the admin and in metrics. No part of it is secret."""

    provider: str
    upstream_id: str
    credential: str | None

    def __str__(self) -> str:
        return f"{self.provider}/{self.upstream_id}"


class CandidateCircuit(Circuit):
    """The circuit of one candidate. `resets` is the deployment's counter as it stood at the last verdict."""

    __slots__ = ("failure", "key", "names", "opened_wall", "resets", "until_wall", "used_at")

    def __init__(self, key: Key, names: Names, resets: int) -> None:
        super().__init__()
        self.key = key
        self.names = names
        self.resets = resets
        self.failure: str | None = None
        self.used_at = 0.0
        # For people to read: no decision depends on the time of day.
        self.opened_wall = self.until_wall = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """A circuit that is not closed, for metrics and the admin. `failure` is the kind of the last one."""

    deployment_id: int
    names: Names
    state: State
    reason: Reason
    failure: str | None
    opened_at: datetime
    until: datetime


class Board(Protocol):
    """Who else is told. Nothing here waits."""

    def opened(self, circuit: CandidateCircuit, seconds: float) -> None: ...

    def closed(self, circuit: CandidateCircuit) -> None: ...

    def reset(self, keys: Sequence[Key]) -> None: ...


class Cooldowns:
    """Which candidates rest.

    An attempt ends with exactly one of `succeed`, `fail` and `abandon`. `began` is always
    the `time.perf_counter()` of its start.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        loop: AbstractEventLoop | None = None,
        clock: Callable[[], float] = time.perf_counter,
        rng: Random | None = None,
    ) -> None:
        self.openings: Final[dict[Reason, int]] = dict.fromkeys(Reason, 0)
        """How many rests began in this process since it started, longer ones after a probe included."""
        self.board: Board | None = None
        self._rules = rules
        self._loop = loop
        self._clock = clock
        self._rng = rng or Random()
        self._circuits: dict[Key, CandidateCircuit] = {}
        # Those that are not closed: nearly always none, and then nobody has to look further.
        self._troubled: dict[Key, CandidateCircuit] = {}
        self._latencies: dict[int, float] = {}
        self._next_sweep = clock() + _SWEEP_SECONDS

    @property
    def rules(self) -> Rules:
        return self._rules

    # Before an attempt.

    @property
    def is_any_resting(self) -> bool:
        """False: no candidate of any model rests, and none has to be asked about."""
        return bool(self._troubled)

    def is_resting(self, candidate: Candidate) -> bool:
        """Whether another candidate had better go first. Changes nothing."""
        if not self._troubled:
            return False
        circuit = self._find_troubled(candidate)
        return circuit is not None and circuit.is_resting(self._clock())

    def order(self, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The same candidates, those that rest last; as they are where none rests."""
        if not self._troubled:
            return candidates
        resting = [candidate for candidate in candidates if self.is_resting(candidate)]
        if not resting:
            return candidates
        return [candidate for candidate in candidates if candidate not in resting] + resting

    def admit(self, candidate: Candidate) -> bool:
        """Whether to send to `candidate` now: False while it rests, or while its probe is under way.

        After a rest one request hears True and is the probe. Whoever has no other
        candidate left sends all the same: what comes of it counts.
        """
        if not self._troubled:
            return True
        circuit = self._find_troubled(candidate)
        return circuit is None or circuit.admit(self._clock())

    # After an attempt.

    def succeed(self, candidate: Candidate, seconds: float, *, began: float | None = None) -> None:
        """The attempt was answered, a stream to its end. `seconds` passed until its first output.

        Without `began` the attempt began `seconds` ago, which is right for whole replies.
        """
        deployment = candidate.deployment
        latencies = self._latencies
        known = latencies.get(deployment.id)
        latencies[deployment.id] = seconds if known is None else known + (seconds - known) * _LATENCY_SHARE
        if not self._rules.after:
            return
        now = self._clock()
        circuit = self._circuit(candidate)
        circuit.used_at = now
        if circuit.succeed(now, now - seconds if began is None else began):
            self._note_closed(circuit, "It answers again")
        if now >= self._next_sweep:
            self._sweep(now)

    def fail(self, candidate: Candidate, failure: Failure, *, began: float | None = None) -> None:
        """The attempt ended with `failure`, before its first output or later.

        What the client is to blame for changes nothing, so any failure may be reported.
        But where an attempt was given less time than its deployment's own, because the
        request's deadline was near, running out of it is no failure of the upstream:
        `abandon` it. Without `began`, the attempt is taken to have begun just now.
        """
        if not self._rules.after:
            return
        verdict = judge(failure)
        now = self._clock()
        if began is None:
            began = now
        circuit = self._circuits.get(_key_of(candidate)) if verdict is Verdict.NOTHING else None
        if circuit is None:
            if verdict is Verdict.NOTHING:
                return
            circuit = self._circuit(candidate)
        circuit.used_at = now
        is_longer = not circuit.is_closed
        until = circuit.until
        circuit.resets = max(circuit.resets, candidate.deployment.cooldown_resets)
        if circuit.fail(
            now,
            began,
            verdict,
            self._rules,
            retry_after=failure.retry_after,
            jitter=self._rng.random() if verdict is not Verdict.NOTHING else 0.0,
        ):
            circuit.failure = failure.kind.value
            self._note_opened(circuit, is_longer=is_longer)
        elif is_longer and circuit.until != until:
            self._set_wall(circuit, now)
            if self.board is not None:
                self.board.opened(circuit, circuit.until - now)

    def abandon(self, candidate: Candidate, *, began: float | None = None) -> None:
        """The attempt ended without a verdict: the client hung up, or its deadline came first."""
        if not self._troubled:
            return
        circuit = self._troubled.get(_key_of(candidate))
        if circuit is not None:
            circuit.abandon(self._clock() if began is None else began)

    def latencies(self) -> Mapping[int, float]:
        """Deployment id → seconds until the first output, a moving average. Live: do not keep it."""
        return self._latencies

    # For operators.

    def open_circuits(self) -> list[OpenCircuit]:
        """Those that are not closed. Any thread may ask."""
        now = self._clock()
        return [
            OpenCircuit(
                deployment_id=circuit.key[0],
                names=circuit.names,
                state=circuit.state(now),
                reason=circuit.reason,
                failure=circuit.failure,
                opened_at=circuit.opened_wall,
                until=circuit.until_wall,
            )
            for circuit in list(self._troubled.values())
            if not circuit.is_closed
        ]

    def describe(self) -> list[dict[str, Any]]:
        """`open_circuits` for a JSON column; times are ISO 8601 in UTC. The same until something happens."""
        return [
            {
                "deployment": circuit.deployment_id,
                "provider": circuit.names.provider,
                "upstream_id": circuit.names.upstream_id,
                "credential": circuit.names.credential,
                "reason": circuit.reason.value,
                "failure": circuit.failure,
                "state": circuit.state.value,
                "opened_at": circuit.opened_at.isoformat(timespec="seconds"),
                "until": circuit.until.isoformat(timespec="seconds"),
            }
            for circuit in self.open_circuits()
        ]

    def follow(self, table: RoutingTable) -> None:
        """Take note of a new configuration: for `lookup.subscribe`, in whatever thread that calls.

        Circuits whose deployment or key is gone, and those that an operator closed, end now.
        """
        asked = {key[0] for key in list(self._troubled)}
        if not asked:
            return
        rows = {
            deployment.id: deployment
            for model in table.models
            for deployment in model.deployments
            if deployment.id in asked
        }
        if self._loop is None:
            self.compare(rows)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.compare, rows)

    def compare(self, rows: Mapping[int, DeploymentRow]) -> None:
        """Compare the troubled circuits with the rows of their deployments."""
        for key, circuit in list(self._troubled.items()):
            row = rows.get(key[0])
            if row is None or not _has_key(row, key[1]):
                self._forget(circuit)
            elif row.cooldown_resets > circuit.resets:
                self._reset(circuit, row.cooldown_resets)

    # What other processes found.

    def find(self, key: Key) -> CandidateCircuit | None:
        return self._circuits.get(key)

    def troubled(self) -> list[CandidateCircuit]:
        return list(self._troubled.values())

    def adopt(
        self,
        key: Key,
        names: Names,
        *,
        resets: int,
        seconds: float,
        reason: Reason,
        failure: str | None,
        streak: int,
        episode: str,
    ) -> None:
        """Another process began a rest that goes on for `seconds` (0: it is over, and a probe is wanted)."""
        if not self._rules.after:
            return
        circuit = self._circuits.get(key)
        if circuit is None:
            circuit = self._circuits[key] = CandidateCircuit(key, names, resets)
        now = self._clock()
        circuit.open(now, seconds, reason, streak)
        circuit.used_at = now
        circuit.resets = max(circuit.resets, resets)
        circuit.failure = failure
        circuit.episode = episode
        self._troubled[key] = circuit
        self._set_wall(circuit, now)
        logger.debug("%s: rests too, as another worker found.", circuit.names)

    def close(self, circuit: CandidateCircuit) -> None:
        """Another process closed it."""
        circuit.close(self._clock())
        self._troubled.pop(circuit.key, None)
        logger.debug("%s: serves again, as another worker found.", circuit.names)

    # Within.

    def _circuit(self, candidate: Candidate) -> CandidateCircuit:
        deployment, credential = candidate.deployment, candidate.credential
        key = (deployment.id, credential.id if credential is not None else None)
        circuit = self._circuits.get(key)
        if circuit is None:
            names = Names(
                deployment.provider.name,
                deployment.upstream_id,
                credential.label if credential is not None else None,
            )
            circuit = self._circuits[key] = CandidateCircuit(key, names, deployment.cooldown_resets)
        return circuit

    def _find_troubled(self, candidate: Candidate) -> CandidateCircuit | None:
        circuit = self._troubled.get(_key_of(candidate))
        if circuit is not None and candidate.deployment.cooldown_resets > circuit.resets:
            self._reset(circuit, candidate.deployment.cooldown_resets)
            return None
        return circuit

    def _reset(self, circuit: CandidateCircuit, resets: int) -> None:
        circuit.resets = resets
        circuit.close(self._clock())
        self._note_closed(circuit, "An operator ended it")
        if self.board is not None:
            self.board.reset([circuit.key])

    def _forget(self, circuit: CandidateCircuit) -> None:
        circuit.close(self._clock())
        self._circuits.pop(circuit.key, None)
        self._troubled.pop(circuit.key, None)

    def _note_opened(self, circuit: CandidateCircuit, *, is_longer: bool) -> None:
        now = self._clock()
        self._troubled[circuit.key] = circuit
        self._set_wall(circuit, now)
        self.openings[circuit.reason] += 1
        seconds = circuit.until - now
        logger.log(
            logging.INFO if is_longer else logging.WARNING,
            "%s rests on: a probe failed." if is_longer else "%s rests: other candidates go first.",
            circuit.names,
            extra={"fields": _log_fields(circuit) | {"seconds": round(seconds, 1)}},
        )
        if self.board is not None:
            self.board.opened(circuit, seconds)

    def _note_closed(self, circuit: CandidateCircuit, why: str) -> None:
        self._troubled.pop(circuit.key, None)
        logger.info("%s serves again. %s.", circuit.names, why, extra={"fields": _log_fields(circuit)})
        if self.board is not None:
            self.board.closed(circuit)

    def _set_wall(self, circuit: CandidateCircuit, now: float) -> None:
        wall = datetime.now(UTC)
        circuit.opened_wall = wall - timedelta(seconds=now - circuit.opened_at)
        circuit.until_wall = wall + timedelta(seconds=circuit.until - now)

    def _sweep(self, now: float) -> None:
        """Forget what nobody needs any more, so that memory follows the traffic and not the history."""
        self._next_sweep = now + _SWEEP_SECONDS
        for circuit in list(self._circuits.values()):
            if max(circuit.used_at, circuit.until) + _UNUSED_SECONDS < now:
                self._forget(circuit)
        used = {key[0] for key in self._circuits}
        for deployment_id in [known for known in self._latencies if known not in used]:
            del self._latencies[deployment_id]


def _key_of(candidate: Candidate) -> Key:
    credential = candidate.credential
    return candidate.deployment.id, credential.id if credential is not None else None


def _has_key(row: DeploymentRow, credential_id: str | None) -> bool:
    return credential_id is None or any(key.id == credential_id for key in row.provider.credentials)


def _log_fields(circuit: CandidateCircuit) -> dict[str, Any]:
    fields = {
        "deployment": str(circuit.names),
        "credential": circuit.names.credential,
        "reason": circuit.reason.value,
        "failure": circuit.failure,
    }
    return {name: value for name, value in fields.items() if value is not None}
