"""The examples of the product's brief, word for word, with OpenAI's Python SDK."""

from __future__ import annotations

import json
from typing import Any

from openai import OpenAI

from tests.clients.stack import CLAUDE, GPT, Stack

PREVIOUS_CLAUDE = "claude-3-5-sonnet"
WEATHER: list[Any] = [
    {
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
]


def test_1_a_chat_with_an_openai_model(client: OpenAI, stack: Stack) -> None:
    completion = client.chat.completions.create(model=GPT, messages=[{"role": "user", "content": "Hello!"}])
    assert completion.choices[0].message.content == "You said: Hello!"
    assert completion.choices[0].finish_reason == "stop"
    assert stack.saw(GPT) == {"model": GPT, "messages": [{"role": "user", "content": "Hello!"}]}


def test_2_a_chat_with_a_claude_model(client: OpenAI, stack: Stack) -> None:
    completion = client.chat.completions.create(
        model=PREVIOUS_CLAUDE,
        messages=[
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is 2+2?"},
        ],
    )
    assert completion.choices[0].message.content == "You said: What is 2+2?"
    assert completion.model == PREVIOUS_CLAUDE
    [request] = stack.upstream.requests
    body = request.json
    assert body["model"] == "claude-3-5-sonnet-20241022"
    assert _text(body["system"]) == "You are a helpful assistant."
    assert [turn["role"] for turn in body["messages"]] == ["user"]


def test_3_claude_calls_a_tool(client: OpenAI, stack: Stack) -> None:
    completion = client.chat.completions.create(
        model=PREVIOUS_CLAUDE,
        messages=[{"role": "user", "content": "Whats the weather in Beijing?"}],
        tools=WEATHER,
        tool_choice="auto",
    )
    [choice] = completion.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    [call] = choice.message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Beijing"}
    [request] = stack.upstream.requests
    assert request.json["tools"][0]["input_schema"] == WEATHER[0]["function"]["parameters"]
    # "auto" is what Anthropic does by itself, so both ways of saying it are right.
    assert request.json.get("tool_choice", {"type": "auto"}) == {"type": "auto"}


def test_4_the_result_of_a_tool_comes_back(client: OpenAI, stack: Stack) -> None:
    completion = client.chat.completions.create(
        model=PREVIOUS_CLAUDE,
        messages=[
            {"role": "user", "content": "Whats the weather in Beijing?"},
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
            {
                "role": "tool",
                "tool_call_id": "call_123",
                "content": '{"temp": 22, "condition": "Sunny"}',
            },
        ],
        tools=WEATHER,
    )
    assert completion.choices[0].finish_reason == "stop"
    assert "Sunny" in (completion.choices[0].message.content or "")
    [request] = stack.upstream.requests
    user, assistant, result = request.json["messages"]
    assert _text(user["content"]) == "Whats the weather in Beijing?"
    assert assistant == {
        "role": "assistant",
        "content": [
            {"type": "tool_use", "id": "call_123", "name": "get_weather", "input": {"city": "Beijing"}}
        ],
    }
    assert result["role"] == "user"
    [block] = result["content"]
    assert (block["type"], block["tool_use_id"]) == ("tool_result", "call_123")
    assert _text(block["content"]) == '{"temp": 22, "condition": "Sunny"}'


def test_5_the_sdk_as_in_the_readme(stack: Stack) -> None:
    with OpenAI(api_key="any-token", base_url=stack.base_url) as client:
        reply = client.chat.completions.create(model=CLAUDE, messages=[{"role": "user", "content": "Hi"}])
        assert reply.choices[0].message.content == "You said: Hi"
        reply = client.chat.completions.create(
            model=CLAUDE,
            messages=[{"role": "user", "content": "Whats the weather in Beijing?"}],
            tools=WEATHER,
        )
        msg = reply.choices[0].message
        assert msg.tool_calls
        assert msg.tool_calls[0].type == "function"
        assert msg.tool_calls[0].function.name == "get_weather"
        assert json.loads(msg.tool_calls[0].function.arguments) == {"city": "Beijing"}


def _text(content: Any) -> str:
    """Plain text, whichever of its two spellings the upstream was sent."""
    return content if isinstance(content, str) else "".join(block["text"] for block in content)
