"""Speaking to one upstream: which transport, how long, and what an error answer says."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from typing import Final

from django.conf import settings

from api.services import transport
from api.services.demo import DemoTransport
from api.services.exchange import Exchange
from api.services.recording import Attempt
from api.services.translation.failures import Failure, FailureKind
from api.services.wire import Timeouts, WireResponse
from routing.domain.table import ProviderRow

_MAX_ERROR_BYTES = 1024 * 1024

_demo = DemoTransport()


def timeouts_of(provider: ProviderRow) -> Timeouts:
    """The provider's own limits, else the settings'."""
    return Timeouts(
        connect=provider.connect_timeout or settings.UPSTREAM_CONNECT_TIMEOUT,
        headers=provider.headers_timeout or settings.UPSTREAM_HEADERS_TIMEOUT,
        first_token=provider.first_token_timeout or settings.UPSTREAM_FIRST_TOKEN_TIMEOUT,
        idle=provider.idle_timeout or settings.UPSTREAM_IDLE_TIMEOUT,
        total=provider.total_timeout or settings.UPSTREAM_TOTAL_TIMEOUT,
    )


async def send(
    exchange: Exchange, provider: ProviderRow, timeouts: Timeouts, attempt: Attempt
) -> WireResponse:
    """Send the exchange's request; the attempt learns the answer's status and id."""
    sender = _demo if provider.kind == "demo" else transport.current()
    response = await sender.send(exchange.wire, timeouts)
    attempt.upstream_status = response.status
    attempt.upstream_request_id = _request_id(response, exchange.secrets)
    return response


_SANE_REQUEST_ID: Final = re.compile(r"[\w.:\-]{1,128}", re.ASCII)


def _request_id(response: WireResponse, secrets: Iterable[str]) -> str | None:
    """The upstream's own id of the request, if it is one: it goes to the client and into the log."""
    found = response.headers.get("request-id") or response.headers.get("x-request-id")
    if not found or not _SANE_REQUEST_ID.fullmatch(found) or any(secret in found for secret in secrets):
        return None
    return found


async def read_failure(exchange: Exchange, response: WireResponse, timeouts: Timeouts) -> Failure:
    """What an answer that is not a 200 means. Lets go of the response."""
    try:
        async with asyncio.timeout(timeouts.headers):
            body = await response.read(_MAX_ERROR_BYTES)
    except TimeoutError:
        return Failure(
            FailureKind.UPSTREAM_HEADERS_TIMEOUT,
            f"The upstream answered with status {response.status} and then fell silent.",
        )
    finally:
        await response.close()
    failure = exchange.read_failure(response.status, response.headers, body, now=time.time())
    failure.upstream_request_id = _request_id(response, exchange.secrets)
    return failure


def end_attempt(attempt: Attempt, failure: Failure) -> Failure:
    attempt.end(failure.kind.value)
    return failure
