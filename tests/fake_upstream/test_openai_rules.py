"""What the pretended chat completions API refuses, and what it lets pass: one line per rule, over the wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.fake_upstream import FakeUpstream

Body = dict[str, Any]
USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
TOOLS = {"tools": [TOOL]}


def called(*ids: str, **fields: Any) -> Body:
    calls = [{"id": entry, "type": "function", "function": {"name": "f", "arguments": "{}"}} for entry in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls, **fields}


def answer(tool_call_id: str) -> Body:
    return {"role": "tool", "tool_call_id": tool_call_id, "content": "ok"}


def said(content: Any, **fields: Any) -> Body:
    return {"messages": [{"role": "user", "content": content, **fields}]}


def function(**fields: Any) -> Body:
    return {"tools": [{"type": "function", "function": {"name": "f", **fields}}]}


def schema(inner: Any, *, strict: bool = True, name: str = "x") -> Body:
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": name, "strict": strict, "schema": inner},
        }
    }


# Name, what is changed, a part of the message, param, code.
REFUSED: list[tuple[str, Body, str, str | None, str | None]] = [
    # types and ranges
    ("messages text", {"messages": "Hi"}, "Invalid type for 'messages': expected an array, but got a string instead.", "messages", "invalid_type"),
    ("messages empty", {"messages": []}, "Invalid 'messages': empty array. Expected an array with minimum length 1", "messages", "empty_array"),
    ("model number", {"model": 4}, "Invalid type for 'model': expected a string, but got an integer instead.", "model", "invalid_type"),
    ("temperature text", {"temperature": "1"}, "Invalid type for 'temperature': expected a decimal, but got a string instead.", "temperature", "invalid_type"),
    ("temperature high", {"temperature": 3}, "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.", "temperature", "decimal_above_max_value"),
    ("penalty low", {"presence_penalty": -2.5}, "decimal below minimum value. Expected a value >= -2", "presence_penalty", "decimal_below_min_value"),
    ("max_tokens zero", {"max_tokens": 0}, "Invalid 'max_tokens': integer below minimum value. Expected a value >= 1", "max_tokens", "integer_below_min_value"),
    ("n fraction", {"n": 1.5}, "Invalid type for 'n': expected an integer, but got a decimal instead.", "n", "invalid_type"),
    ("stream text", {"stream": "true"}, "Invalid type for 'stream': expected a boolean", "stream", "invalid_type"),
    ("stop of lists", {"stop": [["\n"]]}, "expected a string, but got an array instead", "stop[0]", "invalid_type"),
    ("five stops", {"stop": list("abcde")}, "Expected an array with maximum length 4, but got an array with length 5", "stop", "array_above_max_length"),
    ("effort", {"model": "gpt-5", "reasoning_effort": "huge"}, "Invalid value: 'huge'. Supported values are: 'none', 'minimal'", "reasoning_effort", "invalid_value"),
    ("metadata value", {"metadata": {"a": 1}}, "Invalid type for 'metadata.a'", "metadata.a", "invalid_type"),
    # messages
    ("role missing", {"messages": [{"content": "x"}]}, "Missing required parameter: 'messages[0].role'.", "messages[0].role", "missing_required_parameter"),
    ("role unknown", {"messages": [{"role": "bot", "content": "x"}]}, "Invalid value: 'bot'. Supported values are: 'system', 'assistant'", "messages[0].role", "invalid_value"),
    ("content number", said(1), "Invalid type for 'messages[0].content': expected one of a string or array of objects, but got an integer instead.", "messages[0].content", "invalid_type"),
    ("content null", said(None), "expected a string, got null", "messages[0].content", "invalid_type"),
    ("assistant silent", {"messages": [USER, {"role": "assistant", "content": None}]}, "expected a string, got null", "messages[1].content", "invalid_type"),
    ("part type", said([{"type": "image", "source": {}}]), "Invalid value: 'image'. Supported values are: 'text', 'image_url', 'input_audio', and 'file'.", "messages[0].content[0].type", "invalid_value"),
    ("part text", said([{"type": "text"}]), "Missing required parameter: 'messages[0].content[0].text'.", "messages[0].content[0].text", "missing_required_parameter"),
    ("image as text", said([{"type": "image_url", "image_url": "https://x"}]), "Invalid type for 'messages[0].content[0].image_url': expected an object", "messages[0].content[0].image_url", "invalid_type"),
    ("image url", said([{"type": "image_url", "image_url": {"url": "file_1"}}]), "Expected a valid URL", "messages[0].content[0].image_url.url", "invalid_value"),
    ("system image", {"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}]}, "Supported values are: 'text'.", "messages[0].content[0].type", "invalid_value"),
    ("calls empty", {"messages": [USER, called()]}, "expected a string, got null", "messages[1].content", "invalid_type"),
    ("calls empty beside text", {"messages": [USER, {"role": "assistant", "content": "x", "tool_calls": []}]}, "Invalid 'messages[1].tool_calls': empty array.", "messages[1].tool_calls", "empty_array"),
    ("arguments object", {"messages": [USER, {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": {}}}]}, answer("a")]}, "Invalid type for 'messages[1].tool_calls[0].function.arguments': expected a string", "messages[1].tool_calls[0].function.arguments", "invalid_type"),
    ("tool without id", {"messages": [USER, called("a"), {"role": "tool", "content": "x"}]}, "Missing required parameter: 'messages[2].tool_call_id'.", "messages[2].tool_call_id", "missing_required_parameter"),
    ("orphan", {"messages": [USER, answer("a")]}, "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.", "messages.[1].role", None),
    ("orphan id", {"messages": [USER, called("a"), answer("b")]}, "must be a response to a preceeding message", "messages.[2].role", None),
    ("unanswered", {"messages": [USER, called("a", "b"), answer("a"), USER]}, "did not have response messages: b", "messages", None),
    ("unanswered at the end", {"messages": [USER, called("a")]}, "An assistant message with 'tool_calls' must be followed by tool messages", "messages", None),
    # tools
    ("tools empty", {"tools": []}, "Invalid 'tools': empty array.", "tools", "empty_array"),
    ("tool type", {"tools": [{"type": "web_search"}]}, "Invalid value: 'web_search'. Supported values are: 'function' and 'custom'.", "tools[0].type", "invalid_value"),
    ("tool flat", {"tools": [{"type": "function", "name": "f"}]}, "Missing required parameter: 'tools[0].function'.", "tools[0].function", "missing_required_parameter"),
    ("tool name", function(name="a b"), "string does not match pattern", "tools[0].function.name", "invalid_value"),
    ("tool name long", function(name="a" * 65), "Expected a string with maximum length 64", "tools[0].function.name", "string_above_max_length"),
    ("tool schema", function(parameters={"type": "string"}), "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"string\"'.", "tools[0].function.parameters", "invalid_function_parameters"),
    ("tool strict", function(strict=True, parameters={"type": "object", "properties": {}}), "'additionalProperties' is required to be supplied and to be false.", "tools[0].function.parameters", "invalid_function_parameters"),
    ("choice alone", {"tool_choice": "auto"}, "'tool_choice' is only allowed when 'tools' are specified.", "tool_choice", None),
    ("parallel alone", {"parallel_tool_calls": False}, "'parallel_tool_calls' is only allowed when 'tools' are specified.", "parallel_tool_calls", None),
    ("choice word", {"tool_choice": "any", **TOOLS}, "Invalid value: 'any'. Supported values are: 'none', 'auto', and 'required'.", "tool_choice", "invalid_value"),
    ("choice shape", {"tool_choice": {"type": "function", "name": "f"}, **TOOLS}, "Invalid value for 'tool_choice'.", "tool_choice", "invalid_value"),
    ("choice unknown", {"tool_choice": {"type": "function", "function": {"name": "g"}}, **TOOLS}, "'g' not found in 'tools'", "tool_choice", "invalid_value"),
    ("tools and functions", {"functions": [{"name": "f"}], **TOOLS}, "Only one of 'tools' and 'functions'", None, None),
    # response format
    ("format type", {"response_format": {"type": "json"}}, "Invalid value: 'json'. Supported values are: 'json_object', 'json_schema', and 'text'.", "response_format.type", "invalid_value"),
    ("json unsaid", {"response_format": {"type": "json_object"}}, "'messages' must contain the word 'json' in some form", "messages", None),
    ("schema name", schema({"type": "object"}, name="a b"), "string does not match pattern", "response_format.json_schema.name", "invalid_value"),
    ("schema open", schema({"type": "object", "properties": {}}), "Invalid schema for response_format 'x': In context=(), 'additionalProperties'", "response_format", "invalid_json_schema"),
    ("schema optional", schema({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}), "including every key in properties. Missing 'a'.", "response_format", "invalid_json_schema"),
    ("schema nested", schema({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"}}}, "required": ["a"], "additionalProperties": False}), "In context=('properties', 'a', 'items')", "response_format", "invalid_json_schema"),
    # combinations and models
    ("stream options", {"stream_options": {"include_usage": True}}, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options", None),
    ("both limits", {"max_tokens": 5, "max_completion_tokens": 5}, "at the same time is not supported", None, "invalid_parameter_combination"),
    ("top_logprobs alone", {"top_logprobs": 2}, "'top_logprobs' is only allowed when 'logprobs' is enabled.", "top_logprobs", None),
    ("limit too large", {"max_tokens": 16385}, "max_tokens is too large: 16385. This model supports at most 16384 completion tokens", "max_tokens", "invalid_value"),
    ("audio", {"modalities": ["text", "audio"]}, "Invalid value: 'audio'.", "modalities[0]", "invalid_value"),
    ("effort without reasoning", {"reasoning_effort": "low"}, "Unrecognized request argument supplied: reasoning_effort", None, None),
    ("reasoning max_tokens", {"model": "gpt-5-nano", "max_tokens": 5}, "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "max_tokens", "unsupported_parameter"),
    ("reasoning temperature", {"model": "o3", "temperature": 0.16}, "'temperature' does not support 0.16 with this model. Only the default (1) value is supported.", "temperature", "unsupported_value"),
    ("reasoning top_p", {"model": "o4-mini", "top_p": 0.5}, "'top_p' is not supported with this model.", "top_p", "unsupported_parameter"),
    ("reasoning stop", {"model": "gpt-5", "stop": "x"}, "'stop' is not supported with this model.", "stop", "unsupported_parameter"),
]  # fmt: skip

ACCEPTED: list[tuple[str, Body]] = [
    ("nulls", {"temperature": None, "stop": None, "tools": None, "stream": None, "stream_options": None, "n": None}),
    ("unknown fields", {"top_k": 5, "cache_control": {}, **said("Hi", name="Bob", prompt_cache_breakpoint={})}),
    ("integers for decimals", {"temperature": 2, "top_p": 1}),
    ("results in any order", {"messages": [USER, called("a", "b"), answer("b"), answer("a")], **TOOLS}),
    ("assistant without content", {"messages": [USER, {"role": "assistant", "refusal": "No."}, USER]}),
    ("images and files", said([{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}, {"type": "file", "file": {"file_data": "aGk="}}])),
    ("function without parameters", {"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "g"}}]}),
    ("allowed tools", {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}}, **TOOLS}),
    ("json said", {"response_format": {"type": "json_object"}, **said("Answer in JSON")}),
    ("loose schema", schema({"type": "object", "properties": {"a": {}}}, strict=False)),
    ("reasoning", {"model": "gpt-5-nano", "max_completion_tokens": 500, "reasoning_effort": "minimal", "temperature": 1, "verbosity": "low"}),
    ("a chat model among them", {"model": "gpt-5-chat-latest", "max_tokens": 5, "temperature": 0}),
    ("an unknown model", {"model": "mistral-large", "max_tokens": 10**6, "reasoning_effort": "low"}),
    ("legacy functions", {"functions": [{"name": "f"}], "function_call": {"name": "f"}}),
    ("function results", {"messages": [USER, {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}, {"role": "function", "name": "f", "content": None}]}),
]  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[FakeUpstream]:
    with FakeUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def client(server: FakeUpstream) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.openai_url, verify=False, trust_env=False) as client:
        yield client


@pytest.fixture
def upstream(server: FakeUpstream) -> FakeUpstream:
    server.reset()
    return server


Send = Callable[..., httpx.Response]


@pytest.fixture
def send(upstream: FakeUpstream, client: httpx.Client) -> Send:
    def send(
        fields: Body, *, raw: bytes | None = None, authorization: str | None = "Bearer test-1"
    ) -> httpx.Response:
        content = (
            json.dumps({"model": "gpt-4o", "messages": [USER], **fields}).encode() if raw is None else raw
        )
        headers = {"authorization": authorization} if authorization else {}
        return client.post("/chat/completions", content=content, headers=headers)

    return send


def error_of(reply: httpx.Response) -> Body:
    body = reply.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    error: Body = body["error"]
    return error


@pytest.mark.parametrize(
    ("fields", "message", "param", "code"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_refused(send: Send, fields: Body, message: str, param: str | None, code: str | None) -> None:
    reply = send(fields)
    error = error_of(reply)
    assert (reply.status_code, error["type"]) == (400, "invalid_request_error")
    assert message in error["message"]
    assert (error["param"], error["code"]) == (param, code)


@pytest.mark.parametrize("fields", [case[1] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_accepted(send: Send, fields: Body) -> None:
    reply = send(fields)
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "We could not parse the JSON body of your request."),
        (b"[]", "We could not parse the JSON body of your request."),
        (b'{"model": NaN}', "We could not parse the JSON body of your request."),
        (b"\xff", "We could not parse the JSON body of your request."),
        (b"[" * 100_000, "We could not parse the JSON body of your request."),
        (b"{}", "you must provide a model parameter"),
        (b'{"model":"gpt-4o"}', "Missing required parameter: 'messages'."),
        (b'{"model":"gpt-4o","messages":null}', "Missing required parameter: 'messages'."),
    ],
)
def test_bodies_that_say_too_little(send: Send, raw: bytes, message: str) -> None:
    reply = send({}, raw=raw)
    assert reply.status_code == 400
    assert message in error_of(reply)["message"]


@pytest.mark.parametrize("authorization", [None, "test-1", "Basic test-1", "Bearer"])
def test_no_bearer_token(send: Send, authorization: str | None) -> None:
    reply = send({}, authorization=authorization)
    assert (reply.status_code, error_of(reply)["code"]) == (401, None)


def test_a_wrong_key_is_quoted_in_part_as_the_real_api_does(send: Send) -> None:
    reply = send({}, authorization="Bearer sk-proj-secret-q7Zx")
    error = error_of(reply)
    assert (reply.status_code, error["code"]) == (401, "invalid_api_key")
    assert "sk-proj-********q7Zx" in error["message"]


def test_retired_models(upstream: FakeUpstream, send: Send) -> None:
    upstream.retired_models.add("gpt-4o")
    reply = send({})
    assert (reply.status_code, error_of(reply)["code"]) == (404, "model_not_found")
    assert send({"model": "gpt-4o-mini"}).status_code == 200


def test_unknown_arguments_can_be_refused(upstream: FakeUpstream, send: Send) -> None:
    assert send({"top_k": 5}).status_code == 200
    upstream.reject_unknown_arguments = True
    assert error_of(send({"top_k": 5}))["message"] == "Unrecognized request argument supplied: top_k"
