"""Whatever the body, the pretended APIs answer or refuse; they never break."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake_upstream.answers import Answers
from tests.fake_upstream.recorded import RecordedRequest

CLAUDE: dict[str, Any] = {
    "model": "claude-opus-4-6",
    "max_tokens": 4000,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Hi", "citations": None},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}, "title": "t"},
            ],
        },
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "ok"}]},
                {"type": "text", "text": "And?"},
            ],
        },
        {"role": "assistant", "content": "So."},
        {"role": "user", "content": "Go on."},
    ],
    "tools": [
        {
            "name": "f",
            "description": "d",
            "strict": True,
            "input_schema": {
                "type": "object",
                "properties": {"x": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/y"}]}},
                "required": ["x"],
                "additionalProperties": False,
                "$defs": {"y": {"type": "array", "items": {"type": "string"}, "minItems": 1}},
            },
        },
        {"type": "web_search_20250305", "name": "web_search", "user_location": {"type": "approximate"}},
    ],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "adaptive", "display": "summarized"},
    "output_config": {
        "effort": "low",
        "format": {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}},
    },
    "metadata": {"user_id": "u"},
    "stop_sequences": ["END"],
    "stream": True,
}
OPENAI: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Hi"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "ok"},
        {"role": "user", "content": "Go on."},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "f",
                "parameters": {
                    "type": "object",
                    "properties": {"x": {"enum": [1]}, "y": {"type": ["integer", "null"], "minimum": 2}},
                    "required": ["x", "y"],
                },
            },
        },
        {"type": "custom", "custom": {"name": "g"}},
    ],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
    },
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "x",
            "strict": True,
            "schema": {"type": "object", "properties": {}, "additionalProperties": False},
        },
    },
    "stop": ["END"],
    "n": 2,
    "logprobs": True,
    "stream": True,
    "stream_options": {"include_usage": True},
    "metadata": {"a": "b"},
}
LEAVES = st.none() | st.booleans() | st.integers(-3, 70000) | st.floats(allow_nan=False) | st.text(max_size=4)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


def _paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        found += _paths(inner, (*here, key))
    return found


@st.composite
def changed(draw: st.DrawFn, original: dict[str, Any]) -> dict[str, Any]:
    """The original with one to three places replaced, removed, or given an unknown key."""
    body = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        paths = _paths(body)
        if not paths:
            break
        *way, last = draw(st.sampled_from(paths))
        holder: Any = body
        for key in way:
            holder = holder[key]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                holder[last] = draw(VALUES)
            case "remove":
                del holder[last]
            case _ if isinstance(holder, dict):
                holder[draw(st.text(max_size=4))] = draw(VALUES)
    return body


def _status(path: str, body: dict[str, Any]) -> int:
    headers = (
        ("authorization", "Bearer test-1"),
        ("anthropic-version", "2023-06-01"),
        ("content-type", "application/json"),
    )
    text = json.dumps(body).encode()
    return Answers().answer(RecordedRequest("POST", path, headers, text, 0.0, 1, 1)).status


@pytest.mark.parametrize(
    ("path", "body"), [("/anthropic/v1/messages", CLAUDE), ("/openai/v1/chat/completions", OPENAI)]
)
def test_the_originals_are_accepted(path: str, body: dict[str, Any]) -> None:
    assert _status(path, body) == 200


@given(changed(CLAUDE))
def test_any_messages_body(body: dict[str, Any]) -> None:
    assert _status("/anthropic/v1/messages", body) in (200, 400)


@given(changed(OPENAI))
def test_any_chat_body(body: dict[str, Any]) -> None:
    assert _status("/openai/v1/chat/completions", body) in (200, 400)
