"""A body amended for one more try says the same, less what was refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from api.services.translation.dialects.anthropic_messages.amendments import (
    continue_turn,
    shrink_max_tokens,
    without_thinking,
)

THOUGHT = {"type": "thinking", "thinking": "t", "signature": "S"}
HIDDEN = {"type": "redacted_thinking", "data": "E"}
TEXT = {"type": "text", "text": "a"}
CALL = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1"}]}
USER = {"role": "user", "content": "q"}


def body(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 16000, "messages": list(messages), **fields}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def test_all_thoughts_go_and_nothing_else() -> None:
    sent = body(
        USER,
        assistant(THOUGHT, HIDDEN, TEXT),
        USER,
        assistant(THOUGHT, CALL),
        RESULT,
        thinking={"type": "adaptive"},
    )
    before = copy.deepcopy(sent)
    amended = without_thinking(sent)
    assert amended == body(
        USER, assistant(TEXT), USER, assistant(CALL), RESULT, thinking={"type": "adaptive"}
    )
    assert sent == before


def test_a_budget_goes_with_the_thoughts_of_an_open_call() -> None:
    budget = {"type": "enabled", "budget_tokens": 2000}
    assert "thinking" not in without_thinking(body(USER, assistant(THOUGHT, CALL), RESULT, thinking=budget))
    done = without_thinking(body(USER, assistant(THOUGHT, TEXT), USER, thinking=budget))
    assert done["thinking"] == budget


def test_a_paused_turn_goes_on_where_it_stopped() -> None:
    sent = body(USER)
    once = continue_turn(sent, [THOUGHT, TEXT])
    assert once["messages"] == [USER, assistant(THOUGHT, TEXT)]
    twice = continue_turn(once, [CALL])
    assert twice["messages"] == [USER, assistant(THOUGHT, TEXT, CALL)]
    assert sent == body(USER)
    begun = continue_turn(body(USER, {"role": "assistant", "content": "a"}), [CALL])
    assert begun["messages"] == [USER, assistant(TEXT, CALL)]


OVER = "input length and `max_tokens` exceed context limit: 190000 + 16000 > 200000, decrease input length or `max_tokens` and try again"


def test_the_limit_shrinks_to_what_is_left() -> None:
    sent = body(USER, thinking={"type": "enabled", "budget_tokens": 12000})
    amended = shrink_max_tokens(sent, OVER)
    assert amended == body(USER, max_tokens=10000, thinking={"type": "enabled", "budget_tokens": 8000})
    assert sent["max_tokens"] == 16000
    small = shrink_max_tokens(sent, OVER.replace("190000", "199500"))
    assert small == body(USER, max_tokens=500)


@pytest.mark.parametrize(
    "message", ["prompt is too long", OVER.replace("190000", "200000"), OVER.replace("190000", "1")]
)
def test_the_limit_does_not_shrink_for_another_reason(message: str) -> None:
    assert shrink_max_tokens(body(USER), message) is None
