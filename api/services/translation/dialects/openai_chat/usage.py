"""Token counts in OpenAI's words, read and written."""

from __future__ import annotations

from typing import Any

from api.services.translation.conversation import JsonObject
from api.services.translation.usage import Usage, read_count


def decode_usage(wire: Any) -> Usage | None:
    """None where the upstream counted nothing: many compatible servers do not."""
    if not isinstance(wire, dict) or not wire:
        return None
    cache_read = cache_write = reasoning = 0
    details = wire.get("prompt_tokens_details")
    if isinstance(details, dict):
        cache_read = read_count(details.get("cached_tokens"))
        cache_write = read_count(details.get("cache_write_tokens"))
    details = wire.get("completion_tokens_details")
    if isinstance(details, dict):
        reasoning = read_count(details.get("reasoning_tokens"))
    if not cache_read and (hits := wire.get("prompt_cache_hit_tokens")) is not None:
        cache_read = read_count(hits)  # DeepSeek's own name for it.
    return Usage(
        read_count(wire.get("prompt_tokens")),
        read_count(wire.get("completion_tokens")),
        cache_read,
        cache_write,
        reasoning,
    )


def encode_usage(usage: Usage) -> JsonObject:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
