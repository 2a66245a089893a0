"""The Vercel AI SDK with `@ai-sdk/openai-compatible` and with `@ai-sdk/openai`."""

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

pytestmark = pytest.mark.node

PROVIDERS = ("compatible", "official")
EXPECTED = [("get_weather", {"city": "Paris"}), ("get_time", {"city": "Paris"})]
ANSWER = 'The tools answered: Paris: sunny; {"city":"Paris","time":"noon"}'
VISIT = {"city": "Rome", "days": 1, "companions": ["some companions"]}
THOUGHT = "The user wrote 'How is the weather in Paris?'; an answer follows."


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_chat(ai_sdk: ClientProcess, stack: Stack, provider: str, model: str) -> None:
    seen = ai_sdk.see(f"{provider}_chat", model)
    assert (seen["text"], seen["finish"]) == ("You said: Hello there!", "stop")
    assert seen["usage"]["outputTokens"] > 0
    assert seen["id"].startswith("chatcmpl-")
    assert seen["model"] == model
    body = stack.saw(model)
    if is_claude(model):
        assert (body["system"], body["max_tokens"]) == ("Be kind.", 64)


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_stream(ai_sdk: ClientProcess, stack: Stack, provider: str, model: str) -> None:
    seen = ai_sdk.see(f"{provider}_chat_stream", model)
    assert seen["texts"] == ["You", " said:", " Hello", " there!"]
    assert seen["finish"] == "stop"
    assert seen["usage"]["outputTokens"] > 0
    assert stack.saw(model)["stream"] is True


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("is_stream", [True, False])
def test_tool_loop(ai_sdk: ClientProcess, stack: Stack, provider: str, model: str, is_stream: bool) -> None:
    seen = ai_sdk.see(f"{provider}_tool_loop_stream" if is_stream else f"{provider}_tool_loop", model)
    assert [(name, given) for _, name, given in seen["calls"]] == EXPECTED
    assert (seen["text"], seen["steps"]) == (ANSWER, 2)
    if is_stream:
        assert {"tool-input-start", "tool-input-delta", "tool-call", "text-delta"} <= set(seen["kinds"])
        assert "error" not in seen["kinds"]
    check_loop(stack, model, EXPECTED, is_stream=is_stream)


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_tool_without_arguments(ai_sdk: ClientProcess, stack: Stack, provider: str, model: str) -> None:
    seen = ai_sdk.see(f"{provider}_no_arguments", model)
    assert seen == {"text": "The tools answered: a wall", "calls": [["look_around", {}]]}
    assert len(stack.seen(model)) == 2


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_forced_tool(ai_sdk: ClientProcess, stack: Stack, provider: str, model: str) -> None:
    assert ai_sdk.see(f"{provider}_forced_tool", model) == ["get_time"]
    if is_claude(model):
        assert stack.saw(model)["tool_choice"] == {"type": "tool", "name": "get_time"}


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("is_stream", [True, False])
def test_structured(ai_sdk: ClientProcess, stack: Stack, provider: str, model: str, is_stream: bool) -> None:
    if is_stream:
        seen = ai_sdk.see(f"{provider}_structured_stream", model)
        assert seen["output"] == VISIT
        assert seen["parts"] > 1
    else:
        assert ai_sdk.see(f"{provider}_structured", model) == VISIT
    body = stack.saw(model)
    assert ("output_config" in body) == is_claude(model)


@pytest.mark.parametrize("model", BOTH)
def test_structured_without_schema_support(ai_sdk: ClientProcess, stack: Stack, model: str) -> None:
    stack.upstream.script(says(model, json.dumps(VISIT)))
    assert ai_sdk.see("compatible_json", model) == VISIT
    stack.saw(model)


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_image(ai_sdk: ClientProcess, stack: Stack, provider: str, model: str) -> None:
    assert ai_sdk.see(f"{provider}_image", model).startswith("You said: What is it? (with image")
    [_, part] = stack.saw(model)["messages"][0]["content"]
    if is_claude(model):
        assert (part["source"]["type"], part["source"]["media_type"]) == ("base64", "image/png")


@pytest.mark.parametrize("model", [BUDGET_CLAUDE, ADAPTIVE_CLAUDE, THINKING_GPT])
def test_reasoning_in_a_tool_loop(ai_sdk: ClientProcess, stack: Stack, model: str) -> None:
    """The SDK sends the thoughts back as text, without signatures: then they are left out."""
    seen = ai_sdk.see("compatible_reasoning_loop", model)
    assert seen["text"] == "The tools answered: Paris: sunny"
    assert seen["usage"]["outputTokenDetails"]["reasoningTokens"] > 0
    _, second = stack.seen(model)
    if is_claude(model):
        assert seen["reasoning"][0] == THOUGHT
        [assistant] = [turn for turn in second["messages"] if turn["role"] == "assistant"]
        assert [block["type"] for block in assistant["content"]] == ["tool_use"]


@pytest.mark.parametrize("model", [BUDGET_CLAUDE, ADAPTIVE_CLAUDE])
def test_reasoning_streams(ai_sdk: ClientProcess, stack: Stack, model: str) -> None:
    seen = ai_sdk.see("compatible_reasoning_stream", model)
    assert seen["text"] == "The tools answered: Paris: sunny"
    assert seen["reasoning"].startswith(THOUGHT)
    stack.seen(model)


@pytest.mark.parametrize(("model", "place"), SILENCES)
def test_comments_in_a_silence_are_passed_over(
    ai_sdk: ClientProcess, stack: Stack, model: str, place: Any
) -> None:
    stack.upstream.script(Answer() + Stall(before=place, seconds=SILENCE_SECONDS))
    seen = ai_sdk.see("compatible_broken_stream", model)
    assert seen == {"text": "You said: Hello there!", "error": None}


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_broken_stream_is_an_error(ai_sdk: ClientProcess, stack: Stack, provider: str, model: str) -> None:
    stack.upstream.always(breaks_off(model, "You said"))
    seen = ai_sdk.see(f"{provider}_broken_stream", model)
    assert seen["text"] == "You said"
    assert "upstream_stream_interrupted" in json.dumps(seen["error"]), seen


@pytest.mark.parametrize("provider", PROVIDERS)
def test_errors(ai_sdk: ClientProcess, stack: Stack, provider: str) -> None:
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}}
    stack.upstream.always(Json(429, error, {"retry-after": "3"}))
    failure = ai_sdk.failure(f"{provider}_chat", CLAUDE)
    assert failure["statusCode"] == 429
    assert failure["isRetryable"] is True
    assert "Slow down." in failure["text"]
    assert failure["headers"]["retry-after"] == "3"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_unknown_model(ai_sdk: ClientProcess, stack: Stack, provider: str) -> None:
    failure = ai_sdk.failure(f"{provider}_chat", "no-such-model")
    assert (failure["statusCode"], failure["isRetryable"]) == (404, False)
    assert "no-such-model" in failure["text"]
