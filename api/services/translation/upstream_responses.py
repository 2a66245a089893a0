"""What every dialect needs to read an upstream's answer: headers, statuses, JSON.

Owns what HTTP says, whoever speaks it. What an error body says belongs to the dialects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import orjson

from api.services.translation.conversation import JsonObject
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.json_text import load_json

_KIND_OF_STATUS: Final[Mapping[int, FailureKind]] = {
    401: FailureKind.UPSTREAM_AUTHENTICATION,
    402: FailureKind.UPSTREAM_QUOTA,
    403: FailureKind.UPSTREAM_PERMISSION,
    404: FailureKind.NOT_FOUND,
    408: FailureKind.UPSTREAM_TIMEOUT,
    409: FailureKind.CONFLICT,
    413: FailureKind.REQUEST_TOO_LARGE,
    429: FailureKind.UPSTREAM_RATE_LIMITED,
    502: FailureKind.UPSTREAM_UNAVAILABLE,
    503: FailureKind.UPSTREAM_UNAVAILABLE,
    504: FailureKind.UPSTREAM_TIMEOUT,
    529: FailureKind.UPSTREAM_OVERLOADED,
}

# What a client is told where the upstream's own words are missing or are the operator's business.
_MESSAGES: Final[Mapping[FailureKind, str]] = {
    FailureKind.UPSTREAM_AUTHENTICATION: "The upstream provider rejected the gateway's credentials.",
    FailureKind.UPSTREAM_PERMISSION: "The upstream provider denied access to the gateway's credentials.",
    FailureKind.UPSTREAM_QUOTA: "The upstream provider's quota or credit is used up.",
    FailureKind.UPSTREAM_RATE_LIMITED: "The upstream provider's rate limit was reached.",
    FailureKind.UPSTREAM_OVERLOADED: "The upstream provider is overloaded.",
    FailureKind.UPSTREAM_UNAVAILABLE: "The upstream provider is unavailable.",
    FailureKind.UPSTREAM_TIMEOUT: "The upstream provider timed out.",
    FailureKind.UPSTREAM_INVALID_RESPONSE: "The upstream provider sent a response that could not be read.",
    FailureKind.UPSTREAM_ERROR: "The upstream provider had an error while processing the request.",
    FailureKind.REQUEST_TOO_LARGE: "Request exceeds the maximum allowed size.",
    FailureKind.CONFLICT: "The upstream provider reported a conflict.",
}

_HIDDEN: Final = frozenset({FailureKind.UPSTREAM_AUTHENTICATION, FailureKind.UPSTREAM_PERMISSION})


@dataclass(frozen=True, slots=True)
class ResponseFacts:
    """What the status and the headers of an error response say, apart from its body."""

    status: int
    request_id: str | None
    retry_after: float | None
    should_retry: bool | None


def read_facts(status: int, headers: Mapping[str, str], now: float) -> ResponseFacts:
    """`now` is the wall clock in seconds: `Retry-After` may be a date."""
    lower = {name.lower(): value for name, value in headers.items()}
    return ResponseFacts(
        status=status,
        request_id=lower.get("request-id") or lower.get("x-request-id"),
        retry_after=_retry_after(lower, now),
        should_retry={"true": True, "false": False}.get(lower.get("x-should-retry", "").strip().lower()),
    )


def kind_of_status(status: int) -> FailureKind:
    """What an answer means of which nothing but the status can be read. It need not be an error status."""
    if status in _KIND_OF_STATUS:
        return _KIND_OF_STATUS[status]
    if 520 <= status <= 530:  # an edge's own, about the server behind it
        return FailureKind.UPSTREAM_UNAVAILABLE
    if status >= 500:
        return FailureKind.UPSTREAM_ERROR
    if status >= 400:
        return FailureKind.UPSTREAM_REJECTED
    return FailureKind.UPSTREAM_INVALID_RESPONSE


def client_message(kind: FailureKind, upstream_message: str | None, status: int) -> str:
    """What the client is told. Of the gateway's credentials it learns that they failed, and no more."""
    if kind in _HIDDEN or not upstream_message:
        return _MESSAGES.get(kind, f"The upstream provider answered with status {status}.")
    return upstream_message


def unknown_model_message(model: str) -> str:
    """OpenAI's sentence, with the name that the client asked for."""
    return f"The model `{model}` does not exist or you do not have access to it."


def copied_should_retry(facts: ResponseFacts, status: int) -> bool | None:
    """The upstream's advice to retry, which holds only while the client gets the same status."""
    return facts.should_retry if facts.status == status else None


def read_object(body: bytes) -> JsonObject | None:
    """The body as a JSON object; None for everything else that a server, or the edge before it, may send."""
    try:
        value = load_json(body)
    except Failure:
        return None
    return value if isinstance(value, dict) else None


def look_into(body: bytes) -> JsonObject | None:
    """`read_object` for who writes no number and no nested value of it out again, at a third of the time.

    An integer beyond 64 bits may have become a float, and what is nested is not counted.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return read_object(body)
    return value if isinstance(value, dict) else None


def invalid_response(message: str | None = None) -> Failure:
    """A 2xx answer that is not what was asked for."""
    kind = FailureKind.UPSTREAM_INVALID_RESPONSE
    return Failure(kind, message or _MESSAGES[kind])


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds, from milliseconds, seconds or a date. "Now" is no advice: clients would hammer."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if not text:
            continue
        try:
            seconds = float(text) / unit
        except ValueError:
            seconds = _seconds_until(text, now) if unit == 1.0 else 0.0
        if math.isfinite(seconds) and seconds > 0:
            return seconds
    return None


def _seconds_until(date: str, now: float) -> float:
    try:
        moment = parsedate_to_datetime(date)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return 0.0
