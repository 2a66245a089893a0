"""What is done for a request whose first attempt did not answer it.

`course.py` decides what comes next; here it is waited for, sent, and counted towards
limits. A request that is answered at once never comes here.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings

from api.services import cooldowns, dispatch, limits, upstream
from api.services.attempts import Candidate, list_candidates
from api.services.course import Course, RetryPolicy
from api.services.exchange import Inbound
from api.services.limits import UNLIMITED, Lease
from api.services.recording import Attempt, Record
from api.services.reply_stream import ReplyStream
from api.services.retry_budget import RetryBudgets
from api.services.stand_ins import SharedLease
from api.services.translation.conversation import FinishReason
from api.services.translation.failures import Failure
from api.services.translation.usage import Usage
from routing.domain.plan import fallback_models, order_candidates
from routing.domain.table import Balancing, FallbackReason, ModelRow, RoutingTable

retry_budgets = RetryBudgets()
"""This process's. The gateway counts the requests."""

_policy = RetryPolicy(
    retries=settings.RETRIES,
    backoff=settings.RETRY_BACKOFF,
    backoff_max=settings.RETRY_BACKOFF_MAX,
    retry_after_max=settings.RETRY_AFTER_MAX,
)
_rng = random.Random()
_turn = itertools.count()


def plan(model: ModelRow) -> tuple[Candidate, ...]:
    """The candidates of `model` in the order in which they are tried. Keys take turns."""
    measured = cooldowns.current().latencies() if model.balancing is Balancing.LATENCY else None
    return list_candidates(order_candidates(model, _rng, measured), next(_turn))


def is_refused(reply: bytes | ReplyStream, record: Record) -> bool:
    """Whether the model would not answer. A stream tells only where that is the first thing it says."""
    finish = record.finish if isinstance(reply, bytes) else reply.finish
    return finish == FinishReason.CONTENT_FILTER


@dataclass(frozen=True, slots=True)
class _Refused:
    """An answer that was put aside, and what the record knew of it."""

    reply: bytes | ReplyStream
    attempt: Attempt
    ignored: tuple[str, ...]
    usage: Usage | None
    finish: str | None
    first_output: float | None

    @property
    def tokens(self) -> int:
        return self.usage.total_tokens if self.usage is not None else 0

    async def discard(self) -> None:
        if isinstance(self.reply, ReplyStream):
            await self.reply.release()
            upstream.finish_attempt(self.attempt, self.first_output)
        self.attempt.outcome = "refused"


