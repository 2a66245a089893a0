"""Anthropic's token counts, read into the neutral algebra.

Their `input_tokens` leaves out what was read from and written to the prompt cache;
ours counts the whole prompt.
"""

from __future__ import annotations

from typing import Any, Final

from api.services.translation.conversation import JsonObject
from api.services.translation.usage import Usage, read_count

# OpenAI's words for the tiers that have one; a batch has none.
_SERVICE_TIERS: Final = {"standard": "default", "priority": "priority"}


def decode_usage(wire: Any) -> Usage | None:
    """None where the upstream counted nothing. Every count may be absent or null."""
    if not isinstance(wire, dict) or not wire:
        return None
    cache_read = read_count(wire.get("cache_read_input_tokens"))
    cache_write = read_count(wire.get("cache_creation_input_tokens"))
    details = wire.get("output_tokens_details")
    return Usage(
        input_tokens=read_count(wire.get("input_tokens")) + cache_read + cache_write,
        output_tokens=read_count(wire.get("output_tokens")),
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        reasoning_tokens=read_count(details.get("thinking_tokens")) if isinstance(details, dict) else 0,
    )


def merge_usage(wire: JsonObject, newer: Any) -> None:
    """Overwrite the counts of a stream with those of a later event: they are cumulative, never added up."""
    if isinstance(newer, dict):
        wire.update({key: value for key, value in newer.items() if value is not None})


def decode_service_tier(wire: Any) -> str | None:
    tier = wire.get("service_tier") if isinstance(wire, dict) else None
    return _SERVICE_TIERS.get(tier) if isinstance(tier, str) else None
