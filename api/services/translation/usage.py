"""Token counts of one reply, in one algebra for every provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


# Not frozen: one is made for each reply, and freezing triples what that costs.
@dataclass(slots=True)
class Usage:
    """What one reply consumed, in tokens.

    `input_tokens` counts the whole prompt, cached and cache-written parts included;
    `output_tokens` includes reasoning. The other counts are parts of these two and are
    never added to them. Anthropic counts its prompt without the cached parts: its
    dialect adds them when it reads and takes them out when it writes.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


def sum_usage(first: Usage | None, second: Usage | None) -> Usage | None:
    """What two upstream calls consumed together; an uncounted one adds nothing."""
    if first is None or second is None:
        return first or second
    return Usage(
        input_tokens=first.input_tokens + second.input_tokens,
        output_tokens=first.output_tokens + second.output_tokens,
        cache_read_tokens=first.cache_read_tokens + second.cache_read_tokens,
        cache_write_tokens=first.cache_write_tokens + second.cache_write_tokens,
        reasoning_tokens=first.reasoning_tokens + second.reasoning_tokens,
    )


def read_count(value: Any) -> int:
    """A token count as an upstream wrote it. Null, negative and nonsense count as none."""
    if type(value) is int:
        return value if value > 0 else 0
    if type(value) is float and value.is_integer():
        return max(int(value), 0)
    return 0
