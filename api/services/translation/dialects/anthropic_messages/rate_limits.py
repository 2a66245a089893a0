"""Anthropic's rate-limit headers, in the names and units that OpenAI's clients read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

_PREFIX: Final = "anthropic-ratelimit-"


def convert_rate_limits(headers: Mapping[str, str], now: float) -> dict[str, str]:
    """`x-ratelimit-*` for requests and tokens; what the upstream did not send, or garbled, is left out.

    Without a common token limit, the one of input and output with less left counts: it
    will be hit first.
    """
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    converted: dict[str, str] = {}
    for client_name, upstream_name in (("requests", "requests"), ("tokens", _token_limit(lower))):
        for fact in ("limit", "remaining"):
            value = lower.get(f"{_PREFIX}{upstream_name}-{fact}", "")
            if _is_count(value):
                converted[f"x-ratelimit-{fact}-{client_name}"] = value
        reset = _seconds_until(lower.get(f"{_PREFIX}{upstream_name}-reset", ""), now)
        if reset is not None:
            converted[f"x-ratelimit-reset-{client_name}"] = format_duration(reset)
    return converted


def format_duration(seconds: float) -> str:
    """As OpenAI writes it: "120ms", "1s", "6m0s", "1h0m30s". Rounded up: nobody comes back too early."""
    if 1 <= seconds <= 59:
        return f"{math.ceil(seconds)}s"
    seconds = max(seconds, 0.0)
    if seconds < 1:
        milliseconds = math.ceil(seconds * 1000)
        return "1s" if milliseconds == 1000 else f"{milliseconds}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _token_limit(headers: Mapping[str, str]) -> str:
    left = {
        name: int(value)
        for name in ("input-tokens", "output-tokens")
        if _is_count(value := headers.get(f"{_PREFIX}{name}-remaining", ""))
    }
    if not left or f"{_PREFIX}tokens-remaining" in headers:
        return "tokens"
    return min(left, key=lambda name: left[name])


def _is_count(value: str) -> bool:
    return value.isascii() and value.isdecimal()


def _seconds_until(moment: str, now: float) -> float | None:
    try:
        parsed = datetime.fromisoformat(moment)
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=UTC)
        return parsed.timestamp() - now
    except (ValueError, OverflowError):
        return None
