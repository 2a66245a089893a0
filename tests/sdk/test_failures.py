"""What openai-python makes of our failures: the right class, the right fields, and the right retries."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.clients.scripted import breaks_off
from tests.clients.stack import ANTHROPIC_KEY, BOTH, CLAUDE, GPT, OPENAI_KEY, Stack, is_claude, path_of
from tests.fake_upstream import Answer, Behaviour, Cut, Disconnecting, Html, Json, Paced

HELLO: list[Any] = [{"role": "user", "content": "Hello there!"}]

OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def upstream_error(model: str, status: int, kind: str, message: str, **headers: str) -> Behaviour:
    """An error as the API behind `model` words it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if is_claude(model):
        return Json(status, {"type": "error", "error": {"type": kind, "message": message}}, named)
    return Json(status, {"error": {"message": message, "type": kind, "param": None, "code": None}}, named)


def refused(client: OpenAI, model: str, **more: Any) -> openai.APIStatusError:
    """The exception that a plain call raises."""
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model=model, messages=HELLO, **more)
    error = caught.value
    assert isinstance(error.body, dict)
    assert error.body.keys() >= {"message", "type", "param", "code"}
    assert error.request_id == error.response.headers["x-request-id"]
    for secret in (OPENAI_KEY, ANTHROPIC_KEY, "Traceback"):
        assert secret not in error.response.text
    return error


# --- refused by us --------------------------------------------------------------------


def test_a_key_of_ours_that_does_not_exist(stack: Stack) -> None:
    with OpenAI(api_key="sk-pb-unknown", base_url=stack.base_url, max_retries=0) as client:
        error = refused(client, GPT)
    assert type(error) is openai.AuthenticationError
    assert error.code == "invalid_api_key"
    assert "sk-pb-unknown" not in error.message
    assert stack.upstream.requests == []


def test_no_key_at_all(client: OpenAI, stack: Stack) -> None:
    error = refused(client, GPT, extra_headers={"Authorization": openai.omit})
    assert type(error) is openai.AuthenticationError
    assert "Authorization" in error.message
    assert stack.upstream.requests == []


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_model_that_does_not_exist(client: OpenAI, stack: Stack, is_stream: bool) -> None:
    error = refused(client, "gpt-4o-minni", stream=is_stream)
    assert type(error) is openai.NotFoundError
    assert error.code == "model_not_found"
    assert "`gpt-4o-minni`" in error.message
    assert "`gpt-4o-mini`" in error.message  # what was likely meant
    assert stack.upstream.requests == []


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize(
    ("field", "value", "param", "code"),
    [
        ("temperature", 3, "temperature", "decimal_above_max_value"),
        ("max_tokens", 0, "max_tokens", "integer_below_min_value"),
        ("messages", [], "messages", "empty_array"),
        ("messages", [{"role": "user", "content": 7}], "messages[0].content", "invalid_type"),
        ("messages", [{"role": "nobody", "content": "x"}], "messages[0].role", "invalid_value"),
        ("stream_options", {"include_usage": True}, "stream_options", None),
        ("tool_choice", "required", "tool_choice", None),
    ],
)
def test_a_parameter_that_is_wrong(
    client: OpenAI, stack: Stack, model: str, field: str, value: Any, param: str, code: str | None
) -> None:
    error = refused(client, model, extra_body={field: value})
    assert type(error) is openai.BadRequestError
    assert error.type == "invalid_request_error"
    if is_claude(model):
        assert (error.param, error.code) == (param, code)
        assert stack.upstream.requests == []


def test_several_choices_are_refused_for_claude(client: OpenAI, stack: Stack) -> None:
    error = refused(client, CLAUDE, n=2)
    assert type(error) is openai.BadRequestError
    assert (error.param, error.code) == ("n", "unsupported_value")


# --- refused by the upstream ----------------------------------------------------------


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("is_stream", [True, False])
def test_a_rate_limit_says_when_to_come_back(
    client: OpenAI, stack: Stack, model: str, is_stream: bool
) -> None:
    stack.upstream.always(upstream_error(model, 429, "rate_limit_error", "Slow down.", retry_after="7"))
    error = refused(client, model, stream=is_stream)
    assert type(error) is openai.RateLimitError
    assert error.code == ("rate_limit_exceeded" if is_claude(model) else None)
    assert error.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize(
    ("status", "kind", "ours", "expected"),
    [
        (500, "api_error", 500, openai.InternalServerError),
        (504, "timeout_error", 504, openai.InternalServerError),
        (529, "overloaded_error", 503, openai.InternalServerError),
        (413, "request_too_large", 413, openai.APIStatusError),
        (409, "conflict_error", 409, openai.ConflictError),
    ],
)
def test_an_upstream_s_status(
    client: OpenAI,
    stack: Stack,
    model: str,
    is_stream: bool,
    status: int,
    kind: str,
    ours: int,
    expected: type[Exception],
) -> None:
    stack.upstream.always(upstream_error(model, status, kind, "It went wrong."))
    error = refused(client, model, stream=is_stream)
    assert (type(error), error.status_code) == (expected, ours)


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize(("status", "kind"), [(401, "authentication_error"), (403, "permission_error")])
def test_a_bad_key_of_the_operator_is_not_the_client_s_fault(
    client: OpenAI, stack: Stack, model: str, status: int, kind: str
) -> None:
    stack.upstream.always(upstream_error(model, status, kind, f"bad key {ANTHROPIC_KEY} {OPENAI_KEY}"))
    error = refused(client, model)
    assert (type(error), error.status_code) == (openai.InternalServerError, 502)
    assert error.code in ("upstream_authentication_error", "upstream_permission_error")
    assert error.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("model", BOTH)