class Pursuit:
    """One request's further attempts. Times are `time.perf_counter()` seconds.

    `begun`: the first of `candidates` was tried; `after_failure` or `after_refusal` tells
    what came of it. A reply that has put anything out is never replaced.
    """

    __slots__ = (
        "_course",
        "_inbound",
        "_lease",
        "_model",
        "_own",
        "_record",
        "_refused",
        "_spent",
        "_stand_in",
        "_table",
        "deadline",
        "deployment",
    )

    def __init__(
        self,
        inbound: Inbound,
        table: RoutingTable,
        model: ModelRow,
        candidates: Sequence[Candidate],
        record: Record,
        deadline: float,
        *,
        begun: bool,
    ) -> None:
        self._inbound = inbound
        self._table = table
        self._own = self._model = model
        self._record = record
        self._lease = record.lease
        self._stand_in: Lease = UNLIMITED
        self._refused: _Refused | None = None
        self._spent = 0
        self.deadline = deadline
        self.deployment = candidates[0].deployment if begun else None
        """Where the newest attempt was made."""
        self._course = Course(
            model,
            candidates,
            self,
            policy=_policy,
            budget=retry_budgets.of(model.public_id),
            rng=_rng,
            deadline=deadline,
            begun=begun,
        )

    # What the course asks.

    def admit(self, candidate: Candidate) -> bool:
        return cooldowns.current().admit(candidate)

    def is_resting(self, candidate: Candidate) -> bool:
        return cooldowns.current().is_resting(candidate)

    def stand_ins(self, reason: FallbackReason) -> Sequence[ModelRow]:
        found = fallback_models(self._table, self._own, reason)
        return [model for model in found if model.allows_streaming] if self._record.is_stream else found

    def candidates(self, model: ModelRow) -> Sequence[Candidate]:
        return plan(model)

    # What the gateway asks.

    async def begin(self) -> bytes | ReplyStream:
        """The first answer that there is.

        Raises:
            Failure: there is none.
        """
        return await self._go_on()

    async def after_failure(self, failure: Failure) -> bytes | ReplyStream:
        """As `begin`, after the newest attempt failed; without one, after there was nothing to try."""
        self._course.fail(failure, time.perf_counter())
        return await self._go_on()

    async def after_refusal(self, reply: bytes | ReplyStream) -> bytes | ReplyStream:
        """The answer of a model that does not refuse, or else `reply`."""
        if not self._course.refuse():
            return await self._settle_on(reply)
        await self._put_aside(reply)
        return await self._go_on()

    # The work.

    async def _go_on(self) -> bytes | ReplyStream:
        course = self._course
        try:
            while (step := course.next(time.perf_counter())) is not None:
                if step.model is not self._model and not await self._enter(step.model):
                    cooldowns.current().abandon(step.candidate)
                    course.pass_over()
                    continue
                self.deployment = step.candidate.deployment
                if step.wait:
                    await asyncio.sleep(step.wait)
                    self._record.upstream_seconds += step.wait
                try:
                    reply = await dispatch.try_candidate(
                        self._inbound, step.model, step.candidate, self._record, self.deadline
                    )
                except Failure as failure:
                    course.fail(failure, time.perf_counter())
                    continue
                if not is_refused(reply, self._record) or not course.refuse():
                    return await self._settle_on(reply)
                await self._put_aside(reply)
        except BaseException:
            await self._discard_refused()
            raise
        self._leave()
        if self._refused is None:
            raise course.told
        return self._take_back(self._refused)

    async def _enter(self, model: ModelRow) -> bool:
        """Ask in the name of `model` from here on, if its limits allow."""
        self._leave()
        if model is self._own:
            return True
        stand_in: Lease = UNLIMITED
        if model.scopes:
            try:
                stand_in = await limits.current().acquire(model.scopes)
            except Failure:
                return False
        self._model = model
        self._stand_in = stand_in
        self._record.fallback = model.public_id
        self._share_lease()
        return True

    def _leave(self) -> None:
        self._stand_in.release()
        self._stand_in = UNLIMITED
        self._model = self._own
        self._record.fallback = None
        self._share_lease()

    def _share_lease(self) -> None:
        is_shared = self._stand_in is not UNLIMITED or (self._spent and self._lease is not UNLIMITED)
        self._record.lease = (
            SharedLease(self._lease, self._stand_in, self._spent) if is_shared else self._lease
        )

    # Refusals.

    async def _put_aside(self, reply: bytes | ReplyStream) -> None:
        """Keep the first refusal for want of anything better. All of them were paid for."""
        record = self._record
        if isinstance(reply, ReplyStream):
            record.usage = reply.usage
        refused = _Refused(
            reply, record.attempts[-1], record.ignored, record.usage, record.finish, record.first_output
        )
        self._stand_in.settle(refused.tokens)
        self._spent += refused.tokens
        self._share_lease()
        record.usage = record.finish = record.first_output = None
        if self._refused is None:
            self._refused = refused
        else:
            await refused.discard()

    async def _settle_on(self, reply: bytes | ReplyStream) -> bytes | ReplyStream:
        await self._discard_refused()
        return reply

    async def _discard_refused(self) -> None:
        refused, self._refused = self._refused, None
        if refused is not None:
            await refused.discard()

    def _take_back(self, refused: _Refused) -> bytes | ReplyStream:
        record = self._record
        record.answered = refused.attempt
        record.ignored = refused.ignored
        record.usage = refused.usage
        record.finish = refused.finish
        record.first_output = refused.first_output
        self._refused = None
        # What it used is counted when it ends, like any answer's.
        self._spent -= refused.tokens
        self._share_lease()
        return refused.reply
