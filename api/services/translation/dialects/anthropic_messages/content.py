"""The content blocks of a streamed message, put together again as Anthropic would have sent them whole.

Needed for one thing: a model that paused between its server tools goes on when its own
content is sent back to it, block for block.
"""

from __future__ import annotations

from typing import Any

from api.services.translation.conversation import JsonObject
from api.services.translation.failures import Failure
from api.services.translation.json_text import load_json

_TEXT_FIELDS = {"text_delta": "text", "thinking_delta": "thinking"}


class ContentRecorder:
    """Collects blocks of any kind, also those that the client never sees."""

    def __init__(self) -> None:
        self._blocks: dict[int, JsonObject] = {}
        self._texts: dict[int, list[str]] = {}
        self._inputs: dict[int, list[str]] = {}

    def start(self, index: int, block: JsonObject) -> None:
        self._blocks[index] = dict(block)

    def add(self, index: int, delta: JsonObject) -> None:
        block = self._blocks.get(index)
        if block is None:
            return
        kind = delta.get("type")
        if kind == "input_json_delta":
            _collect(self._inputs, index, delta.get("partial_json"))
        elif kind == "signature_delta":
            block["signature"] = delta.get("signature")
        elif kind == "citations_delta":
            earlier = block.get("citations")
            block["citations"] = [*(earlier if isinstance(earlier, list) else ()), delta.get("citation")]
        elif isinstance(kind, str) and kind in _TEXT_FIELDS:
            _collect(self._texts, index, delta.get(_TEXT_FIELDS[kind]))

    def finish(self) -> list[JsonObject]:
        return [self._whole(index, block) for index, block in sorted(self._blocks.items())]

    def _whole(self, index: int, block: JsonObject) -> JsonObject:
        if index in self._texts:
            name = "thinking" if block.get("type") == "thinking" else "text"
            begun = block.get(name)
            block[name] = (begun if isinstance(begun, str) else "") + "".join(self._texts[index])
        if index in self._inputs:
            try:
                block["input"] = load_json("".join(self._inputs[index]))
            except Failure:
                block["input"] = {}  # cut off by the token limit: the upstream takes objects only
        return block


def _collect(pieces: dict[int, list[str]], index: int, piece: Any) -> None:
    if isinstance(piece, str) and piece:
        pieces.setdefault(index, []).append(piece)
