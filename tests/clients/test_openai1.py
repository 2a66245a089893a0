"""The last openai-python 1.x, which pinned projects still run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.client_process import ClientProcess
from tests.clients.loops import check_loop
from tests.clients.scripted import breaks_off
from tests.clients.stack import (
    ADAPTIVE_CLAUDE,
    BOTH,
    BUDGET_CLAUDE,
    CLAUDE,
    GPT,
    SILENCE_SECONDS,
    SILENCES,
    Stack,
    is_claude,
)
from tests.fake_upstream import Answer, Json, Stall

EXPECTED = [("get_weather", {"city": "Paris"}), ("get_time", {"city": "Paris", "zone": "some zone"})]
ANSWER = "The tools answered: get_weather of Paris: fine; get_time of Paris: fine"


def test_it_is_the_version_meant(openai1: ClientProcess) -> None:
    assert openai1.package.startswith("openai 1.")


@pytest.mark.parametrize("model", BOTH)
def test_chat(openai1: ClientProcess, stack: Stack, model: str) -> None:
    seen = openai1.see("chat", model)
    completion = seen["completion"]
    [choice] = completion["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("You said: Hello there!", "stop")
    assert completion["model"] == model
    assert completion["usage"]["total_tokens"] > 0
    assert seen["request_id"]
    body = stack.saw(model)
    assert (body["temperature"], body["max_tokens"]) == (0.5, 100)


@pytest.mark.parametrize("model", BOTH)
def test_stream(openai1: ClientProcess, stack: Stack, model: str) -> None:
    *chunks, last = openai1.see("chat_stream", model)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("content") or "" for delta in deltas) == "You said: Hello there!"
    assert [delta["role"] for delta in deltas if delta.get("role")] == ["assistant"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] > 0
    body = stack.saw(model)
    if is_claude(model):
        assert body["system"] == "Be kind."


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("is_stream", [True, False])
def test_tool_loop(openai1: ClientProcess, stack: Stack, model: str, is_stream: bool) -> None:
    seen = openai1.see("tool_loop_stream" if is_stream else "tool_loop", model)
    assert seen["finish"] == "tool_calls"
    assert [(name, given) for _, name, given in seen["calls"]] == EXPECTED
    assert seen["content"] == ANSWER
    if is_stream:
        assert [(name, given) for _, name, given in seen["done"]] == EXPECTED
        assert seen["joined"] == ANSWER
        assert seen["deltas"] > 5
    check_loop(stack, model, EXPECTED, is_stream=is_stream)


@pytest.mark.parametrize("model", BOTH)
def test_parse(openai1: ClientProcess, stack: Stack, model: str) -> None:
    assert openai1.see("parse", model) == {"city": "Rome", "days": 1, "companions": ["some companions"]}
    body = stack.saw(model)
    where = body["output_config"]["format"] if is_claude(model) else body["response_format"]
    assert where["type"] == "json_schema"


@pytest.mark.parametrize("model", [BUDGET_CLAUDE, ADAPTIVE_CLAUDE])
def test_thinking_survives_a_tool_loop(openai1: ClientProcess, stack: Stack, model: str) -> None:
    seen = openai1.see("thinking_loop", model)
    assert seen["reasoning"].startswith("The user wrote")
    assert seen["content"] == "The tools answered: get_weather of Paris: fine"
    # Two requests: a third would be the second one again, its thoughts refused and left out.
    _, second = stack.seen(model)
    _, assistant, _ = second["messages"]
    assert assistant["content"][0] == seen["blocks"][0]
    assert assistant["content"][0]["signature"]


@pytest.mark.parametrize("model", BOTH)
def test_asynchronous(openai1: ClientProcess, stack: Stack, model: str) -> None:
    assert openai1.see("asynchronous", model) == "You said: Hello there!"
    stack.saw(model)


@pytest.mark.parametrize(("model", "place"), SILENCES)
def test_comments_in_a_silence_are_passed_over(
    openai1: ClientProcess, stack: Stack, model: str, place: Any
) -> None:
    stack.upstream.script(Answer() + Stall(before=place, seconds=SILENCE_SECONDS))
    assert openai1.see("asynchronous", model) == "You said: Hello there!"


@pytest.mark.parametrize("model", BOTH)
def test_a_broken_stream_raises(openai1: ClientProcess, stack: Stack, model: str) -> None:
    stack.upstream.script(breaks_off(model, "You said"))
    seen = openai1.see("broken_stream", model)
    assert seen["content"] == "You said"
    assert seen["error"]["class"] == "APIError"
    assert seen["error"]["code"] == "upstream_stream_interrupted"


@pytest.mark.parametrize(
    ("status", "kind", "raised"),
    [
        (429, "rate_limit_error", "RateLimitError"),
        (529, "overloaded_error", "InternalServerError"),
        (401, "authentication_error", "InternalServerError"),
        (400, "invalid_request_error", "BadRequestError"),
    ],
)
def test_errors(openai1: ClientProcess, stack: Stack, status: int, kind: str, raised: str) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "It went wrong."}}
    stack.upstream.always(Json(status, error, {"retry-after": "3"} if status == 429 else {}))
    failure = openai1.failure("chat", CLAUDE)
    assert failure["class"] == raised
    assert failure["request_id"] == failure["headers"]["x-request-id"]
    if status == 429:
        assert failure["headers"]["retry-after"] == "3"


def test_an_unknown_model(openai1: ClientProcess, stack: Stack) -> None:
    failure = openai1.failure("chat", "no-such-model")
    assert (failure["class"], failure["code"]) == ("NotFoundError", "model_not_found")


@pytest.mark.parametrize("model", [GPT, ADAPTIVE_CLAUDE])
def test_models(openai1: ClientProcess, stack: Stack, model: str) -> None:
    seen = openai1.see("models", model)
    assert model in seen["listed"]
    assert seen["retrieved"]["id"] == model
