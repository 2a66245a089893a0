"""Signatures of thinking blocks: issued with every pretended thought, verified when it comes back.

A signature covers the text shown; for models that bind the prefix also the model and all
that stood before the turn. The secret is fixed, so that equal requests get equal replies
and a signature survives a restart of the server.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

_SECRET = b"of the fake upstream, and of nobody else"


@dataclass(frozen=True, slots=True)
class Verdict:
    is_genuine: bool
    turn: str = ""
    """Which reply issued the block."""
    position: int = 0
    """Its place among the thinking blocks of that reply."""
    holds_here: bool = True
    """False when the block was issued behind another prefix."""


class Signatures:
    def issue(self, content: str, *, model: str, prefix: str, turn: str, position: int) -> str:
        """A signature for shown text, or, for a redacted block, its whole `data`."""
        claims = {"m": model, "p": prefix, "t": turn, "n": position}
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return base64.b64encode(_digest(payload, content) + payload).decode()

    def verify(self, content: str, signature: str, *, model: str, prefix: str) -> Verdict:
        try:
            data = base64.b64decode(signature, validate=True)
            digest, payload = data[:32], data[32:]
            claims = json.loads(payload)
        except ValueError:
            return Verdict(is_genuine=False)
        if not hmac.compare_digest(digest, _digest(payload, content)):
            return Verdict(is_genuine=False)
        # A block of another model is ignored by the model that gets it, not refused.
        holds = claims["m"] != model or claims["p"] == prefix
        return Verdict(True, claims["t"], claims["n"], holds)


def prefix_of(body: dict[str, Any], messages: list[dict[str, Any]]) -> str:
    """A fingerprint of what stands before a turn: model, system, tools, messages, without cache marks or thoughts."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        blocks = [block for block in blocks if block.get("type") not in ("thinking", "redacted_thinking")]
        if turns and turns[-1]["role"] == message["role"]:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": message["role"], "content": [*blocks]})
    parts = [body["model"], body.get("system"), body.get("tools"), turns]
    text = json.dumps(_without_marks(parts), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_marks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_marks(item) for key, item in value.items() if key != "cache_control"}
    if isinstance(value, list):
        return [_without_marks(item) for item in value]
    return value


def _digest(payload: bytes, content: str) -> bytes:
    return hmac.digest(_SECRET, payload + b"\0" + content.encode(), "sha256")
