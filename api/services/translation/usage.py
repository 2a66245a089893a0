"""Token counts of one reply, in one algebra for every provider."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
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
