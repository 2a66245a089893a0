"""Standings in OpenAI's words: the headers that go with every answer, the failure of a refusal. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from api.services.translation.dialects.anthropic_messages.rate_limits import format_duration
from api.services.translation.failures import Failure, FailureKind
from routing.domain.limits import SECOND, Headroom, Measure, Standing

_WHAT: Final[Mapping[Measure, str]] = {
    Measure.REQUESTS: "requests per min (RPM)",
    Measure.TOKENS: "tokens per min (TPM)",
    Measure.CONCURRENT: "concurrent requests",
}
_HEADERS: Final = {
    measure: tuple(f"x-ratelimit-{fact}-{measure}" for fact in ("limit", "remaining", "reset"))
    for measure in (Measure.REQUESTS, Measure.TOKENS)
}


def encode_headers(standings: Sequence[Standing]) -> dict[str, str]:
    """`x-ratelimit-*`, of that scope which has the least left; for requests and tokens apart.

    As OpenAI defines it, `reset` is when the whole limit is there again, not when the
    next request fits: that is what `retry-after` says.
    """
    found: list[Headroom] = []
    for measure in (Measure.REQUESTS, Measure.TOKENS):
        tightest = None
        for standing in standings:
            if standing.measure is measure and (tightest is None or standing.remaining < tightest.remaining):
                tightest = standing
        if tightest is not None:
            found.append((measure, tightest.limit, tightest.remaining, tightest.reset))
    return encode_headroom(found)


def encode_headroom(tightest: Sequence[Headroom]) -> dict[str, str]:
    """`encode_headers`, where the tightest scopes are known."""
    headers: dict[str, str] = {}
    for measure, limit, left, reset in tightest:
        limit_name, remaining_name, reset_name = _HEADERS[measure]
        headers[limit_name] = str(limit)
        headers[remaining_name] = str(left)
        headers[reset_name] = format_duration(reset / SECOND)
    return headers


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