def test_a_page_of_html_is_an_upstream_s_failure(client: OpenAI, stack: Stack, model: str) -> None:
    stack.upstream.always(Html(502))
    error = refused(client, model)
    assert (type(error), error.status_code) == (openai.InternalServerError, 502)
    assert "<html>" not in error.message


@pytest.mark.parametrize("model", BOTH)
def test_an_upstream_that_is_down(client: OpenAI, stack: Stack, model: str) -> None:
    with stack.upstream.refuse_connections():
        error = refused(client, model)
    assert (error.status_code, error.code) == (502, "upstream_unavailable")


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("is_stream", [True, False])
def test_an_upstream_that_hangs_up(client: OpenAI, stack: Stack, model: str, is_stream: bool) -> None:
    stack.upstream.always(Disconnecting())
    error = refused(client, model, stream=is_stream)
    assert error.status_code == 502


def test_a_prompt_that_is_too_long(client: OpenAI, stack: Stack) -> None:
    message = "prompt is too long: 210000 tokens > 200000 maximum"
    stack.upstream.always(upstream_error(CLAUDE, 400, "invalid_request_error", message))
    error = refused(client, CLAUDE)
    assert type(error) is openai.BadRequestError
    assert (error.param, error.code) == ("messages", "context_length_exceeded")


def test_spent_credit_is_not_retried(stack: Stack) -> None:
    message = "Your credit balance is too low to access the Anthropic API."
    stack.upstream.always(upstream_error(CLAUDE, 400, "invalid_request_error", message))
    with OpenAI(api_key="any-token", base_url=stack.base_url, max_retries=2) as client:
        error = refused(client, CLAUDE)
    assert type(error) is openai.RateLimitError
    assert error.code == "insufficient_quota"
    assert len(stack.upstream.requests) == 1


# --- retried by the client ------------------------------------------------------------


@pytest.mark.parametrize("model", BOTH)
def test_the_sdk_s_own_retry_succeeds(stack: Stack, model: str) -> None:
    overloaded = upstream_error(model, 529, "overloaded_error", "Overloaded", retry_after_ms="1")
    stack.upstream.script(overloaded, path=path_of(model))
    with OpenAI(api_key="any-token", base_url=stack.base_url, max_retries=2) as client:
        completion = client.chat.completions.create(model=model, messages=HELLO)
    assert completion.choices[0].message.content == "You said: Hello there!"
    assert len(stack.seen(model)) == 2


# --- in the middle of a stream --------------------------------------------------------


def read(client: OpenAI, model: str) -> tuple[str, openai.APIError]:
    """The text that came before the stream broke, and what the SDK raised then."""
    seen: list[str] = []
    stream = client.chat.completions.create(model=model, messages=HELLO, stream=True)
    with pytest.raises(openai.APIError) as caught:
        seen.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert not isinstance(caught.value, openai.APIConnectionError)
    return "".join(seen), caught.value


@pytest.mark.parametrize("cut", [Cut(10**9), Cut(10**9, reset=True), Cut(10**9, clean=True)])
@pytest.mark.parametrize("model", BOTH)
def test_a_stream_that_breaks_off_raises(client: OpenAI, stack: Stack, model: str, cut: Cut) -> None:
    """Also when the upstream's body ends politely: without its last event it is a broken one."""
    stack.upstream.script(breaks_off(model, "You said") + cut)
    seen, error = read(client, model)
    assert seen == "You said"
    assert error.code == "upstream_stream_interrupted"
    assert error.type == "server_error"


@pytest.mark.parametrize("model", BOTH)
def test_an_error_event_raises_with_its_message(client: OpenAI, stack: Stack, model: str) -> None:
    if is_claude(model):
        failing = breaks_off(model, "You said", OVERLOADED)
    else:
        body = {
            "error": {"message": "Overloaded", "type": "server_error", "param": None, "code": "overloaded"}
        }
        failing = breaks_off(model, "You said", body)
    stack.upstream.script(failing)
    seen, error = read(client, model)
    assert seen == "You said"
    assert "verload" in error.message
    assert error.code == "overloaded"


def test_an_error_as_first_event_has_a_status(client: OpenAI, stack: Stack) -> None:
    stack.upstream.always(breaks_off(CLAUDE, "", OVERLOADED))
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=CLAUDE, messages=HELLO, stream=True)
    assert caught.value.status_code == 503


def test_the_stream_helper_raises_too(client: OpenAI, stack: Stack) -> None:
    stack.upstream.script(breaks_off(CLAUDE, "You said", OVERLOADED))
    with (
        pytest.raises(openai.APIError, match=r"verload"),
        client.chat.completions.stream(model=CLAUDE, messages=HELLO) as stream,
    ):
        stream.until_done()


async def test_the_asynchronous_client_raises_too(async_client: openai.AsyncOpenAI, stack: Stack) -> None:
    stack.upstream.script(breaks_off(CLAUDE, "You said", OVERLOADED))
    stream = await async_client.chat.completions.create(model=CLAUDE, messages=HELLO, stream=True)
    with pytest.raises(openai.APIError, match=r"verload"):
        async for _ in stream:
            pass


@pytest.mark.parametrize("model", BOTH)
def test_a_client_that_leaves_ends_the_upstream_s_work(client: OpenAI, stack: Stack, model: str) -> None:
    stack.upstream.script(Answer() + Paced())
    stack.upstream.pace.release(4)
    stream = client.chat.completions.create(model=model, messages=HELLO, stream=True)
    next(stream)
    stream.close()
    disconnect = stack.upstream.wait_for_disconnect(timeout=2)
    assert disconnect.request.json["model"]
