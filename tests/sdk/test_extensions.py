"""What an OpenAI client may say to Claude beyond OpenAI's own fields: caching, web search, strictness."""

from __future__ import annotations

from typing import Any

import pytest
from openai import BadRequestError, OpenAI
from openai.types import CompletionUsage

from tests.clients.stack import CLAUDE, GPT, Stack

LONG = "All that there is to know. " * 40


def cached(usage: CompletionUsage | None) -> tuple[int, int]:
    """Tokens written to the cache and tokens read from it."""
    assert usage
    assert usage.prompt_tokens_details
    details = usage.prompt_tokens_details
    return details.cache_write_tokens or 0, details.cached_tokens or 0


def test_marked_parts_are_cached(client: OpenAI, stack: Stack) -> None:
    """The first request writes the cache, the second reads it, and OpenAI's usage fields tell."""
    system: Any = {
        "role": "system",
        "content": [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}],
    }
    usages = []
    for text in ("One?", "Two?"):
        completion = client.chat.completions.create(
            model=CLAUDE, messages=[system, {"role": "user", "content": text}]
        )
        assert completion.usage
        usages.append(completion.usage)
    written, read = usages
    size, _ = cached(written)
    assert size > 100
    assert (cached(written), cached(read)) == ((size, 0), (0, size))
    # OpenAI counts cached tokens among the prompt's, Anthropic beside them.
    assert written.prompt_tokens == read.prompt_tokens > 100
    for body in stack.seen(CLAUDE):
        assert body["system"][0]["cache_control"] == {"type": "ephemeral"}


def test_the_cache_is_seen_in_streams_too(client: OpenAI, stack: Stack) -> None:
    content: Any = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    usages = []
    for _ in range(2):
        *_, last = client.chat.completions.create(
            model=CLAUDE,
            messages=[{"role": "user", "content": content}],
            stream=True,
            stream_options={"include_usage": True},
        )
        usages.append(last.usage)
    size, _ = cached(usages[0])
    assert size > 100
    assert [cached(usage) for usage in usages] == [(size, 0), (0, size)]


def test_cache_marks_do_not_reach_openai(client: OpenAI, stack: Stack) -> None:
    content: Any = [{"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}]
    client.chat.completions.create(model=GPT, messages=[{"role": "user", "content": content}])
    [turn] = stack.saw(GPT)["messages"]
    assert turn["content"] == [{"type": "text", "text": "Hello"}]


def test_web_search_becomes_claude_s_tool(client: OpenAI, stack: Stack) -> None:
    client.chat.completions.create(
        model=CLAUDE,
        messages=[{"role": "user", "content": "News?"}],
        web_search_options={
            "search_context_size": "low",
            "user_location": {"type": "approximate", "approximate": {"city": "Oslo", "country": "NO"}},
        },
    )
    [tool] = stack.saw(CLAUDE)["tools"]
    assert tool == {
        "type": "web_search_20250305",
        "name": "web_search",
        "max_uses": 3,
        "user_location": {"type": "approximate", "city": "Oslo", "country": "NO"},
    }


def test_fields_of_anthropic_pass_through_extra_body(client: OpenAI, stack: Stack) -> None:
    client.chat.completions.create(
        model=CLAUDE, messages=[{"role": "user", "content": "Hello"}], extra_body={"top_k": 5, "nonsense": 1}
    )
    body = stack.saw(CLAUDE)
    assert body["top_k"] == 5
    assert "nonsense" not in body


def test_the_end_user_is_told_to_claude(client: OpenAI, stack: Stack) -> None:
    client.chat.completions.create(
        model=CLAUDE,
        messages=[{"role": "user", "content": "Hello"}],
        safety_identifier="user-1",
        user="someone",
        metadata={"user_id": "not this"},
    )
    assert stack.saw(CLAUDE)["metadata"] == {"user_id": "user-1"}


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_strict_request_is_refused_rather_than_trimmed(
    client: OpenAI, stack: Stack, is_stream: bool
) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(
            model=CLAUDE,
            messages=[{"role": "user", "content": "Hello"}],
            seed=7,
            stream=is_stream,
            extra_headers={"x-patchbay-strict": "true"},
        )
    assert (caught.value.param, caught.value.code) == ("seed", "unsupported_parameter")
    assert stack.upstream.requests == []
