"""Structured outputs through openai-python's `.parse()` and `.stream()` with pydantic models."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from openai import ContentFilterFinishReasonError, LengthFinishReasonError, OpenAI, pydantic_function_tool
from pydantic import BaseModel, Field

from tests.clients.stack import BOTH, CLAUDE, Stack, is_claude

TRIP: list[Any] = [{"role": "user", "content": "A trip to Rome"}]


class Purpose(StrEnum):
    WORK = "work"
    LEISURE = "leisure"


class Stay(BaseModel):
    hotel: str
    nights: int = Field(ge=1, le=30)


class Visit(BaseModel):
    """A trip that somebody plans."""

    city: str
    purpose: Purpose
    note: str | None
    stays: list[Stay]


EXPECTED = Visit(
    city="Rome", purpose=Purpose.WORK, note="some note", stays=[Stay(hotel="some hotel", nights=1)]
)


def check_schema(body: dict[str, Any], model: str) -> None:
    """The schema went where each API takes it, closed, and without what Claude's compiler refuses."""
    if not is_claude(model):
        assert body["response_format"]["type"] == "json_schema"
        assert body["response_format"]["json_schema"]["strict"] is True
        return
    assert "response_format" not in body
    [(name, asked)] = body["output_config"].items()
    assert name == "format"
    assert asked.keys() == {"type", "schema"}
    schema = asked["schema"]
    assert schema["additionalProperties"] is False
    nights = schema["$defs"]["Stay"]["properties"]["nights"]
    assert not {"minimum", "maximum"} & nights.keys()
    assert "maximum: 30" in nights["description"]


@pytest.mark.parametrize("model", BOTH)
def test_parse(client: OpenAI, stack: Stack, model: str) -> None:
    completion = client.chat.completions.parse(model=model, messages=TRIP, response_format=Visit)
    assert completion.choices[0].message.parsed == EXPECTED
    assert completion.choices[0].finish_reason == "stop"
    check_schema(stack.saw(model), model)


@pytest.mark.parametrize("model", BOTH)
def test_parse_a_stream(client: OpenAI, stack: Stack, model: str) -> None:
    with client.chat.completions.stream(model=model, messages=TRIP, response_format=Visit) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert final.choices[0].message.parsed == EXPECTED
    assert kinds.count("content.done") == 1
    check_schema(stack.saw(model), model)


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("is_stream", [True, False])
def test_parse_tool_arguments(client: OpenAI, stack: Stack, model: str, is_stream: bool) -> None:
    tools = [pydantic_function_tool(Visit, name="plan")]
    if is_stream:
        with client.chat.completions.stream(
            model=model, messages=TRIP, tools=tools, tool_choice="required"
        ) as stream:
            message = stream.get_final_completion().choices[0].message
    else:
        completion = client.chat.completions.parse(
            model=model, messages=TRIP, tools=tools, tool_choice="required"
        )
        message = completion.choices[0].message
    [call] = message.tool_calls or []
    assert call.function.name == "plan"
    assert call.function.parsed_arguments == EXPECTED


@pytest.mark.parametrize("model", BOTH)
def test_a_parse_that_was_cut_off_raises(client: OpenAI, stack: Stack, model: str) -> None:
    with pytest.raises(LengthFinishReasonError) as caught:
        client.chat.completions.parse(
            model=model, messages=TRIP, response_format=Visit, max_completion_tokens=1
        )
    assert caught.value.completion.usage
    stack.saw(model)


def test_a_refused_parse_raises(client: OpenAI, stack: Stack) -> None:
    with pytest.raises(ContentFilterFinishReasonError):
        client.chat.completions.parse(
            model=CLAUDE, messages=[{"role": "user", "content": "Please refuse."}], response_format=Visit
        )
    stack.saw(CLAUDE)


def test_an_older_claude_is_told_the_schema_in_words(client: OpenAI, stack: Stack) -> None:
    client.chat.completions.create(
        model="claude-3-5-haiku",
        messages=TRIP,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "visit", "schema": Visit.model_json_schema()},
        },
    )
    [request] = stack.upstream.requests
    body = request.json
    assert "output_config" not in body
    instructions = body["system"] if isinstance(body["system"], str) else body["system"][-1]["text"]
    assert '"stays"' in instructions


def test_json_mode_is_an_instruction_for_claude(client: OpenAI, stack: Stack) -> None:
    client.chat.completions.create(
        model=CLAUDE,
        messages=[{"role": "system", "content": "Be kind."}, *TRIP],
        response_format={"type": "json_object"},
    )
    system = stack.saw(CLAUDE)["system"]
    text = system if isinstance(system, str) else "".join(block["text"] for block in system)
    kind, _, asked = text.partition("Be kind.")
    assert kind == ""
    assert "JSON" in asked
