"""Speaking to one upstream: which transport, how long, and what an error answer says."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable
from typing import Final

from django.conf import settings

from api.services import cooldowns, transport
from api.services.demo import DemoTransport
from api.services.exchange import Exchange
from api.services.recording import Attempt
from api.services.translation.failures import Failure, FailureKind
from api.services.wire import Timeouts, Transport, WireResponse
from routing.domain.table import DeploymentRow, ProviderRow

_MAX_ERROR_BYTES = 1024 * 1024

_demo = DemoTransport()


_MOST_TIMEOUTS: Final = 4096
_timeouts: dict[int, tuple[DeploymentRow, Timeouts]] = {}


def timeouts_of(deployment: DeploymentRow) -> Timeouts:
    """The deployment's own limits, else its provider's, else the settings'. Worked out once for each row."""
    known = _timeouts.get(deployment.id)
    if known is not None and known[0] is deployment:
        return known[1]
    if len(_timeouts) >= _MOST_TIMEOUTS:
        _timeouts.clear()
    timeouts = _resolve_timeouts(deployment)
    _timeouts[deployment.id] = (deployment, timeouts)
    return timeouts


def _resolve_timeouts(deployment: DeploymentRow) -> Timeouts:
    own, shared = deployment, deployment.provider
    return Timeouts(
        connect=own.connect_timeout or shared.connect_timeout or settings.UPSTREAM_CONNECT_TIMEOUT,
        headers=own.headers_timeout or shared.headers_timeout or settings.UPSTREAM_HEADERS_TIMEOUT,
        first_token=own.first_token_timeout
        or shared.first_token_timeout
        or settings.UPSTREAM_FIRST_TOKEN_TIMEOUT,
        idle=own.idle_timeout or shared.idle_timeout or settings.UPSTREAM_IDLE_TIMEOUT,
        total=own.total_timeout or shared.total_timeout or settings.UPSTREAM_TOTAL_TIMEOUT,
    )


def sender_for(provider: ProviderRow) -> Transport:
    return _demo if provider.kind == "demo" else transport.current()


def note_answer(attempt: Attempt, response: WireResponse, exchange: Exchange) -> None:
    """The attempt learns the answer's status and id."""
    attempt.upstream_status = response.status
    attempt.upstream_request_id = _request_id(response, exchange.secrets)


async def send(
    exchange: Exchange, provider: ProviderRow, timeouts: Timeouts, attempt: Attempt
) -> WireResponse:
    response = await sender_for(provider).send(exchange.wire, timeouts)
    note_answer(attempt, response, exchange)
    return response


_SANE_REQUEST_ID: Final = re.compile(r"[\w.:\-]{1,128}", re.ASCII)


def _request_id(response: WireResponse, secrets: Iterable[str]) -> str | None:
    """The upstream's own id of the request, if it is one: it goes to the client and into the log."""
    found = response.headers.get("request-id") or response.headers.get("x-request-id")
    if not found or not _SANE_REQUEST_ID.fullmatch(found):
        return None
    for secret in secrets:
        if secret in found:
            return None
    return found


async def read_failure(
    exchange: Exchange, response: WireResponse, timeouts: Timeouts, left: float = math.inf
) -> Failure:
    """What an answer that is not a 200 means. Lets go of the response.

    Raises TimeoutError when reading it takes longer than the `left` seconds.
    """
    try:
        body = await response.read(_MAX_ERROR_BYTES, min(timeouts.headers, left))
    except TimeoutError:
        if left < timeouts.headers:
            raise
        return Failure(
            FailureKind.UPSTREAM_HEADERS_TIMEOUT,
            f"The upstream answered with status {response.status} and then fell silent.",
        )
    finally:
        await response.close()
    failure = exchange.read_failure(response.status, response.headers, body, now=time.time())
    failure.upstream_request_id = _request_id(response, exchange.secrets)
    return failure


# How an attempt ended is for the record, and for the cooldowns of whoever it was made at.


def fail_attempt(attempt: Attempt, failure: Failure, *, counts: bool = True) -> Failure:
    """Not `counts`: it was given less time than its own, so nobody is to blame."""
    attempt.end(failure.kind.value)
    if attempt.candidate is not None:
        if counts:
            cooldowns.current().fail(attempt.candidate, failure, began=attempt.started)
        else:
            cooldowns.current().abandon(attempt.candidate, began=attempt.started)
    return failure


def note_output(attempt: Attempt) -> None:
    """Its output began. A long stream that was a probe keeps the next one back no longer."""
    if attempt.candidate is not None:
        cooldowns.current().abandon(attempt.candidate, began=attempt.started)


def finish_attempt(attempt: Attempt, first_output: float | None = None) -> None:
    """It was answered, to the end. `first_output` is when a stream's answer began."""
    attempt.end("ok")
    if attempt.candidate is not None:
        seconds = attempt.seconds if first_output is None else first_output - attempt.started
        cooldowns.current().succeed(attempt.candidate, seconds, began=attempt.started)


def abandon_attempt(attempt: Attempt, outcome: str) -> None:
    """It ended for a reason that says nothing about the upstream, such as a client that left."""
    attempt.end(outcome)
    if attempt.candidate is not None:
        cooldowns.current().abandon(attempt.candidate, began=attempt.started)
