"""Token counts in OpenAI's words, read and written."""

from __future__ import annotations

from typing import Any

from api.services.translation.conversation import JsonObject
from api.services.translation.usage import Usage, read_count


def decode_usage(wire: Any) -> Usage | None:
    """None where the upstream counted nothing: many compatible servers do not."""
    if not isinstance(wire, dict) or not wire:
        return None
    cache_read = _detail(wire, "prompt_tokens_details", "cached_tokens")
    return Usage(
        input_tokens=read_count(wire.get("prompt_tokens")),
        output_tokens=read_count(wire.get("completion_tokens")),
        # DeepSeek's own name for it.
        cache_read_tokens=cache_read or read_count(wire.get("prompt_cache_hit_tokens")),
        cache_write_tokens=_detail(wire, "prompt_tokens_details", "cache_write_tokens"),
        reasoning_tokens=_detail(wire, "completion_tokens_details", "reasoning_tokens"),
    )


def encode_usage(usage: Usage) -> JsonObject:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _detail(wire: JsonObject, group: str, name: str) -> int:
    details = wire.get(group)
    return read_count(details.get(name)) if isinstance(details, dict) else 0
