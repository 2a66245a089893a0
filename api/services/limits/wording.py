"""Standings in OpenAI's words: the headers that go with every answer, the failure of a refusal. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from api.services.translation.dialects.anthropic_messages.rate_limits import format_duration
from api.services.translation.failures import Failure, FailureKind
from routing.domain.limits import SECOND, WINDOW, Headroom, Measure, Standing

_WHAT: Final[Mapping[Measure, str]] = {
    Measure.REQUESTS: "requests per min (RPM)",
    Measure.TOKENS: "tokens per min (TPM)",
    Measure.CONCURRENT: "concurrent requests",
}
# What a reset is told as, by its seconds. Below one it has milliseconds.
_WHOLE_SECONDS: Final = tuple(format_duration(seconds) for seconds in range(WINDOW // SECOND + 1))


def encode_headers(standings: Sequence[Standing]) -> dict[str, str]:
    """`x-ratelimit-*`, of that scope which has the least left; for requests and tokens apart.

    As OpenAI defines it, `reset` is when the whole limit is there again, not when the
    next request fits: that is what `retry-after` says.
    """
    return encode_headroom(_least(standings, Measure.REQUESTS), _least(standings, Measure.TOKENS))


def encode_headroom(requests: Headroom | None, tokens: Headroom | None) -> dict[str, str]:
    """`encode_headers`, where it is known how the tightest scopes stand."""
    headers: dict[str, str] = {}
    if requests is not None:
        limit, left, reset = requests
        headers = {
            "x-ratelimit-limit-requests": str(limit),
            "x-ratelimit-remaining-requests": str(left),
            "x-ratelimit-reset-requests": _WHOLE_SECONDS[-(-reset // SECOND)]
            if SECOND <= reset <= WINDOW
            else format_duration(reset / SECOND),
        }
    if tokens is not None:
        limit, left, reset = tokens
        headers["x-ratelimit-limit-tokens"] = str(limit)
        headers["x-ratelimit-remaining-tokens"] = str(left)
        headers["x-ratelimit-reset-tokens"] = (
            _WHOLE_SECONDS[-(-reset // SECOND)]
            if SECOND <= reset <= WINDOW
            else format_duration(reset / SECOND)
        )
    return headers


def _least(standings: Sequence[Standing], measure: Measure) -> Headroom | None:
    of_it = [standing for standing in standings if standing.measure is measure]
    if not of_it:
        return None
    tightest = min(of_it, key=lambda standing: standing.remaining)
    return tightest.limit, tightest.remaining, tightest.reset


def to_failure(refusal: Standing, standings: Sequence[Standing]) -> Failure:
    """The 429 of `refusal`. `standings` are those of the whole request, for its headers.

    A limit that admits nothing at all is not worth another try, and the client's SDK is
    told so.
    """
    measure = refusal.measure
    numbers = f"Limit {refusal.limit}, Used {refusal.used}"
    if measure is not Measure.TOKENS:
        numbers += ", Requested 1"
    message = (
        f"Rate limit reached for {refusal.scope.label or refusal.scope.name} on {_WHAT[measure]}: {numbers}. "
    )
    headers = encode_headers(standings)
    type_ = (Measure.TOKENS if measure is Measure.TOKENS else Measure.REQUESTS).value
    if refusal.limit > 0:
        message += f"Please try again in {format_duration(refusal.wait / SECOND)}."
        # The SDKs prefer it to `retry-after`, which has whole seconds only.
        headers["retry-after-ms"] = str(-(-refusal.wait // 1000))
        return Failure(
            FailureKind.RATE_LIMITED,
            message,
            type=type_,
            retry_after=refusal.wait / SECOND,
            headers=headers,
        )
    whole = refusal.scope.limit.of(measure)
    if whole:
        message += (
            f"The limit of {whole} is smaller than the number of worker processes, which divide it among "
            "them. The operator sets VALKEY_URL, so that they count together, or WEB_CONCURRENCY=1."
        )
    else:
        message += "Nothing is allowed here."
    return Failure(FailureKind.RATE_LIMITED, message, type=type_, should_retry=False, headers=headers)
