"""One attempt: encode, send, decode. The I/O between the gateway and a transport."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Final

from django.conf import settings

from api.services import cooldowns, upstream
from api.services.attempts import Candidate
from api.services.course import TOO_LITTLE
from api.services.exchange import (
    MAX_CONTINUATIONS,
    Exchange,
    Inbound,
    Options,
    open_exchange,
)
from api.services.providers.catalog import KINDS
from api.services.recording import CLIENT_CLOSED_REQUEST, Attempt, Record
from api.services.reply_stream import ReplyStream
from api.services.translation.dialects.openai_chat.replies import ReadReply
from api.services.translation.failures import Failure, FailureKind
from api.services.wire import Timeouts, WireResponse
from routing.domain.table import DeploymentRow, ModelRow, ProviderRow

_TIMEOUTS: Final = frozenset(kind for kind in FailureKind if kind.value.endswith("_timeout"))
_ALMOST: Final = 0.9
_MAX_REPLY_BYTES: Final[int] = settings.MAX_REPLY_BYTES

_options = Options(
    auto_cache=settings.ANTHROPIC_AUTO_CACHE,
    repairs_turns=settings.REPAIR_TOOL_TURNS,
    inlines_system=settings.ANTHROPIC_INLINE_SYSTEM,
)


def wall_clock() -> int:
    return int(time.time())


def status_of(error: BaseException) -> int:
    """The status that the log gives a request that ended with `error` and no answer."""
    return CLIENT_CLOSED_REQUEST if isinstance(error, asyncio.CancelledError | GeneratorExit) else 500


def try_candidate(
    inbound: Inbound, model: ModelRow, candidate: Candidate, record: Record, deadline: float
) -> Coroutine[None, None, bytes | ReplyStream]:
    """One candidate's answer: the whole reply, or an open stream. `deadline` is a `time.perf_counter()`."""
    ask = open_stream if record.is_stream else fetch_reply
    return ask(inbound, model, candidate, record, deadline)


async def fetch_reply(
    inbound: Inbound, model: ModelRow, candidate: Candidate, record: Record, deadline: float
) -> bytes:
    """The whole reply as the client's body."""
    deployment = candidate.deployment
    exchange = _open(inbound, model, candidate, record)
    attempt = record.begin_attempt(candidate.name, candidate)
    timeouts = upstream.timeouts_of(deployment)
    until = min(attempt.started + timeouts.total, deadline)
    try:
        reply = await _converse(exchange, deployment.provider, timeouts, until, record, attempt)
    except BaseException as error:
        failure = _conclude(error, attempt, timeouts.total, deadline)
        record.upstream_seconds += attempt.seconds
        if failure is None:
            raise
        raise failure from None
    upstream.finish_attempt(attempt)
    record.upstream_seconds += attempt.seconds
    record.usage, record.finish = reply.usage, reply.finish.value if reply.finish else None
    return reply.body


async def _converse(
    exchange: Exchange,
    provider: ProviderRow,
    timeouts: Timeouts,
    until: float,
    record: Record,
    attempt: Attempt,
) -> ReadReply:
    """Send, and send again where the protocol asks for it: a paused turn, a thought that no longer fits.

    Raises TimeoutError when all that is not over by `until`, a `time.perf_counter()`.
    """
    sender = upstream.sender_for(provider)
    is_amended = False
    for _ in range(MAX_CONTINUATIONS + 2):
        response = await sender.send(exchange.wire, timeouts, until - time.perf_counter())
        upstream.note_answer(attempt, response, exchange)
        if response.status == 200:
            body = response.take_whole(_MAX_REPLY_BYTES)
            if body is None:
                try:
                    body = await response.read(_MAX_REPLY_BYTES, until - time.perf_counter())
                finally:
                    await response.close()
            following = exchange.continue_after(body)
            if following is None:
                return exchange.read_reply(body)
            exchange = following
            continue
        failure = await upstream.read_failure(exchange, response, timeouts, until - time.perf_counter())
        amended = None if is_amended else exchange.amend(failure)
        if amended is None:
            raise failure
        exchange, is_amended = amended, True
        record.ignored = exchange.ignored
    raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE, "The upstream paused its turn too many times.")


