"""A Messages body amended for one more try: after a refusal that can be helped, or a pause.

Every function gives a new body and leaves the old one as it is.
"""

from __future__ import annotations

import re
from typing import Any, Final

from api.services.translation.conversation import JsonObject
from api.services.translation.dialects.anthropic_messages.thinking import fit_budget

_THINKING: Final = ("thinking", "redacted_thinking")
_OVER_CONTEXT: Final = re.compile(r"exceed context limit: (\d+) \+ (\d+) > (\d+)")


def without_thinking(body: JsonObject) -> JsonObject:
    """The body without any thoughts of earlier turns, for a refused signature.

    A budget goes too where the latest assistant turn calls tools: upstream would miss
    the thoughts that belong to it.
    """
    messages: list[JsonObject] = []
    for message in body["messages"]:
        content = message["content"]
        if isinstance(content, list) and any(_is_thinking(block) for block in content):
            content = [block for block in content if not _is_thinking(block)]
            message = {**message, "content": content}
        if content:
            messages.append(message)
    amended = {**body, "messages": messages}
    if body.get("thinking", {}).get("type") == "enabled" and _calls_tools_last(messages):
        del amended["thinking"]
    return amended


def continue_turn(body: JsonObject, content: list[Any]) -> JsonObject:
    """The body that goes on after a paused turn: what it said so far stands at the end."""
    messages = list(body["messages"])
    if messages[-1]["role"] == "assistant":
        said = messages.pop()["content"]
        content = [*([{"type": "text", "text": said}] if isinstance(said, str) else said), *content]
    return {**body, "messages": [*messages, {"role": "assistant", "content": content}]}


def shrink_max_tokens(body: JsonObject, message: str) -> JsonObject | None:
    """The body with the limit that is left, for an upstream error that says how much that is.

    None where the error is another one or nothing is left. Models before 4.5 want
    prompt and limit together inside their context window.
    """
    found = _OVER_CONTEXT.search(message)
    if found is None:
        return None
    prompt, _, window = (int(number) for number in found.groups())
    left = window - prompt
    if not 1 <= left < body["max_tokens"]:
        return None
    amended = {**body, "max_tokens": left}
    thinking = body.get("thinking", {})
    if thinking.get("type") == "enabled":
        budget = fit_budget(thinking["budget_tokens"], left)
        if budget is None:
            del amended["thinking"]
        else:
            amended["thinking"] = {**thinking, "budget_tokens": budget}
    return amended


def _is_thinking(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") in _THINKING


def _calls_tools_last(messages: list[JsonObject]) -> bool:
    for message in reversed(messages):
        if message["role"] == "assistant":
            return any(block["type"] == "tool_use" for block in message["content"] if isinstance(block, dict))
    return False
