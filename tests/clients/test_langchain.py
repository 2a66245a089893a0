"""LangChain's ChatOpenAI."""

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
    GPT,
    SILENCE_SECONDS,
    SILENCES,
    THINKING_GPT,
    Stack,
    is_claude,
)
from tests.fake_upstream import Answer, Json, Stall

EXPECTED = [("get_weather", {"city": "Paris"}), ("get_time", {"city": "Paris"})]
VISIT = {"city": "Rome", "days": 1, "companions": ["some companions"]}


@pytest.mark.parametrize("model", BOTH)
def test_chat(langchain: ClientProcess, stack: Stack, model: str) -> None:
    seen = langchain.see("chat", model)
    assert seen["content"] == "You said: Hello there!"
    assert (seen["finish"], seen["model"]) == ("stop", model)
    assert seen["id"].startswith("chatcmpl-")
    usage = seen["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    body = stack.saw(model)
    if is_claude(model):
        assert body["system"] == "Be kind."
        assert (body["max_tokens"], body["temperature"], body["stop_sequences"]) == (64, 0.3, ["never"])
    else:
        # LangChain's own choice of name, handed on as it is.
        assert body["max_completion_tokens"] == 64


@pytest.mark.parametrize("model", BOTH)
def test_stream(langchain: ClientProcess, stack: Stack, model: str) -> None:
    """Without being asked for usage, we ask the upstream for it and keep it to ourselves."""
    seen = langchain.see("chat_stream", model)
    assert seen == {"content": "You said: Hello there!", "texts": 4, "usage": None, "finish": "stop"}
    body = stack.saw(model)
    assert is_claude(model) or body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("model", BOTH)
def test_stream_with_usage(langchain: ClientProcess, stack: Stack, model: str) -> None:
    seen = langchain.see("chat_stream_usage", model)
    assert seen["content"] == "You said: Hello there!"
    assert seen["usage"]["output_tokens"] > 0
    stack.saw(model)


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("is_stream", [True, False])
def test_tool_loop(langchain: ClientProcess, stack: Stack, model: str, is_stream: bool) -> None:
    seen = langchain.see("tool_loop_stream" if is_stream else "tool_loop", model)
    assert [(name, given) for _, name, given in seen["calls"]] == EXPECTED
    assert seen["invalid"] == []
    assert seen["content"] == "The tools answered: Paris: sunny; Paris: noon, local"
    check_loop(stack, model, EXPECTED, is_stream=is_stream)


@pytest.mark.parametrize("model", BOTH)
def test_a_tool_without_arguments(langchain: ClientProcess, stack: Stack, model: str) -> None:
    assert langchain.see("no_arguments", model) == {"calls": [["look_around", {}]], "invalid": []}
    stack.saw(model)


@pytest.mark.parametrize("model", BOTH)
def test_forced_tool(langchain: ClientProcess, stack: Stack, model: str) -> None:
    assert langchain.see("forced_tool", model) == ["get_time"]
    choice = stack.saw(model)["tool_choice"]
    if is_claude(model):
        assert choice == {"type": "tool", "name": "get_time"}
    else:
        assert choice == {"type": "function", "function": {"name": "get_time"}}


@pytest.mark.parametrize("model", BOTH)
def test_structured_by_schema(langchain: ClientProcess, stack: Stack, model: str) -> None:
    assert langchain.see("structured_json_schema", model) == VISIT
    body = stack.saw(model)
    assert ("output_config" in body) == is_claude(model)


@pytest.mark.parametrize("model", BOTH)
def test_structured_by_function(langchain: ClientProcess, stack: Stack, model: str) -> None:
    assert langchain.see("structured_function_calling", model) == VISIT
    body = stack.saw(model)
    assert len(body["tools"]) == 1
    assert body["tool_choice"]["type"] == ("tool" if is_claude(model) else "function")


@pytest.mark.parametrize("model", BOTH)
def test_structured_by_json_mode(langchain: ClientProcess, stack: Stack, model: str) -> None:
    stack.upstream.script(says(model, json.dumps(VISIT)))
    assert langchain.see("structured_json_mode", model) == VISIT
    body = stack.saw(model)
    assert "JSON" in body["system"] if is_claude(model) else body["response_format"]


@pytest.mark.parametrize("model", BOTH)
def test_asynchronous(langchain: ClientProcess, stack: Stack, model: str) -> None:
    assert langchain.see("asynchronous", model) == "You said: Hello there!"
    stack.saw(model)


@pytest.mark.parametrize("model", BOTH)
def test_image(langchain: ClientProcess, stack: Stack, model: str) -> None:
    assert langchain.see("image", model).startswith("You said: What is it? (with image")
    [_, part] = stack.saw(model)["messages"][0]["content"]
    if is_claude(model):
        assert (part["source"]["type"], part["source"]["media_type"]) == ("base64", "image/png")


@pytest.mark.parametrize("model", [THINKING_GPT, BUDGET_CLAUDE, ADAPTIVE_CLAUDE])
def test_reasoning_in_a_tool_loop(langchain: ClientProcess, stack: Stack, model: str) -> None:
    """LangChain drops fields that it does not know, the signed thoughts among them; the loop goes on."""
    seen = langchain.see("reasoning_loop", model)
    assert seen["content"] == "The tools answered: Paris: sunny"
    assert seen["usage"]["output_token_details"]["reasoning"] > 0
    bodies = stack.seen(model)
    assert len(bodies) == 2
    if model == BUDGET_CLAUDE:
        assert [("thinking" in body) for body in bodies] == [True, False]


@pytest.mark.parametrize(("model", "place"), SILENCES)
def test_comments_in_a_silence_are_passed_over(
    langchain: ClientProcess, stack: Stack, model: str, place: Any
) -> None:
    stack.upstream.script(Answer() + Stall(before=place, seconds=SILENCE_SECONDS))
    assert langchain.see("chat_stream", model)["content"] == "You said: Hello there!"


@pytest.mark.parametrize("model", BOTH)
def test_a_broken_stream_raises(langchain: ClientProcess, stack: Stack, model: str) -> None:
    stack.upstream.script(breaks_off(model, "You said"))
    seen = langchain.see("broken_stream", model)
    assert seen["content"] == "You said"
    assert seen["error"]["class"] == "APIError"


def test_errors(langchain: ClientProcess, stack: Stack) -> None:
    body = {
        "error": {"message": "Slow down.", "type": "requests", "param": None, "code": "rate_limit_exceeded"}
    }
    stack.upstream.always(Json(429, body, {"retry-after": "3"}))
    failure = langchain.failure("chat", GPT)
    assert failure["status_code"] == 429
    assert "Slow down." in failure["text"]


def test_a_prompt_that_is_too_long(langchain: ClientProcess, stack: Stack) -> None:
    """LangChain has a class of its own for this, and knows it by the code."""
    message = "prompt is too long: 210000 tokens > 200000 maximum"
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    stack.upstream.always(Json(400, error))
    failure = langchain.failure("chat", BUDGET_CLAUDE)
    assert failure["class"] == "OpenAIContextOverflowError"
