"""What each kind of failure says about the deployment and the key that it came from. PURE.

Only what the upstream, or the way to it, is to blame for counts. What the client asked
wrongly, our own limits and a client that hung up say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from api.services.translation.failures import Failure, FailureKind


class Reason(StrEnum):
    """Why a candidate rests. The words stand in the admin, the log and the metrics."""

    FAILURES = "failures"
    """Too many failures in a row."""
    FAILURE_SHARE = "failure_share"
    """Too many of the last calls failed."""
    KEY_REFUSED = "key_refused"
    QUOTA = "quota"
    RATE_LIMITED = "rate_limited"


class Verdict(StrEnum):
    """What one failure means."""

    NOTHING = "nothing"
    COUNTS = "counts"
    """One of the failures that together begin a cooldown."""
    KEY_REFUSED = "key_refused"
    """This and the next two begin one at once: to go on asking would only be refused again."""
    QUOTA = "quota"
    RATE_LIMITED = "rate_limited"


VERDICTS: Final[Mapping[FailureKind, Verdict]] = {
    FailureKind.INVALID_REQUEST: Verdict.NOTHING,
    FailureKind.UNSUPPORTED_VALUE: Verdict.NOTHING,
    FailureKind.UNSUPPORTED_PARAMETER: Verdict.NOTHING,
    FailureKind.CONTEXT_LENGTH_EXCEEDED: Verdict.NOTHING,
    FailureKind.CONTENT_REFUSED: Verdict.NOTHING,
    FailureKind.REQUEST_TOO_LARGE: Verdict.NOTHING,
    FailureKind.REQUEST_TIMEOUT: Verdict.NOTHING,
    FailureKind.AUTHENTICATION_MISSING: Verdict.NOTHING,
    FailureKind.INVALID_API_KEY: Verdict.NOTHING,
    FailureKind.PERMISSION_DENIED: Verdict.NOTHING,
    FailureKind.MODEL_NOT_FOUND: Verdict.NOTHING,
    FailureKind.URL_NOT_FOUND: Verdict.NOTHING,
    FailureKind.METHOD_NOT_ALLOWED: Verdict.NOTHING,
    FailureKind.NOT_FOUND: Verdict.NOTHING,
    FailureKind.CONFLICT: Verdict.NOTHING,
    FailureKind.RATE_LIMITED: Verdict.NOTHING,
    FailureKind.QUOTA_EXCEEDED: Verdict.NOTHING,
    FailureKind.OVERLOADED: Verdict.NOTHING,
    FailureKind.SHUTTING_DOWN: Verdict.NOTHING,
    FailureKind.PROVIDER_NOT_CONFIGURED: Verdict.NOTHING,
    FailureKind.INTERNAL: Verdict.NOTHING,
    FailureKind.UPSTREAM_AUTHENTICATION: Verdict.KEY_REFUSED,
    FailureKind.UPSTREAM_PERMISSION: Verdict.KEY_REFUSED,
    FailureKind.UPSTREAM_RATE_LIMITED: Verdict.RATE_LIMITED,
    FailureKind.UPSTREAM_QUOTA: Verdict.QUOTA,
    FailureKind.UPSTREAM_OVERLOADED: Verdict.COUNTS,
    FailureKind.UPSTREAM_ERROR: Verdict.COUNTS,
    FailureKind.UPSTREAM_REJECTED: Verdict.NOTHING,
    FailureKind.UPSTREAM_UNAVAILABLE: Verdict.COUNTS,
    FailureKind.UPSTREAM_INVALID_RESPONSE: Verdict.COUNTS,
    FailureKind.UPSTREAM_STREAM_INTERRUPTED: Verdict.COUNTS,
    FailureKind.UPSTREAM_TIMEOUT: Verdict.COUNTS,
    FailureKind.UPSTREAM_CONNECT_TIMEOUT: Verdict.COUNTS,
    FailureKind.UPSTREAM_HEADERS_TIMEOUT: Verdict.COUNTS,
    FailureKind.UPSTREAM_FIRST_TOKEN_TIMEOUT: Verdict.COUNTS,
    FailureKind.UPSTREAM_IDLE_TIMEOUT: Verdict.COUNTS,
    FailureKind.UPSTREAM_TOTAL_TIMEOUT: Verdict.COUNTS,
}

_NOT_FOUND: Final = 404


def judge(failure: Failure) -> Verdict:
    """What `failure`, as an attempt raised it, says about the candidate."""
    if failure.kind is FailureKind.MODEL_NOT_FOUND and failure.upstream_status == _NOT_FOUND:
        # The upstream no longer serves the deployment's id: nobody's request will change that.
        return Verdict.COUNTS
    return VERDICTS[failure.kind]
