"""pydantic-ai's agents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.client_process import ClientProcess
from tests.clients.loops import check_loop
from tests.clients.scripted import breaks_off, says
from tests.clients.stack import (
    ADAPTIVE_CLAUDE,
    BOTH,
    BUDGET_CLAUDE,
    CLAUDE,
    SILENCE_SECONDS,
    SILENCES,
    THINKING_GPT,
    Stack,
    is_claude,
)
from tests.fake_upstream import Answer, Json, Stall

EXPECTED = [("get_weather", {"city": "Paris"}), ("get_time", {"city": "Paris"})]
ANSWER = 'The tools answered: Paris: sunny; {"city":"Paris","zone":"local","time":"noon"}'
VISIT = {"city": "Rome", "days": 1, "companions": ["some companions"]}
THOUGHT = "The user wrote 'How is the weather in Paris?'; an answer follows."


@pytest.mark.parametrize("model", BOTH)
def test_chat(pydantic_ai: ClientProcess, stack: Stack, model: str) -> None:
    seen = pydantic_ai.see("chat", model)
    assert seen["output"] == "You said: Hello there!"
    assert seen["input"] > 0
    assert seen["produced"] > 0
    body = stack.saw(model)
    if is_claude(model):
        assert (body["system"], body["max_tokens"]) == ("Be kind.", 64)


@pytest.mark.parametrize("model", BOTH)
def test_stream(pydantic_ai: ClientProcess, stack: Stack, model: str) -> None:
    seen = pydantic_ai.see("chat_stream", model)
    assert seen["texts"] == ["You", " said:", " Hello", " there!"]
    assert seen["input"] > 0
    assert seen["produced"] > 0
    assert stack.saw(model)["stream"] is True


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("is_stream", [True, False])
def test_tool_loop(pydantic_ai: ClientProcess, stack: Stack, model: str, is_stream: bool) -> None:
    seen = pydantic_ai.see("tool_loop_stream" if is_stream else "tool_loop", model)
    assert seen["output"] == ANSWER
    assert [tuple(call) for call in seen["calls"]] == EXPECTED
    check_loop(stack, model, EXPECTED, is_stream=is_stream)


@pytest.mark.parametrize("model", BOTH)
def test_a_tool_without_arguments(pydantic_ai: ClientProcess, stack: Stack, model: str) -> None:
    seen = pydantic_ai.see("no_arguments", model)
    assert seen == {"output": "The tools answered: a wall", "calls": [["look_around", {}]]}


@pytest.mark.parametrize("model", BOTH)
def test_a_conversation_goes_on(pydantic_ai: ClientProcess, stack: Stack, model: str) -> None:
    seen = pydantic_ai.see("conversation", model)
    assert seen == {"output": "The tools answered: Rome: sunny", "calls": [["get_weather", {"city": "Rome"}]]}
    assert len(stack.seen(model)) == 4


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("scenario", ["tool_output", "tool_output_stream"])
def test_output_by_tool(pydantic_ai: ClientProcess, stack: Stack, model: str, scenario: str) -> None:
    assert pydantic_ai.see(scenario, model) == VISIT
    body = stack.saw(model)
    assert body["tool_choice"] == ({"type": "any"} if is_claude(model) else "required")


@pytest.mark.parametrize("model", BOTH)
def test_output_by_schema(pydantic_ai: ClientProcess, stack: Stack, model: str) -> None:
    assert pydantic_ai.see("native_output", model) == VISIT
    body = stack.saw(model)
    assert ("output_config" in body) == is_claude(model)


@pytest.mark.parametrize("model", BOTH)
def test_output_by_schema_behind_tools(pydantic_ai: ClientProcess, stack: Stack, model: str) -> None:
    """Tools and a schema in one request: the schema binds the last answer only."""
    seen = pydantic_ai.see("native_output_behind_tools", model)
    assert seen == {"output": VISIT, "calls": [["get_weather", {"city": "Rome"}]]}
    bodies = stack.seen(model)
    assert len(bodies) == 2
    for body in bodies:
        assert len(body["tools"]) == 2
        assert ("output_config" in body) == is_claude(model)


@pytest.mark.parametrize("model", BOTH)
def test_output_by_prompt(pydantic_ai: ClientProcess, stack: Stack, model: str) -> None:
    stack.upstream.script(says(model, json.dumps(VISIT)))
    assert pydantic_ai.see("prompted_output", model) == VISIT
    stack.saw(model)


@pytest.mark.parametrize("model", BOTH)
def test_image(pydantic_ai: ClientProcess, stack: Stack, model: str) -> None:
    assert pydantic_ai.see("image", model).startswith("You said: What is it? (with image")
    stack.saw(model)


@pytest.mark.parametrize("scenario", ["reasoning_loop", "reasoning_stream"])
@pytest.mark.parametrize("model", [THINKING_GPT, BUDGET_CLAUDE, ADAPTIVE_CLAUDE])
def test_reasoning_in_a_tool_loop(
    pydantic_ai: ClientProcess, stack: Stack, model: str, scenario: str
) -> None:
    """The thoughts are seen, but come back without their signatures: then they are left out."""
    seen = pydantic_ai.see(scenario, model)
    assert seen["output"] == "The tools answered: Paris: sunny"
    _, second = stack.seen(model)
    if is_claude(model):
        assert seen["thoughts"][0] == THOUGHT
        [assistant] = [turn for turn in second["messages"] if turn["role"] == "assistant"]
        assert [block["type"] for block in assistant["content"]] == ["tool_use"]


@pytest.mark.parametrize(("model", "place"), SILENCES)
def test_comments_in_a_silence_are_passed_over(
    pydantic_ai: ClientProcess, stack: Stack, model: str, place: Any
) -> None:
    stack.upstream.script(Answer() + Stall(before=place, seconds=SILENCE_SECONDS))
    assert "".join(pydantic_ai.see("chat_stream", model)["texts"]) == "You said: Hello there!"


@pytest.mark.parametrize("model", BOTH)
def test_a_broken_stream_raises(pydantic_ai: ClientProcess, stack: Stack, model: str) -> None:
    stack.upstream.always(breaks_off(model, "You said"))
    seen = pydantic_ai.see("broken_stream", model)
    assert seen["error"] is not None, seen
    assert seen["content"] == "You said"


def test_errors(pydantic_ai: ClientProcess, stack: Stack) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    stack.upstream.always(Json(529, error))
    failure = pydantic_ai.failure("chat", CLAUDE)
    assert failure["status_code"] == 503


def test_many_at_once(pydantic_ai: ClientProcess, stack: Stack) -> None:
    seen = pydantic_ai.see("at_once", CLAUDE)
    assert seen == [f"You said: Hello number {number}!" for number in range(8)]
    assert len(stack.seen(CLAUDE)) == 8
