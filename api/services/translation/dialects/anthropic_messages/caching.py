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
    before: list[JsonObject] = _marked(body["tools"]) if "tools" in body else []
    system = body.get("system")
    if isinstance(system, list):
        before += _marked(system)
    in_turns: list[JsonObject] = []
    for message in body["messages"]:
        content = message["content"]
        if isinstance(content, list):
            in_turns += _marked(content)
    has_marks = request.cache is not None or before or in_turns
    if is_automatic and not has_marks and request.caches_automatically is not False:
        body["cache_control"] = {"type": "ephemeral"}
    elif request.caches_automatically and "cache_control" not in body:
        ignored.add(request.name_of("caches_automatically"))
    surplus = len(before) + len(in_turns) + ("cache_control" in body) - MAX_BREAKPOINTS
    if surplus > 0:
        ignored.add(request.name_of("cache"))
        for block in (in_turns + before[::-1])[:surplus]:
            del block["cache_control"]


def _marked(blocks: list[JsonObject]) -> list[JsonObject]:
    return [block for block in blocks if "cache_control" in block]
