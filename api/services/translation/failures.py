"""What can go wrong with a request, as neutral values that any dialect can put into words.

`FAILURES` is the one table of status, type, code, retryability and log level. A
`Failure` never carries a secret, an upstream's address or a traceback: `message` is
text for the client.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class FailureKind(StrEnum):
    # The client's request.
    INVALID_REQUEST = "invalid_request"
    UNSUPPORTED_VALUE = "unsupported_value"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    CONTENT_REFUSED = "content_refused"
    REQUEST_TOO_LARGE = "request_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    AUTHENTICATION_MISSING = "authentication_missing"
    INVALID_API_KEY = "invalid_api_key"
    PERMISSION_DENIED = "permission_denied"
    MODEL_NOT_FOUND = "model_not_found"
    URL_NOT_FOUND = "url_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    # Our own limits and state.
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    OVERLOADED = "overloaded"
    SHUTTING_DOWN = "shutting_down"
    PROVIDER_NOT_CONFIGURED = "provider_not_configured"
    INTERNAL = "internal"
    # The upstream.
    UPSTREAM_AUTHENTICATION = "upstream_authentication"
    UPSTREAM_PERMISSION = "upstream_permission"
    UPSTREAM_RATE_LIMITED = "upstream_rate_limited"
    UPSTREAM_QUOTA = "upstream_quota"
    UPSTREAM_OVERLOADED = "upstream_overloaded"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_REJECTED = "upstream_rejected"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    UPSTREAM_INVALID_RESPONSE = "upstream_invalid_response"
    UPSTREAM_STREAM_INTERRUPTED = "upstream_stream_interrupted"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_CONNECT_TIMEOUT = "upstream_connect_timeout"
    UPSTREAM_HEADERS_TIMEOUT = "upstream_headers_timeout"
    UPSTREAM_FIRST_TOKEN_TIMEOUT = "upstream_first_token_timeout"
    UPSTREAM_IDLE_TIMEOUT = "upstream_idle_timeout"
    UPSTREAM_TOTAL_TIMEOUT = "upstream_total_timeout"


@dataclass(frozen=True, slots=True)
class FailureSpec:
    """How one kind of failure looks from outside.

    `type` and `code` are OpenAI's words. `is_retryable` says whether another attempt
    upstream may help; `should_retry` is what the client's SDK is told in
    `x-should-retry` (None: nothing, it goes by the status).
    """

    status: int
    type: str
    code: str | None
    is_retryable: bool
    should_retry: bool | None
    log_level: int


_CLIENT = logging.INFO
_UPSTREAM = logging.WARNING
_OPERATOR = logging.ERROR

FAILURES: Final[Mapping[FailureKind, FailureSpec]] = {
    FailureKind.INVALID_REQUEST: FailureSpec(400, "invalid_request_error", None, False, None, _CLIENT),
    FailureKind.UNSUPPORTED_VALUE: FailureSpec(
        400, "invalid_request_error", "unsupported_value", False, None, _CLIENT
    ),
    FailureKind.UNSUPPORTED_PARAMETER: FailureSpec(
        400, "invalid_request_error", "unsupported_parameter", False, None, _CLIENT
    ),
    FailureKind.CONTEXT_LENGTH_EXCEEDED: FailureSpec(
        400, "invalid_request_error", "context_length_exceeded", False, None, _CLIENT
    ),
    FailureKind.CONTENT_REFUSED: FailureSpec(
        400, "invalid_request_error", "content_filter", False, None, _CLIENT
    ),
    FailureKind.REQUEST_TOO_LARGE: FailureSpec(
        413, "invalid_request_error", "request_too_large", False, None, _CLIENT
    ),
    FailureKind.REQUEST_TIMEOUT: FailureSpec(
        408, "invalid_request_error", "request_timeout", False, None, _CLIENT
    ),
    FailureKind.AUTHENTICATION_MISSING: FailureSpec(401, "invalid_request_error", None, False, None, _CLIENT),
    FailureKind.INVALID_API_KEY: FailureSpec(
        401, "invalid_request_error", "invalid_api_key", False, None, _CLIENT
    ),
    FailureKind.PERMISSION_DENIED: FailureSpec(
        403, "invalid_request_error", "permission_denied", False, None, _CLIENT
    ),
    FailureKind.MODEL_NOT_FOUND: FailureSpec(
        404, "invalid_request_error", "model_not_found", False, None, _CLIENT
    ),
    FailureKind.URL_NOT_FOUND: FailureSpec(404, "invalid_request_error", None, False, None, _CLIENT),
    FailureKind.METHOD_NOT_ALLOWED: FailureSpec(405, "invalid_request_error", None, False, None, _CLIENT),
    FailureKind.NOT_FOUND: FailureSpec(404, "invalid_request_error", None, False, None, _CLIENT),
    FailureKind.CONFLICT: FailureSpec(409, "invalid_request_error", "conflict", True, None, _UPSTREAM),
    FailureKind.RATE_LIMITED: FailureSpec(429, "requests", "rate_limit_exceeded", False, None, _CLIENT),
    FailureKind.QUOTA_EXCEEDED: FailureSpec(
        429, "insufficient_quota", "insufficient_quota", False, False, _CLIENT
    ),
    FailureKind.OVERLOADED: FailureSpec(503, "server_error", "overloaded", False, None, _UPSTREAM),
    FailureKind.SHUTTING_DOWN: FailureSpec(
        503, "server_error", "server_shutting_down", False, True, _UPSTREAM
    ),
    FailureKind.PROVIDER_NOT_CONFIGURED: FailureSpec(
        503, "server_error", "provider_not_configured", False, False, _OPERATOR
    ),
    FailureKind.INTERNAL: FailureSpec(500, "server_error", None, False, None, _OPERATOR),
    FailureKind.UPSTREAM_AUTHENTICATION: FailureSpec(
        502, "server_error", "upstream_authentication_error", True, False, _OPERATOR
    ),
    FailureKind.UPSTREAM_PERMISSION: FailureSpec(
        502, "server_error", "upstream_permission_error", True, False, _OPERATOR
    ),
    FailureKind.UPSTREAM_RATE_LIMITED: FailureSpec(
        429, "rate_limit_error", "rate_limit_exceeded", True, None, _UPSTREAM
    ),
    FailureKind.UPSTREAM_QUOTA: FailureSpec(
        429, "insufficient_quota", "insufficient_quota", True, False, _OPERATOR
    ),
    FailureKind.UPSTREAM_OVERLOADED: FailureSpec(503, "server_error", "overloaded", True, None, _UPSTREAM),
    FailureKind.UPSTREAM_ERROR: FailureSpec(500, "server_error", None, True, None, _UPSTREAM),
    FailureKind.UPSTREAM_REJECTED: FailureSpec(400, "invalid_request_error", None, False, None, _CLIENT),
    FailureKind.UPSTREAM_UNAVAILABLE: FailureSpec(
        502, "server_error", "upstream_unavailable", True, None, _UPSTREAM
    ),
    FailureKind.UPSTREAM_INVALID_RESPONSE: FailureSpec(
        502, "server_error", "upstream_invalid_response", True, None, _UPSTREAM
    ),
    FailureKind.UPSTREAM_STREAM_INTERRUPTED: FailureSpec(
        502, "server_error", "upstream_stream_interrupted", True, None, _UPSTREAM
    ),
    FailureKind.UPSTREAM_TIMEOUT: FailureSpec(504, "server_error", "upstream_timeout", True, None, _UPSTREAM),
    FailureKind.UPSTREAM_CONNECT_TIMEOUT: FailureSpec(
        504, "server_error", "upstream_connect_timeout", True, None, _UPSTREAM
    ),
    FailureKind.UPSTREAM_HEADERS_TIMEOUT: FailureSpec(
        504, "server_error", "upstream_headers_timeout", True, None, _UPSTREAM
    ),
    FailureKind.UPSTREAM_FIRST_TOKEN_TIMEOUT: FailureSpec(
        504, "server_error", "upstream_first_token_timeout", True, None, _UPSTREAM
    ),
    FailureKind.UPSTREAM_IDLE_TIMEOUT: FailureSpec(
        504, "server_error", "upstream_idle_timeout", True, None, _UPSTREAM
    ),
    FailureKind.UPSTREAM_TOTAL_TIMEOUT: FailureSpec(
        504, "server_error", "upstream_total_timeout", True, None, _UPSTREAM
    ),
}


class Failure(Exception):
    """One thing that went wrong, raised where it is seen and put into words by the client's dialect.

    `param` is the place in the client's request ("messages[0].content"). `code`, `type`
    and `status` replace the table's where the upstream or the protocol has its own word.
    `retry_after` is in seconds. `upstream_status` and `upstream_request_id` are for the
    log and the response headers, `upstream_message` (scrubbed) for the log alone: it is
    there when the client is told something else. `body` is an upstream's own error body
    that is relayed (already scrubbed). `headers` go out with the answer beside those that
    the other values make.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        type: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
        upstream_status: int | None = None,
        upstream_request_id: str | None = None,
        upstream_message: str | None = None,
        body: dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        spec = FAILURES[kind]
        self.kind = kind
        self.message = message
        self.param = param
        self.code = spec.code if code is None else code
        self.type = spec.type if type is None else type
        self.status = spec.status if status is None else status
        self.retry_after = retry_after
        self.should_retry = spec.should_retry if should_retry is None else should_retry
        self.upstream_status = upstream_status
        self.upstream_request_id = upstream_request_id
        self.upstream_message = upstream_message
        self.body = body
        self.headers: Mapping[str, str] = {} if headers is None else headers

    @property
    def spec(self) -> FailureSpec:
        return FAILURES[self.kind]

    def __repr__(self) -> str:
        return f"Failure({self.kind.value}, {self.message!r}, param={self.param!r})"


# A provider's own texts quote the key that it was sent, whole or masked
# ("sk-proj-****q7Zx"), and the organisation that it belongs to.
_KEY_SHAPES: Final = re.compile(
    r"""(?x)
    \b(?:sk-|gsk[-_]|xai-|pplx-)[A-Za-z0-9_\-*.…]{4,}[A-Za-z0-9_\-*]
    # Words such as "key-value" have the shape too, but no digit or capital.
    | \b(?:pk|rk|key|api[-_]key)-(?=[a-z_\-]*[A-Z0-9*…])[A-Za-z0-9_\-*.…]{4,}[A-Za-z0-9_\-*]
    | \bAIza[0-9A-Za-z_\-]{10,}
    | \bBearer\s+[A-Za-z0-9._~+/*\-]{8,}=*
    | \borg-[A-Za-z0-9]{6,}
    | \bproj_[A-Za-z0-9]{6,}
    | [A-Za-z0-9_\-]*\*{4,}[A-Za-z0-9_\-]*
    """
)
REDACTED: Final = "[redacted]"


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Take every known secret, and all that has the shape of a key, out of an upstream's text."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, REDACTED)
    return _KEY_SHAPES.sub(REDACTED, text)
