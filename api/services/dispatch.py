"""One attempt: encode, send, decode. The I/O between the gateway and a transport."""

from __future__ import annotations

import asyncio
import time

from django.conf import settings

from api.services import upstream
from api.services.attempts import Candidate
from api.services.exchange import (
    MAX_CONTINUATIONS,
    Exchange,
    Inbound,
    Options,
    ReadReply,
    open_exchange,
)
from api.services.providers.catalog import KINDS
from api.services.recording import CLIENT_CLOSED_REQUEST, Attempt, Record
from api.services.reply_stream import ReplyStream
from api.services.translation.failures import Failure, FailureKind
from api.services.wire import Timeouts, WireResponse
from routing.domain.table import DeploymentRow, ModelRow, ProviderRow

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


async def fetch_reply(inbound: Inbound, model: ModelRow, candidate: Candidate, record: Record) -> bytes:
    """The whole reply as the client's body."""
    deployment = candidate.deployment
    exchange = _open(inbound, model, candidate, record)
    attempt = record.begin_attempt(_name(deployment))
    timeouts = upstream.timeouts_of(deployment.provider)
    began = time.perf_counter()
    try:
        async with asyncio.timeout(timeouts.total):
            reply = await _converse(exchange, deployment.provider, timeouts, record, attempt)
    except TimeoutError:
        raise upstream.end_attempt(
            attempt,
            Failure(
                FailureKind.UPSTREAM_TOTAL_TIMEOUT,
                f"The upstream did not finish its reply within {timeouts.total:g} seconds.",
            ),
        ) from None
    except Failure as failure:
        raise upstream.end_attempt(attempt, failure) from None
    except asyncio.CancelledError:
        attempt.end("cancelled")
        raise
    finally:
        record.upstream_seconds += time.perf_counter() - began
    attempt.end("ok")
    record.usage, record.finish = reply.usage, reply.finish.value if reply.finish else None
    return reply.body


async def _converse(
    exchange: Exchange, provider: ProviderRow, timeouts: Timeouts, record: Record, attempt: Attempt
) -> ReadReply:
    """Send, and send again where the protocol asks for it: a paused turn, a thought that no longer fits."""
    is_amended = False
    for _ in range(MAX_CONTINUATIONS + 2):
        response = await upstream.send(exchange, provider, timeouts, attempt)
        if response.status == 200:
            try:
                body = await response.read(settings.MAX_REPLY_BYTES)
            finally:
                await response.close()
            following = exchange.continue_after(body)
            if following is None:
                return exchange.read_reply(body)
            exchange = following
            continue
        failure = await upstream.read_failure(exchange, response, timeouts)
        amended = None if is_amended else exchange.amend(failure)
        if amended is None:
            raise failure
        exchange, is_amended = amended, True
        record.ignored = exchange.ignored
    raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE, "The upstream paused its turn too many times.")


async def open_stream(inbound: Inbound, model: ModelRow, candidate: Candidate, record: Record) -> ReplyStream:
    """The client's frames, once the first output is there.

    Until then any trouble is raised as a Failure, so that the client gets a status it
    can act on. After KEEPALIVE_INTERVAL seconds without output the stream opens all the
    same, with comments.
    """
    deployment = candidate.deployment
    exchange = _open(inbound, model, candidate, record)
    attempt = record.begin_attempt(_name(deployment))
    timeouts = upstream.timeouts_of(deployment.provider)
    began = time.perf_counter()
    response: WireResponse | None = None
    stream: ReplyStream | None = None
    try:
        response, exchange = await _send_stream(exchange, deployment.provider, timeouts, attempt)
        record.ignored = exchange.ignored
        stream = ReplyStream(exchange, deployment.provider, response, timeouts, record, attempt, began)
        await stream.wait_output(settings.KEEPALIVE_INTERVAL)
    except BaseException as error:
        record.upstream_seconds += time.perf_counter() - began
        if isinstance(error, TimeoutError):
            error = Failure(
                FailureKind.UPSTREAM_TOTAL_TIMEOUT,
                f"The upstream did not finish its reply within {timeouts.total:g} seconds.",
            )
        if stream is not None:
            await stream.release()
        elif response is not None:
            await response.close()
        if isinstance(error, Failure):
            raise upstream.end_attempt(attempt, error) from None
        attempt.end("cancelled" if isinstance(error, asyncio.CancelledError) else "error")
        raise
    record.upstream_seconds += time.perf_counter() - began
    return stream


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
    exchange = open_exchange(
        inbound,
        model,
        deployment,
        secret=credential.secret.reveal() if credential is not None else None,
        options=_options,
    )
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


def _name(deployment: DeploymentRow) -> str:
    return f"{deployment.provider.name}/{deployment.upstream_id}"
