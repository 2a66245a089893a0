"""The circuits of this process: one for each deployment and key that was asked lately.

Everything here happens on the event loop, without a wait and without a lock; only
`follow`, `describe` and `open_circuits` may be called from other threads. Owns which
circuits there are, what is said when one opens or closes, and how fast deployments
answer. When one opens is decided in circuit.py.
"""

from __future__ import annotations

import logging
import math
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

from api.services.attempts import Candidate, CandidateKey
from api.services.cooldowns.candidates import (
    Board,
    CandidateCircuit,
    Names,
    OpenCircuit,
    find_rows,
    has_key,
    names_of,
)
from api.services.cooldowns.circuit import Rules
from api.services.cooldowns.verdicts import Reason, Verdict, judge
from api.services.translation.failures import Failure
from routing.domain.table import DeploymentRow, RoutingTable

logger = logging.getLogger("patchbay.cooldowns")

UNUSED_SECONDS: Final = 600.0
"""A circuit that nobody needed for so long is forgotten, and its deployment's latency with it."""

DESCRIBED_AT_MOST: Final = 200

_SWEEP_SECONDS: Final = 60.0
_LATENCY_SHARE: Final = 0.2
"""How much the newest answer weighs in a deployment's moving average."""


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
        self.rules: Final = rules
        self.clock: Final = clock
        self.openings: Final[dict[Reason, int]] = dict.fromkeys(Reason, 0)
        """How many rests began by what this process saw, longer ones after a probe included."""
        self.board: Board | None = None
        self._loop = loop
        self._rng = rng or Random()
        self._circuits: dict[CandidateKey, CandidateCircuit] = {}
        # Those that are not closed: nearly always none, and then nobody has to look further.
        self._troubled: dict[CandidateKey, CandidateCircuit] = {}
        self._latencies: dict[int, float] = {}
        self._next_sweep = clock() + _SWEEP_SECONDS

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
        return circuit is not None and circuit.is_resting(self.clock())

    def order(self, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The same candidates, those that rest last; the sequence itself where none rests."""
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
        if circuit is None:
            return True
        if not circuit.admit(self.clock()):
            return False
        if self.board is not None:
            self.board.post_state(circuit)
        return True

    # After an attempt.

    def succeed(self, candidate: Candidate, seconds: float, *, began: float | None = None) -> None:
        """The attempt was answered, a stream to its end. `seconds` passed until its first output.

        Without `began` the attempt began `seconds` ago, which is right for whole replies.
        """
        deployment = candidate.deployment
        latencies = self._latencies
        known = latencies.get(deployment.id)
        latencies[deployment.id] = seconds if known is None else known + (seconds - known) * _LATENCY_SHARE
        now = self.clock()
        circuit = self._circuits.get(candidate.key) or self._add(candidate)
        circuit.used_at = now
        if circuit.succeed(now, now - seconds if began is None else began):
            self._note_closed(circuit, "It answers again")
        if now >= self._next_sweep:
            self._sweep(now)

    def fail(
        self,
        candidate: Candidate,
        failure: Failure,
        *,
        began: float | None = None,
        is_check: bool = False,
    ) -> None:
        """The attempt ended with `failure`, before its first output or later.

        What the client is to blame for changes nothing, so any failure may be reported.
        But where an attempt was given less time than its deployment's own, because the
        request's deadline was near, running out of it is no failure of the upstream:
        `abandon` it. Without `began`, the attempt is taken to have begun just now.
        `is_check`: it was no request's.
        """
        verdict = judge(failure)
        if verdict is Verdict.NOTHING:
            self.abandon(candidate, began=began)
            return
        if not self.rules.after:
            return
        now = self.clock()
        circuit = self._circuits.get(candidate.key) or self._add(candidate)
        if is_check:
            circuit.kept_at = now
        else:
            circuit.used_at = now
        was_closed, until = circuit.is_closed, circuit.until
        if circuit.fail(
            now,
            now if began is None else began,
            verdict,
            self.rules,
            retry_after=failure.retry_after,
            jitter=self._rng.random(),
        ):
            circuit.failure = failure.kind.value
            circuit.resets = max(circuit.resets, candidate.deployment.cooldown_resets)
            self._note_rest(circuit, now, is_first=was_closed)
        elif not was_closed and circuit.until != until:
            self._tell_rest(circuit, now)

    def abandon(self, candidate: Candidate, *, began: float | None = None) -> None:
        """The attempt ended without a verdict: the client hung up, or its deadline came first."""
        circuit = self._troubled.get(candidate.key) if self._troubled else None
        if circuit is None or not circuit.abandon(self.clock() if began is None else began):
            return
        if self.board is not None:
            self.board.post_state(circuit)

    def latencies(self) -> Mapping[int, float]:
        """Deployment id → seconds until the first output, a moving average. Live: do not keep it."""
        return self._latencies

    # For operators.

    def open_circuits(self) -> list[OpenCircuit]:
        """Those that are not closed. Any thread may ask."""
        return self._see(len(self._troubled))

    def describe(self) -> list[dict[str, Any]]:
        """`open_circuits` for a JSON column. The same until something happens.

        It is asked for several times a second, so there are bounds: the oldest are told.
        """
        return [circuit.describe() for circuit in self._see(DESCRIBED_AT_MOST)]

    def follow(self, table: RoutingTable) -> None:
        """Take note of a new configuration: for `lookup.subscribe`, in whatever thread that calls.

        Circuits whose deployment or key is gone, and those that an operator closed, end now.
        """
        asked = {key[0] for key in list(self._troubled)}
        if not asked or self._loop is None or self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self.compare, asked, find_rows(table, asked))

    def compare(self, asked: set[int], rows: Mapping[int, DeploymentRow]) -> None:
        """Compare the troubled circuits of the deployments `asked` with the rows that there are of them."""
        for key, circuit in list(self._troubled.items()):
            if key[0] not in asked:
                continue
            row = rows.get(key[0])
            if row is None or not has_key(row, key[1]):
                self._forget(circuit)
                if self.board is not None:
                    self.board.post_state(circuit)
            elif row.cooldown_resets > circuit.resets:
                self._reset(circuit, row.cooldown_resets)

    # What others found: other processes, and health checks.

    def find(self, key: CandidateKey) -> CandidateCircuit | None:
        return self._circuits.get(key)

    def adopt(
        self,
        key: CandidateKey,
        names: Names,
        *,
        seconds: float,
        reason: Reason,
        failure: str | None,
        streak: int,
        resets: int,
        episode: str,
    ) -> CandidateCircuit:
        """Another process began a rest that goes on for `seconds`; 0: it is over, and a probe is wanted."""
        circuit = self._circuits.get(key)
        if circuit is None:
            circuit = self._circuits[key] = CandidateCircuit(key, names, resets)
        now = self.clock()
        circuit.open(now, seconds, reason, streak)
        circuit.kept_at = now
        circuit.resets = max(circuit.resets, resets)
        circuit.failure = failure
        circuit.episode = episode
        circuit.note_times(now)
        self._troubled[key] = circuit
        logger.debug("%s rests, as another worker found.", names, extra={"fields": circuit.log_fields()})
        return circuit

    def close(self, circuit: CandidateCircuit) -> None:
        """Another process closed it."""
        circuit.close(self.clock())
        self._troubled.pop(circuit.key, None)
        logger.debug(
            "%s serves again, as another worker found.",
            circuit.names,
            extra={"fields": circuit.log_fields()},
        )

    def is_troubled(self, candidate: Candidate) -> bool:
        """Whether its circuit is not closed."""
        return candidate.key in self._troubled

    def idle_seconds(self, candidate: Candidate) -> float:
        """Since a request last told of it; infinite where none did lately."""
        circuit = self._circuits.get(candidate.key)
        return math.inf if circuit is None else self.clock() - circuit.used_at

    def note_check(self, candidate: Candidate, *, is_key_good: bool) -> None:
        """The upstream is there: let the next request probe, though the rest is not over.

        Not where the upstream is there and said itself why it does not serve this key.
        """
        circuit = self._troubled.get(candidate.key)
        if circuit is None or circuit.reason in (Reason.RATE_LIMITED, Reason.QUOTA):
            return
        now = self.clock()
        if now >= circuit.until or (circuit.reason is Reason.KEY_REFUSED and not is_key_good):
            return
        circuit.end_rest(now)
        circuit.note_times(now)
        if self.board is not None:
            self.board.post_rest(circuit, is_shorter=True)

    # Within.

    def _see(self, most: int) -> list[OpenCircuit]:
        now = self.clock()
        circuits = list(self._troubled.values())
        return [circuit.seen(now) for circuit in circuits[:most] if not circuit.is_closed]

    def _add(self, candidate: Candidate) -> CandidateCircuit:
        circuit = CandidateCircuit(candidate.key, names_of(candidate), candidate.deployment.cooldown_resets)
        self._circuits[candidate.key] = circuit
        return circuit

    def _find_troubled(self, candidate: Candidate) -> CandidateCircuit | None:
        circuit = self._troubled.get(candidate.key)
        if circuit is not None and candidate.deployment.cooldown_resets > circuit.resets:
            self._reset(circuit, candidate.deployment.cooldown_resets)
            return None
        return circuit

    def _reset(self, circuit: CandidateCircuit, resets: int) -> None:
        circuit.resets = resets
        circuit.close(self.clock())
        self._note_closed(circuit, "An operator ended its rest")

    def _forget(self, circuit: CandidateCircuit) -> None:
        circuit.close(self.clock())
        self._circuits.pop(circuit.key, None)
        self._troubled.pop(circuit.key, None)

    def _note_rest(self, circuit: CandidateCircuit, now: float, *, is_first: bool) -> None:
        self._troubled[circuit.key] = circuit
        self.openings[circuit.reason] += 1
        logger.log(
            logging.WARNING if is_first else logging.INFO,
            "%s rests: other candidates go first." if is_first else "%s rests on: its probe failed.",
            circuit.names,
            extra={"fields": circuit.log_fields() | {"seconds": round(circuit.until - now, 1)}},
        )
        self._tell_rest(circuit, now)

    def _tell_rest(self, circuit: CandidateCircuit, now: float) -> None:
        circuit.note_times(now)
        if self.board is not None:
            self.board.post_rest(circuit)

    def _note_closed(self, circuit: CandidateCircuit, why: str) -> None:
        self._troubled.pop(circuit.key, None)
        logger.info("%s serves again. %s.", circuit.names, why, extra={"fields": circuit.log_fields()})
        if self.board is not None:
            self.board.post_state(circuit)

    def _sweep(self, now: float) -> None:
        """Forget what nobody needs any more, so that memory follows the traffic and not the history."""
        self._next_sweep = now + _SWEEP_SECONDS
        for circuit in list(self._circuits.values()):
            if max(circuit.used_at, circuit.kept_at, circuit.until) + UNUSED_SECONDS < now:
                self._forget(circuit)
        used = {key[0] for key in self._circuits}
        for deployment_id in [known for known in self._latencies if known not in used]:
            del self._latencies[deployment_id]
