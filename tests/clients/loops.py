"""What the upstream has to have seen of a tool loop, whichever client drove it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.clients.stack import Stack, is_claude

Call = tuple[str, dict[str, Any]]


def check_loop(stack: Stack, model: str, expected: Sequence[Call], *, is_stream: bool) -> None:
    """Two requests; the second holds the calls of the first reply, each with its own result behind it."""
    first, second = stack.seen(model)
    assert (first.get("stream") is True, second.get("stream") is True) == (is_stream, is_stream)
    assert len(first["tools"]) >= len(expected)
    assert first["tools"] == second["tools"]
    calls, answered = (_claude_turns if is_claude(model) else _openai_turns)(second["messages"])
    assert [(name, given) for _, name, given in calls] == list(expected)
    assert answered == [call_id for call_id, _, _ in calls]
    assert len(set(answered)) == len(expected)


def _claude_turns(turns: list[dict[str, Any]]) -> tuple[list[tuple[str, str, Any]], list[str]]:
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    uses = [block for block in turns[1]["content"] if block["type"] == "tool_use"]
    results = turns[2]["content"]
    # Anything else before the results, and Anthropic refuses the turn.
    assert {block["type"] for block in results} == {"tool_result"}
    calls = [(use["id"], use["name"], use["input"]) for use in uses]
    return calls, [result["tool_use_id"] for result in results]


def _openai_turns(messages: list[dict[str, Any]]) -> tuple[list[tuple[str, str, Any]], list[str]]:
    [assistant] = [message for message in messages if message["role"] == "assistant"]
    results = [message for message in messages if message["role"] == "tool"]
    calls = [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in assistant["tool_calls"]
    ]
    return calls, [result["tool_call_id"] for result in results]
