"""openai-node: plain calls, the stream helper, the tool runner, parsers, errors."""

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
    path_of,
)
from tests.fake_upstream import Answer, Cut, Json, Paced, Stall

pytestmark = pytest.mark.node

EXPECTED = [("get_weather", {"city": "Paris"}), ("get_time", {"city": "Paris", "zone": "some zone"})]
ANSWER = "The tools answered: get_weather of Paris: fine; get_time of Paris: fine"
VISIT = {"city": "Rome", "days": 1, "companions": ["some companions"]}
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


@pytest.mark.parametrize("model", BOTH)
def test_chat(openai_node: ClientProcess, stack: Stack, model: str) -> None:
    seen = openai_node.see("chat", model)
    [choice] = seen["completion"]["choices"]
    assert choice["message"]["content"] == "You said: Hello there!"
    assert choice["message"]["refusal"] is None
    # `if (message.tool_calls)` is true for an empty list in JavaScript.
    assert "tool_calls" not in choice["message"]
    assert (choice["finish_reason"], choice["logprobs"]) == ("stop", None)
    assert seen["completion"]["model"] == model
    assert seen["request_id"] == seen["headers"]["x-request-id"]
    assert seen["headers"]["x-patchbay-model"] == model
    assert "set-cookie" not in seen["headers"]
    body = stack.saw(model)
    assert (body["temperature"], body["max_tokens"]) == (0.5, 100)


@pytest.mark.parametrize("model", BOTH)
def test_stream(openai_node: ClientProcess, stack: Stack, model: str) -> None:
    *chunks, last = openai_node.see("chat_stream", model)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert [delta["content"] for delta in deltas if delta.get("content")] == [
        "You",
        " said:",
        " Hello",
        " there!",
    ]
    assert all(chunk["usage"] is None for chunk in chunks)
    assert (last["choices"], last["usage"]["completion_tokens"] > 0) == ([], True)
    stack.saw(model)


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("is_stream", [True, False])
def test_tool_loop(openai_node: ClientProcess, stack: Stack, model: str, is_stream: bool) -> None:
    seen = openai_node.see("tool_loop_stream" if is_stream else "tool_loop", model)
    assert seen["finish"] == "tool_calls"
    assert [(name, given) for _, name, given in seen["calls"]] == EXPECTED
    assert seen["content"] == ANSWER
    if is_stream:
        assert [(name, given) for _, name, given in seen["done"]] == EXPECTED
        assert seen["joined"] == ANSWER
    check_loop(stack, model, EXPECTED, is_stream=is_stream)


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("is_stream", [True, False])
def test_tool_runner(openai_node: ClientProcess, stack: Stack, model: str, is_stream: bool) -> None:
    """`runTools`: the SDK drives the loop and checks every chunk as it joins them."""
    seen = openai_node.see("tool_runner_stream" if is_stream else "tool_runner", model)
    assert [tuple(call) for call in seen["called"]] == EXPECTED
    assert seen["content"] == ANSWER
    if is_stream:
        assert seen["text"] == ANSWER
    else:
        assert seen["usage"]["total_tokens"] > 0
    check_loop(stack, model, EXPECTED, is_stream=is_stream)


@pytest.mark.parametrize("model", BOTH)
def test_parse(openai_node: ClientProcess, stack: Stack, model: str) -> None:
    assert openai_node.see("parse", model) == VISIT
    body = stack.saw(model)
    assert ("output_config" in body) == is_claude(model)


@pytest.mark.parametrize("model", BOTH)
def test_parse_tool_arguments(openai_node: ClientProcess, stack: Stack, model: str) -> None:
    assert openai_node.see("parse_tool", model) == ["plan", VISIT]
    stack.saw(model)


@pytest.mark.parametrize("model", [BUDGET_CLAUDE, ADAPTIVE_CLAUDE])
def test_thinking_survives_a_tool_loop(openai_node: ClientProcess, stack: Stack, model: str) -> None:
    seen = openai_node.see("thinking_loop", model)
    assert seen["reasoning"].startswith("The user wrote")
    assert seen["content"] == "The tools answered: get_weather of Paris: fine"
    # Two requests: a third would be the second one again, its thoughts refused and left out.
    _, second = stack.seen(model)
    _, assistant, _ = second["messages"]
    assert assistant["content"][0] == seen["blocks"][0]
    assert assistant["content"][0]["signature"]


