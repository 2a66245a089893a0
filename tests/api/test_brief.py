"""The five examples of the product's brief, with curl's bodies, and the tables that it seeds."""

from __future__ import annotations

import json

from tests.api.http import BEARER, chat, request
from tests.fake_upstream import FakeUpstream
from tests.live_server import LiveServer

WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get current weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city"],
        },
    },
}
MODELS = [
    ("gpt-4o", "openai"),
    ("gpt-4o-mini", "openai"),
    ("gpt-4.1", "openai"),
    ("gpt-4.1-mini", "openai"),
    ("gpt-4.1-nano", "openai"),
    ("gpt-5-nano", "openai"),
    ("claude-opus-4", "anthropic"),
    ("claude-sonnet-4", "anthropic"),
    ("claude-3-5-sonnet", "anthropic"),
    ("claude-3-5-haiku", "anthropic"),
    ("claude-haiku-3-5", "anthropic"),
    ("claude-3-opus", "anthropic"),
]
ALIASES = {
    "gpt-5": "openai/gpt-4o",
    "gpt-5-turbo": "openai/gpt-4o",
    "gpt-4": "openai/gpt-4o",
    "gpt-4-turbo": "openai/gpt-4o",
    "claude-4.6-sonnet": "anthropic/claude-sonnet-4-5",
    "claude-4-sonnet": "anthropic/claude-sonnet-4-5",
    "claude-sonnet-4-5": "anthropic/claude-sonnet-4-5",
    "claude-4-opus": "anthropic/claude-opus-4-5",
    "claude-4.6-opus": "anthropic/claude-opus-4-5",
    "claude-3-sonnet": "anthropic/claude-3-5-sonnet-20241022",
    "gemini-2.5-pro": "openai/gpt-4o",
    "gemini-1.5-pro": "openai/gpt-4o",
}


def test_example_1_a_chat_with_an_openai_model(server: LiveServer, upstream: FakeUpstream) -> None:
    answer = chat(server.url, {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]})
    assert answer.status == 200
    reply = answer.json()
    assert reply["object"] == "chat.completion"
    assert reply["model"] == "gpt-4o-mini"
    assert reply["choices"][0]["message"]["role"] == "assistant"
    assert "Hello!" in reply["choices"][0]["message"]["content"]
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert upstream.requests[-1].json["model"] == "gpt-4o-mini"
    assert upstream.requests[-1].header("authorization") == "Bearer test-openai-key-do-not-leak"


def test_example_2_a_chat_with_a_claude_model(server: LiveServer, upstream: FakeUpstream) -> None:
    answer = chat(
        server.url,
        {
            "model": "claude-3-5-sonnet",
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "What is 2+2?"},
            ],
        },
    )
    assert answer.status == 200, answer.body
    assert "2+2" in answer.json()["choices"][0]["message"]["content"]
    assert answer.json()["model"] == "claude-3-5-sonnet"
    seen = upstream.requests[-1]
    assert seen.path.endswith("/v1/messages")
    assert seen.header("x-api-key") == "test-anthropic-key-do-not-leak"
    assert seen.header("anthropic-version") == "2023-06-01"
    assert seen.json["model"] == "claude-3-5-sonnet-20241022"
    assert seen.json["system"] == "You are a helpful assistant."
    assert seen.json["messages"] == [{"role": "user", "content": "What is 2+2?"}]
    assert seen.json["max_tokens"] == 8192


def test_example_3_a_tool_call(server: LiveServer, upstream: FakeUpstream) -> None:
    answer = chat(
        server.url,
        {
            "model": "claude-3-5-sonnet",
            "messages": [{"role": "user", "content": "Whats the weather in Beijing?"}],
            "tools": [WEATHER_TOOL],
            "tool_choice": "auto",
        },
    )
    assert answer.status == 200, answer.body
    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    call = choice["message"]["tool_calls"][0]
    assert call["type"] == "function"
    assert call["function"]["name"] == "get_weather"
    assert isinstance(call["function"]["arguments"], str)
    assert "city" in json.loads(call["function"]["arguments"])
    assert upstream.requests[-1].json["tool_choice"] == {"type": "auto"}


def test_example_4_a_tool_result_goes_back(server: LiveServer, upstream: FakeUpstream) -> None:
    answer = chat(
        server.url,
        {
            "model": "claude-3-5-sonnet",
            "messages": [
                {"role": "user", "content": "What's the weather in Beijing?"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "call_123",
                            "type": "function",
                            "function": {"name": "get_weather", "arguments": '{"city":"Beijing"}'},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "call_123", "content": '{"temp": 22, "condition": "Sunny"}'},
            ],
            "tools": [WEATHER_TOOL],
        },
    )
    assert answer.status == 200, answer.body
    assert answer.json()["choices"][0]["message"]["content"]
    assert answer.json()["choices"][0]["finish_reason"] == "stop"
    assert upstream.requests[-1].json["messages"] == [
        {"role": "user", "content": "What's the weather in Beijing?"},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "call_123", "name": "get_weather", "input": {"city": "Beijing"}}
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "call_123",
                    "content": '{"temp": 22, "condition": "Sunny"}',
                }
            ],
        },
    ]


def test_the_model_list_is_the_brief_s_table(server: LiveServer) -> None:
    answer = request(server.url, "/api/v1/models")
    assert answer.status == 200
    body = answer.json()
    assert body["object"] == "list"
    assert [(model["id"], model["owned_by"]) for model in body["data"]] == MODELS
    assert all(model["object"] == "model" and isinstance(model["created"], int) for model in body["data"])


def test_every_alias_routes_where_the_brief_says(server: LiveServer) -> None:
    for alias, upstream_name in ALIASES.items():
        answer = chat(server.url, {"model": alias, "messages": [{"role": "user", "content": "Hi"}]})
        assert answer.status == 200, answer.body
        assert answer.headers["x-patchbay-upstream"] == upstream_name
        assert answer.json()["model"] == alias


def test_any_bearer_token_is_accepted_and_none_is_not(server: LiveServer) -> None:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}
    path = "/api/v1/chat/completions"
    for token in ("x", "sk-123", "any token"):
        headers = {"authorization": f"Bearer {token}"}
        assert request(server.url, path, method="POST", body=body, headers=headers).status == 200
    for headers in ({}, {"authorization": "Bearer "}, {"authorization": "Basic eDp5"}):
        answer = request(server.url, path, method="POST", body=body, headers=headers)
        assert answer.status == 401
        assert answer.error["type"] == "invalid_request_error"
        assert answer.error["code"] is None


def test_the_same_paths_stand_under_v1(server: LiveServer) -> None:
    assert request(server.url, "/v1/models").json() == request(server.url, "/api/v1/models").json()
    answer = request(
        server.url,
        "/v1/chat/completions",
        method="POST",
        body={"model": "claude-sonnet-4", "messages": [{"role": "user", "content": "Hi"}]},
        headers=BEARER,
    )
    assert answer.status == 200
