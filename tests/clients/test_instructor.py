"""instructor, in each of the ways that it asks for structured answers."""

from __future__ import annotations

import json

import pytest

from tests.clients.client_process import ClientProcess
from tests.clients.scripted import says, streams_call
from tests.clients.stack import BOTH, Stack, is_claude

VISIT = {"city": "Rome", "kind": "work", "stays": [{"hotel": "some hotel", "nights": 1}]}


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("scenario", ["tools", "tools_strict"])
def test_tools(instructor: ClientProcess, stack: Stack, model: str, scenario: str) -> None:
    assert instructor.see(scenario, model)["visit"] == VISIT
    body = stack.saw(model)
    [tool] = body["tools"]
    if is_claude(model):
        assert tool["name"] == "Visit"
        assert body["tool_choice"] == {"type": "tool", "name": "Visit"}
    else:
        assert tool["function"]["name"] == "Visit"


@pytest.mark.parametrize("model", BOTH)
def test_json_schema(instructor: ClientProcess, stack: Stack, model: str) -> None:
    assert instructor.see("json_schema", model) == {"visit": VISIT, "finish": "stop"}
    body = stack.saw(model)
    if is_claude(model):
        assert body["output_config"]["format"]["schema"]["additionalProperties"] is False


@pytest.mark.parametrize("model", BOTH)
def test_json_mode(instructor: ClientProcess, stack: Stack, model: str) -> None:
    stack.upstream.script(says(model, json.dumps(VISIT)))
    assert instructor.see("json_mode", model) == {"visit": VISIT, "finish": "stop"}
    stack.saw(model)


@pytest.mark.parametrize("model", BOTH)
def test_values_grow_while_they_stream(instructor: ClientProcess, stack: Stack, model: str) -> None:
    seen = instructor.see("partial_stream", model)
    assert seen[-1] == VISIT
    # Argument deltas came one by one: the city was there before the hotel was.
    assert {"city": "Rome", "kind": None, "stays": None} in seen
    assert len(seen) > 4
    assert stack.saw(model)["stream"] is True


@pytest.mark.parametrize("model", BOTH)
def test_a_list_while_it_streams(instructor: ClientProcess, stack: Stack, model: str) -> None:
    second = {**VISIT, "city": "Oslo"}
    stack.upstream.script(streams_call(model, "IterableVisit", {"tasks": [VISIT, second]}))
    assert instructor.see("iterable_stream", model) == [VISIT, second]
    stack.saw(model)


@pytest.mark.parametrize("model", BOTH)
def test_parallel_tools(instructor: ClientProcess, stack: Stack, model: str) -> None:
    seen = instructor.see("parallel_tools", model)
    assert [name for name, _ in seen] == ["Visit", "Stay"]
    assert len(stack.saw(model)["tools"]) == 2


@pytest.mark.parametrize("model", BOTH)
def test_a_refused_answer_is_asked_for_again(instructor: ClientProcess, stack: Stack, model: str) -> None:
    """The second request carries the refused call and, as its result, what was wrong with it."""
    assert instructor.see("asked_again", model) == {"city": "Rome", "tries": 2}
    _, second = stack.seen(model)
    text = json.dumps(second["messages"])
    assert "write it in full" in text
    if is_claude(model):
        *_, assistant, result = second["messages"]
        assert assistant["content"][-1]["type"] == "tool_use"
        assert result["content"][0]["tool_use_id"] == assistant["content"][-1]["id"]


@pytest.mark.parametrize("model", BOTH)
def test_asynchronous(instructor: ClientProcess, stack: Stack, model: str) -> None:
    assert instructor.see("asynchronous", model) == VISIT
    stack.saw(model)