async def open_stream(
    inbound: Inbound, model: ModelRow, candidate: Candidate, record: Record, deadline: float
) -> ReplyStream:
    """The client's frames, once the first output is there.

    Until then any trouble is raised as a Failure, so that the client gets a status it
    can act on. After KEEPALIVE_INTERVAL seconds without output the stream is returned all
    the same: see `wait_output`.
    """
    deployment = candidate.deployment
    exchange = _open(inbound, model, candidate, record)
    attempt = record.begin_attempt(candidate.name, candidate)
    own = timeouts = upstream.timeouts_of(deployment)
    left = deadline - attempt.started
    bound = None
    if left < own.connect + own.headers + own.first_token:
        bound = left
        timeouts = replace(own, first_token=min(own.first_token, left))
    response: WireResponse | None = None
    stream: ReplyStream | None = None
    try:
        async with asyncio.timeout(bound):
            response, exchange = await _send_stream(exchange, deployment.provider, timeouts, attempt)
            record.ignored = exchange.ignored
            stream = ReplyStream(
                exchange, deployment.provider, response, timeouts, record, attempt, attempt.started
            )
            await stream.wait_output(settings.KEEPALIVE_INTERVAL)
    except BaseException as error:
        if stream is not None:
            await stream.release()
        elif response is not None:
            await response.close()
        failure = _conclude(error, attempt, own.first_token, deadline)
        if failure is None:
            raise
        raise failure from None
    finally:
        record.upstream_seconds += time.perf_counter() - attempt.started
    if stream.has_output:
        upstream.note_output(attempt)
    return stream


async def wait_output(
    stream: ReplyStream, deployment: DeploymentRow, record: Record, deadline: float
) -> None:
    """Wait on, for the first output of a stream that `open_stream` returned without any.

    Raises:
        Failure: it will not come. Nothing was sent yet but comments, so another may answer.
    """
    attempt = record.attempts[-1]
    own = upstream.timeouts_of(deployment).first_token
    waiting = time.perf_counter()
    try:
        await stream.wait_output(math.inf)
    except BaseException as error:
        await stream.release()
        failure = _conclude(error, attempt, own, deadline)
        if failure is None:
            raise
        raise failure from None
    finally:
        record.upstream_seconds += time.perf_counter() - waiting
    upstream.note_output(attempt)


def _conclude(error: BaseException, attempt: Attempt, own: float, deadline: float) -> Failure | None:
    """End an attempt that did not answer. The Failure to raise; None: `error` is none and goes on.

    `own` is how long it may take by itself. One that the request's deadline cut short of
    that is nobody's failure.
    """
    if not isinstance(error, Failure | TimeoutError):
        is_cancelled = isinstance(error, asyncio.CancelledError)
        upstream.abandon_attempt(attempt, "cancelled" if is_cancelled else "error")
        return None
    is_late = time.perf_counter() + TOO_LITTLE >= deadline
    if isinstance(error, Failure) and not (is_late and error.kind in _TIMEOUTS):
        return upstream.fail_attempt(attempt, error)
    if not is_late:
        message = f"The upstream did not finish its reply within {own:g} seconds."
    else:
        message = (
            f"The request was not answered within {settings.REQUEST_DEADLINE:g} seconds, all attempts "
            "taken together. The operator sets this limit with REQUEST_DEADLINE."
        )
    spent = time.perf_counter() - attempt.started
    failure = Failure(FailureKind.UPSTREAM_TOTAL_TIMEOUT, message)
    return upstream.fail_attempt(attempt, failure, counts=spent > own * _ALMOST)


async def _send_stream(
    exchange: Exchange, provider: ProviderRow, timeouts: Timeouts, attempt: Attempt
) -> tuple[WireResponse, Exchange]:
    response = await upstream.send(exchange, provider, timeouts, attempt)
    if response.status == 200:
        return response, exchange
    failure = await upstream.read_failure(exchange, response, timeouts)
    amended = exchange.amend(failure)
    if amended is None:
        raise failure
    response = await upstream.send(amended, provider, timeouts, attempt)
    if response.status == 200:
        return response, amended
    raise await upstream.read_failure(amended, response, timeouts)


def _open(inbound: Inbound, model: ModelRow, candidate: Candidate, record: Record) -> Exchange:
    deployment, credential = candidate.deployment, candidate.credential
    if credential is None and deployment.provider.requires_key:
        raise _without_key(deployment.provider)
    try:
        exchange = open_exchange(
            inbound,
            model,
            deployment,
            secret=credential.secret.reveal() if credential is not None else None,
            options=_options,
        )
    except Failure:
        cooldowns.current().abandon(candidate)
        raise
    record.ignored = exchange.ignored
    return exchange


def _without_key(provider: ProviderRow) -> Failure:
    variable = KINDS[provider.kind].key_variable
    remedy = f"set {variable} in the environment or .env and restart, or " if variable else ""
    return Failure(
        FailureKind.PROVIDER_NOT_CONFIGURED,
        f"The provider `{provider.name}` has no API key yet. The operator can {remedy}"
        f"add a provider key in the admin (/admin/routing/provider/).",
    )
