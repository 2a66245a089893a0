"""Names of headers as text in lower case. Those that clients usually send are looked up, not made anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_USUAL: Final = (
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Api-Key",
    "Authorization",
    "Baggage",
    "Cache-Control",
    "Connection",
    "Content-Length",
    "Content-Type",
    "Cookie",
    "Forwarded",
    "Host",
    "Idempotency-Key",
    "OpenAI-Beta",
    "OpenAI-Organization",
    "OpenAI-Project",
    "Origin",
    "Priority",
    "Referer",
    "Sec-Fetch-Dest",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Site",
    "Traceparent",
    "Tracestate",
    "Transfer-Encoding",
    "User-Agent",
    "Via",
    "X-Api-Key",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
    "X-Request-ID",
    "X-Stainless-Arch",
    "X-Stainless-Async",
    "X-Stainless-Helper-Method",
    "X-Stainless-Lang",
    "X-Stainless-OS",
    "X-Stainless-Package-Version",
    "X-Stainless-Raw-Response",
    "X-Stainless-Read-Timeout",
    "X-Stainless-Retry-Count",
    "X-Stainless-Runtime",
    "X-Stainless-Runtime-Version",
    "X-Stainless-Timeout",
)

NAMES: Final[Mapping[bytes, str]] = {
    spelling.encode(): name.lower() for name in _USUAL for spelling in (name, name.lower())
}
"""By their two usual spellings."""


def plain_name(name: bytes) -> str:
    return name.lower().decode("latin-1")
