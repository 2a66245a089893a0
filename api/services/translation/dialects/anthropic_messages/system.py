"""System texts, gathered: one string as long as all of them are strings, else a list of blocks."""

from __future__ import annotations

from api.services.translation.conversation import JsonObject, TextPart, Turn
from api.services.translation.dialects.anthropic_messages.blocks import encode_text


class SystemText:
    """An ordered collection of system texts. Blank ones are left out: upstream refuses them."""

    __slots__ = ("_blocks", "_is_plain")

    def __init__(self) -> None:
        self._blocks: list[JsonObject] = []
        self._is_plain = True

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def add(self, turn: Turn) -> None:
        for part in turn.parts:
            if not isinstance(part, TextPart):
                continue
            block = encode_text(part.text, part.cache)
            if block is not None:
                self._blocks.append(block)
                self._is_plain = self._is_plain and turn.is_plain_text and part.cache is None

    def add_text(self, text: str) -> None:
        """One more text that is a string and not blank: a client's, or one of our own."""
        self._blocks.append({"type": "text", "text": text})

    def extend(self, other: SystemText) -> None:
        self._blocks += other._blocks
        self._is_plain = self._is_plain and other._is_plain

    def encode(self) -> str | list[JsonObject] | None:
        if not self._blocks:
            return None
        if self._is_plain:
            return "\n".join([block["text"] for block in self._blocks])
        return self._blocks
