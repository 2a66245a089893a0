"""The order of a request's attempts, from the first failure to the last. PURE: a small state machine.

1. Every candidate of the model once, in the plan's order. Moving on costs no wait.
2. Candidates whose trouble may pass once more, after a wait, while the retry budget lasts.
3. The models that stand in for it, in the operator's order, each of their candidates once.
4. Whatever rests (its cooldown is not over), passed over until now: nothing else is left.
5. As 2, for those.

A conversation that is too long, or that the model refuses, goes from wherever it stands to
3 at once. What is wrong with the request itself ends all. Nobody waits past the deadline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from api.services.attempts import (
    Candidate,
    is_key_trouble,
    is_passing,
    is_unspeakable,
    most_useful,
    reason_of,
)
from api.services.retry_budget import RetryBudget
from api.services.translation.failures import Failure, FailureKind
from routing.domain.table import FallbackReason, ModelRow

TOO_LITTLE: Final = 0.05
"""Seconds before the deadline from which on nothing is begun: no answer comes in so little time."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`retries`: extra attempts per request. The rest in seconds: the first wait is at most
    `backoff`, each further one at most twice the one before, none more than `backoff_max`. An
    upstream that asks for more than `retry_after_max` is not waited for."""

    retries: int
    backoff: float
    backoff_max: float
    retry_after_max: float


@dataclass(frozen=True, slots=True)
class Try:
    """What to try next: after `wait` seconds, at `candidate` in the name of `model`."""

    model: ModelRow
    candidate: Candidate
    wait: float = 0.0


class Choices(Protocol):
    """What else there is for a request, asked for only when it comes to that."""

    def admit(self, candidate: Candidate) -> bool:
        """Whether it may be tried now. False: it rests, and others go first."""

    def is_resting(self, candidate: Candidate) -> bool:
        """The same, asked without the intention to try it."""

    def stand_ins(self, reason: FallbackReason) -> Sequence[ModelRow]:
        """The models that stand in for the requested one, in order."""

    def candidates(self, model: ModelRow) -> Sequence[Candidate]: ...


@dataclass(slots=True)
class _Tried:
    candidate: Candidate
    failure: Failure
    ready_at: float
    times: int = 1


class Course:
    """One request's attempts. Ask `next`, try it, report `fail`, `refuse` or `pass_over`, ask again.

    `begun`: the first of `candidates` was tried already; its outcome is reported before
    `next` is asked. Times are seconds of one clock.
    """

    def __init__(
        self,
        model: ModelRow,
        candidates: Sequence[Candidate],
        choices: Choices,
        *,
        policy: RetryPolicy,
        budget: RetryBudget,
        rng: Random,
        deadline: float,
        begun: bool = False,
    ) -> None:
        self._model = model
        self._choices = choices
        self._policy = policy
        self._budget = budget
        self._rng = rng
        self._deadline = deadline
        self._now = 0.0
        self._current = Try(model, candidates[0]) if begun else None
        self._tried: list[_Tried] = []
        self._others: list[Failure] = []
        self._final: Failure | None = None
        self._reason: FallbackReason | None = None
        self._leaves_model = False
        self._skips_deployment = False
        self._resting: list[Try] = []
        self._asked = {model.public_id}
        self._retries = 0
        self._steps = self._take_steps(candidates, begun)

    def next(self, now: float) -> Try | None:
        """What to try now; None: there is nothing left, or no time."""
        self._now = now
        if now + TOO_LITTLE >= self._deadline:
            return None
        self._current = next(self._steps, None)
        return self._current

    def fail(self, failure: Failure, now: float) -> None:
        """The current attempt failed; without one, the model has nothing to try."""
        self._skips_deployment = not is_key_trouble(failure)
        self._leaves_model = False
        reason = reason_of(failure)
        if failure.kind is FailureKind.UPSTREAM_TOTAL_TIMEOUT and now + TOO_LITTLE >= self._deadline:
            self._final = failure
        current = self._current
        if current is not None and current.model is not self._model:
            # What a stand-in has against the request says nothing of the next one.
            self._others.append(failure)
            self._leaves_model = reason is not FallbackReason.FAILURE
            return
        self._note(current, failure, now)
        if reason is FallbackReason.FAILURE:
            self._reason = reason
        elif not is_unspeakable(failure):
            self._reason, self._final, self._leaves_model = reason, failure, True

    def refuse(self) -> bool:
        """The current attempt's answer is a refusal. Whether another model is to be asked instead.

        A stand-in's refusal is an answer like any, unless it stands in for a refusal.
        """
        current = self._current
        if current is not None and current.model is not self._model:
            self._leaves_model = True
            return self._reason is FallbackReason.REFUSAL
        self._reason, self._leaves_model = FallbackReason.REFUSAL, True
        return True

    def pass_over(self) -> None:
        """The current attempt was not made: its model has reached limits of its own."""
        self._leaves_model = True
        if self._current is not None:
            model = self._current.model
            self._resting = [resting for resting in self._resting if resting.model is not model]

    @property
    def told(self) -> Failure:
        """What the client is told when nothing answered."""
        if self._final is not None:
            return self._final
        if not self._tried and not self._others:
            return Failure(
                FailureKind.UPSTREAM_TOTAL_TIMEOUT,
                "There was no time left to ask any upstream for an answer.",
            )
        return most_useful([tried.failure for tried in self._tried], self._others)

    @property
    def _is_about_request(self) -> bool:
        """The newest failure is one that the request would meet anywhere."""
        return self._final is not None and self._reason is None

    # The way.

    def _take_steps(self, candidates: Sequence[Candidate], begun: bool) -> Iterator[Try]:
        yield from self._each(self._model, candidates, begun)
        yield from self._again(but_resting=True)
        yield from self._stand_ins()
        yield from self._rested()
        yield from self._again(but_resting=False)
        # The last of them may have found the conversation too long.
        yield from self._stand_ins()
        yield from self._rested()

    def _each(self, model: ModelRow, candidates: Sequence[Candidate], begun: bool = False) -> Iterator[Try]:
        failed: Candidate | None = None
        for candidate in candidates:
            if failed is not None and candidate.deployment is failed.deployment:
                continue
            if begun:
                begun = False
            elif not self._choices.admit(candidate):
                self._resting.append(Try(model, candidate))
                continue
            else:
                yield Try(model, candidate)
            if self._leaves_model:
                return
            if self._skips_deployment:
                failed = candidate

    def _stand_ins(self) -> Iterator[Try]:
        reason = self._reason
        if reason is None:
            # A model of which all rests fails, as far as anybody knows.
            if self._is_about_request or not self._resting:
                return
            reason = FallbackReason.FAILURE
        for model in self._choices.stand_ins(reason):
            if model.public_id not in self._asked:
                self._asked.add(model.public_id)
                yield from self._each(model, self._choices.candidates(model))

    def _rested(self) -> Iterator[Try]:
        while self._resting and not self._is_about_request:
            resting = self._resting.pop(0)
            if self._reason in (None, FallbackReason.FAILURE) or resting.model is not self._model:
                yield resting

    def _again(self, *, but_resting: bool) -> Iterator[Try]:
        while self._final is None and self._reason is FallbackReason.FAILURE:
            if self._retries >= self._policy.retries:
                return
            # Full jitter: what failed together does not come back together.
            longest = min(self._policy.backoff * 2.0**self._retries, self._policy.backoff_max)
            jitter = self._rng.random() * longest
            best = self._readiest(jitter, but_resting)
            if best is None or not self._budget.take(self._now):
                return
            self._retries += 1
            yield Try(self._model, best.candidate, max(0.0, best.ready_at - self._now) + jitter)

    def _readiest(self, jitter: float, but_resting: bool) -> _Tried | None:
        """Whoever was tried least, and of those whoever is ready first."""
        latest = self._deadline - TOO_LITTLE - jitter
        able = [
            tried
            for tried in self._tried
            if is_passing(tried.failure)
            and (tried.failure.retry_after or 0.0) <= self._policy.retry_after_max
            and max(tried.ready_at, self._now) < latest
            and not (but_resting and self._choices.is_resting(tried.candidate))
        ]
        return min(able, key=lambda tried: (tried.times, tried.ready_at), default=None)

    def _note(self, current: Try | None, failure: Failure, now: float) -> None:
        if current is None:
            self._others.insert(0, failure)
            return
        ready_at = now + (failure.retry_after or 0.0)
        for place, tried in enumerate(self._tried):
            if tried.candidate is current.candidate:
                # Moved to the end: these are in the order in which they happened.
                del self._tried[place]
                self._tried.append(_Tried(tried.candidate, failure, ready_at, tried.times + 1))
                return
        self._tried.append(_Tried(current.candidate, failure, ready_at))