# --- failures -------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "place"), SILENCES)
def test_comments_in_a_silence_are_passed_over(
    openai_node: ClientProcess, stack: Stack, model: str, place: Any
) -> None:
    stack.upstream.script(Answer() + Stall(before=place, seconds=SILENCE_SECONDS))
    seen = openai_node.see("broken_stream", model)
    assert seen == {"content": "You said: Hello there!", "error": None}


@pytest.mark.parametrize("scenario", ["broken_stream", "broken_helper"])
@pytest.mark.parametrize("cut", [Cut(10**9), Cut(10**9, reset=True), Cut(10**9, clean=True)])
@pytest.mark.parametrize("model", BOTH)
def test_a_broken_stream_raises(
    openai_node: ClientProcess, stack: Stack, model: str, scenario: str, cut: Cut
) -> None:
    stack.upstream.script(breaks_off(model, "You said") + cut)
    seen = openai_node.see(scenario, model)
    assert seen["content"] == "You said"
    assert seen["error"]["code"] == "upstream_stream_interrupted"
    assert "status" not in seen["error"]


@pytest.mark.parametrize("model", BOTH)
def test_an_error_event_raises_with_its_message(openai_node: ClientProcess, stack: Stack, model: str) -> None:
    reported = {
        "error": {"message": "Overloaded", "type": "server_error", "param": None, "code": "overloaded"}
    }
    stack.upstream.script(breaks_off(model, "You said", OVERLOADED if is_claude(model) else reported))
    seen = openai_node.see("broken_stream", model)
    assert seen["content"] == "You said"
    assert seen["is_api_error"] is True
    assert "verload" in seen["error"]["text"]
    assert seen["error"]["code"] == "overloaded"


@pytest.mark.parametrize(
    ("status", "kind", "ours", "raised"),
    [
        (400, "invalid_request_error", 400, "BadRequestError"),
        (401, "authentication_error", 502, "InternalServerError"),
        (429, "rate_limit_error", 429, "RateLimitError"),
        (500, "api_error", 500, "InternalServerError"),
        (504, "timeout_error", 504, "InternalServerError"),
        (529, "overloaded_error", 503, "InternalServerError"),
    ],
)
def test_errors(
    openai_node: ClientProcess, stack: Stack, status: int, kind: str, ours: int, raised: str
) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "It went wrong."}}
    stack.upstream.always(Json(status, error, {"retry-after": "3"} if status == 429 else {}))
    failure = openai_node.failure("chat", CLAUDE)
    assert (failure["class"], failure["status"]) == (raised, ours)
    assert failure["requestID"] == failure["headers"]["x-request-id"]
    if status == 429:
        assert (failure["code"], failure["headers"]["retry-after"]) == ("rate_limit_exceeded", "3")


def test_an_unknown_model(openai_node: ClientProcess, stack: Stack) -> None:
    failure = openai_node.failure("chat", "no-such-model")
    assert (failure["class"], failure["code"]) == ("NotFoundError", "model_not_found")


@pytest.mark.parametrize("model", BOTH)
def test_the_sdk_s_own_retry_succeeds(openai_node: ClientProcess, stack: Stack, model: str) -> None:
    stack.upstream.script(Json(529, OVERLOADED, {"retry-after-ms": "1"}), path=path_of(model))
    assert openai_node.see("retried", model) == "You said: Hello there!"
    assert len(stack.seen(model)) == 2


def test_an_upstream_that_is_down(openai_node: ClientProcess, stack: Stack) -> None:
    with stack.upstream.refuse_connections():
        failure = openai_node.failure("chat", GPT)
    assert (failure["status"], failure["code"]) == (502, "upstream_unavailable")


@pytest.mark.parametrize("model", BOTH)
def test_a_client_that_leaves_ends_the_upstream_s_work(
    openai_node: ClientProcess, stack: Stack, model: str
) -> None:
    stack.upstream.script(Answer() + Paced())
    # Enough for the first words of either API, and not for the last.
    stack.upstream.pace.release(4)
    assert openai_node.see("abandoned", model) == "You"
    stack.upstream.wait_for_disconnect(timeout=2)


@pytest.mark.parametrize("model", [GPT, ADAPTIVE_CLAUDE])
def test_models(openai_node: ClientProcess, stack: Stack, model: str) -> None:
    seen = openai_node.see("models", model)
    assert model in seen["listed"]
    assert seen["retrieved"]["id"] == model
