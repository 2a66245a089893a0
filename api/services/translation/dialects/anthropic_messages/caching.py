"""Prompt-cache breakpoints over a whole body: at most four, and ours where the client sets none."""

from __future__ import annotations

from typing import Final

from api.services.translation.conversation import ChatRequest, JsonObject
from api.services.translation.dialects.anthropic_messages.blocks import encode_cache
from api.services.translation.ignored import Ignored

MAX_BREAKPOINTS: Final = 4


def set_breakpoints(body: JsonObject, request: ChatRequest, ignored: Ignored, *, is_automatic: bool) -> None:
    """Finish the marks on a body that was just built.

    Of too many, those on tools and the system text stay, and the last ones of the
    conversation: they cover the longest prefix. `is_automatic` is the operator's wish
    for a mark of ours.
    """
    if request.cache is not None:
        body["cache_control"] = encode_cache(request.cache)
    marked = [block for block in _blocks(body) if "cache_control" in block]
    if is_automatic and not marked and request.cache is None and request.caches_automatically is not False:
        body["cache_control"] = {"type": "ephemeral"}
    elif request.caches_automatically and "cache_control" not in body:
        ignored.add(request.name_of("caches_automatically"))
    surplus = len(marked) + ("cache_control" in body) - MAX_BREAKPOINTS
    if surplus > 0:
        ignored.add(request.name_of("cache"))
        in_turns = [block for block in _turn_blocks(body) if "cache_control" in block]
        # In the body's order the conversation comes last.
        before = marked[: len(marked) - len(in_turns)]
        for block in (in_turns + before[::-1])[:surplus]:
            del block["cache_control"]


def _blocks(body: JsonObject) -> list[JsonObject]:
    blocks = _turn_blocks(body)
    if isinstance(body.get("system"), list):
        blocks = body["system"] + blocks
    return body["tools"] + blocks if "tools" in body else blocks


def _turn_blocks(body: JsonObject) -> list[JsonObject]:
    blocks: list[JsonObject] = []
    for message in body["messages"]:
        if isinstance(message["content"], list):
            blocks += message["content"]
    return blocks
