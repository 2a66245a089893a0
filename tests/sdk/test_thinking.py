"""Claude's thinking through an OpenAI client that knows nothing of it: seen, kept, and given back."""

from __future__ import annotations

from typing import Any

import pytest
from openai import OpenAI

from tests.clients.stack import ADAPTIVE_CLAUDE, BUDGET_CLAUDE, CLAUDE, THINKING_GPT, Stack
from tests.sdk.test_tools import TOOLS, answers_to

THOUGHT = "The user wrote 'How is the weather in Paris?'; an answer follows."
QUESTION: list[Any] = [{"role": "user", "content": "How is the weather in Paris?"}]
THINKERS = (BUDGET_CLAUDE, ADAPTIVE_CLAUDE)


def thoughts_in(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The thinking blocks of the assistant's turns, as the upstream got them."""
    return [
        block
        for turn in body["messages"]
        if turn["role"] == "assistant"
        for block in turn["content"]
        if block["type"] in ("thinking", "redacted_thinking")
    ]


@pytest.mark.parametrize("model", THINKERS)
def test_a_tool_loop_keeps_the_signed_thoughts(client: OpenAI, stack: Stack, model: str) -> None:
    """`messages.append(message)` is all that the client does; the upstream checks its own signatures."""
    messages = [*QUESTION]
    first = client.chat.completions.create(
        model=model, messages=messages, tools=TOOLS, reasoning_effort="high"
    )
    message: Any = first.choices[0].message
    assert message.reasoning_content == THOUGHT
    [thought] = message.thinking_blocks
    assert (thought["type"], thought["thinking"]) == ("thinking", THOUGHT)
    assert thought["signature"]
    assert first.usage
    assert first.usage.completion_tokens_details
    assert first.usage.completion_tokens_details.reasoning_tokens

    messages += [message, *answers_to(message)]
    second = client.chat.completions.create(
        model=model, messages=messages, tools=TOOLS, reasoning_effort="high"
    )
    assert second.choices[0].message.content == "The tools answered: get_weather: fine"
    before, after = stack.seen(model)
    assert thoughts_in(after) == [thought]
    assert before["thinking"] == after["thinking"]
    if model == BUDGET_CLAUDE:
        assert after["thinking"] == {"type": "enabled", "budget_tokens": 24576}
    else:
        assert after["thinking"] == {"type": "adaptive", "display": "summarized"}
        assert after["output_config"] == {"effort": "high"}


@pytest.mark.parametrize("model", THINKERS)
def test_a_streamed_tool_loop_keeps_the_signed_thoughts(client: OpenAI, stack: Stack, model: str) -> None:
    messages = [*QUESTION]
    seen = ""
    with client.chat.completions.stream(
        model=model, messages=messages, tools=TOOLS, reasoning_effort="low"
    ) as stream:
        for event in stream:
            if event.type == "chunk":
                seen += getattr(event.chunk.choices[0].delta, "reasoning_content", None) or ""
        message: Any = stream.get_final_completion().choices[0].message
    assert seen == THOUGHT
    assert message.reasoning_content == THOUGHT
    [thought] = message.thinking_blocks
    messages += [message, *answers_to(message)]
    with client.chat.completions.stream(
        model=model, messages=messages, tools=TOOLS, reasoning_effort="low"
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "The tools answered: get_weather: fine"
    [returned] = thoughts_in(stack.seen(model)[1])
    assert returned == {name: value for name, value in thought.items() if name != "index"}


@pytest.mark.parametrize("model", THINKERS)
def test_redacted_thoughts_go_along(client: OpenAI, stack: Stack, model: str) -> None:
    messages: list[Any] = [{"role": "user", "content": "Something redacted, please"}]
    for _ in range(2):
        with client.chat.completions.stream(
            model=model, messages=messages, tools=TOOLS, reasoning_effort="low"
        ) as stream:
            message: Any = stream.get_final_completion().choices[0].message
        messages.append(message)
        if message.tool_calls:
            assert [block["type"] for block in message.thinking_blocks] == ["thinking", "redacted_thinking"]
            messages += answers_to(message)
    assert message.content == "The tools answered: get_weather: fine"
    returned = thoughts_in(stack.seen(model)[1])
    assert [block["type"] for block in returned] == ["thinking", "redacted_thinking"]


def test_a_conversation_of_several_turns(client: OpenAI, stack: Stack) -> None:
    """Signatures that bind all that stands before them still hold in the third round."""
    messages: list[Any] = [{"role": "system", "content": "Be kind."}]
    for city in ("Paris", "Rome", "Oslo"):
        messages.append({"role": "user", "content": f"How is the weather in {city}?"})
        for _ in range(2):
            completion = client.chat.completions.create(
                model=ADAPTIVE_CLAUDE, messages=messages, tools=TOOLS, reasoning_effort="medium"
            )
            message = completion.choices[0].message
            messages.append(message)
            if message.tool_calls:
                messages += answers_to(message)
        assert message.content == "The tools answered: get_weather: fine"
    bodies = stack.seen(ADAPTIVE_CLAUDE)
    # One request each: none was refused for a signature and asked again without thoughts.
    assert len(bodies) == 6
    # Every reply thinks, those behind tool results too; the last reply is not sent back.
    assert len(thoughts_in(bodies[-1])) == 5


@pytest.mark.parametrize("model", THINKERS)
def test_a_client_that_loses_the_thoughts_still_gets_an_answer(
    client: OpenAI, stack: Stack, model: str
) -> None:
    messages = [*QUESTION]
    first = client.chat.completions.create(
        model=model, messages=messages, tools=TOOLS, reasoning_effort="low"
    )
    message = first.choices[0].message
    bare = message.to_dict()
    kept = {name: bare[name] for name in ("role", "content", "tool_calls")}
    messages += [kept, *answers_to(message)]
    second = client.chat.completions.create(
        model=model, messages=messages, tools=TOOLS, reasoning_effort="low"
    )
    assert second.choices[0].message.content == "The tools answered: get_weather: fine"
    _, after = stack.seen(model)
    assert thoughts_in(after) == []
    assert ("thinking" in after) == (model == ADAPTIVE_CLAUDE)


def test_thoughts_that_no_longer_fit_are_left_out_once(client: OpenAI, stack: Stack) -> None:
    """An edited history breaks the binding: the request is sent again without thoughts, not refused."""
    messages: list[Any] = [{"role": "system", "content": "Be kind."}, *QUESTION]
    first = client.chat.completions.create(
        model=ADAPTIVE_CLAUDE, messages=messages, tools=TOOLS, reasoning_effort="low"
    )
    message = first.choices[0].message
    messages[0] = {"role": "system", "content": "Be brief."}
    messages += [message, *answers_to(message)]
    response = client.chat.completions.with_raw_response.create(
        model=ADAPTIVE_CLAUDE, messages=messages, tools=TOOLS, reasoning_effort="low"
    )
    assert response.parse().choices[0].message.content == "The tools answered: get_weather: fine"
    _, refused, amended = stack.seen(ADAPTIVE_CLAUDE)
    assert len(thoughts_in(refused)) == 1
    assert thoughts_in(amended) == []
    assert "thinking_blocks" in response.headers["x-patchbay-ignored"]


def test_no_effort_asked_for_no_thinking_sent(client: OpenAI, stack: Stack) -> None:
    completion = client.chat.completions.create(model=CLAUDE, messages=QUESTION)
    message: Any = completion.choices[0].message
    assert not hasattr(message, "reasoning_content")
    assert not hasattr(message, "thinking_blocks")
    body = stack.saw(CLAUDE)
    assert "thinking" not in body
    assert "output_config" not in body


def test_claude_s_own_thinking_field_wins(client: OpenAI, stack: Stack) -> None:
    thinking = {"type": "enabled", "budget_tokens": 2048}
    completion = client.chat.completions.create(
        model=BUDGET_CLAUDE,
        messages=QUESTION,
        reasoning_effort="high",
        max_completion_tokens=4096,
        extra_body={"thinking": thinking},
    )
    message: Any = completion.choices[0].message
    assert message.reasoning_content == THOUGHT
    assert stack.saw(BUDGET_CLAUDE)["thinking"] == thinking


def test_thoughts_of_claude_do_not_reach_openai(client: OpenAI, stack: Stack) -> None:
    """A conversation may change models; OpenAI refuses message fields that it does not know."""
    messages = [*QUESTION]
    first = client.chat.completions.create(
        model=BUDGET_CLAUDE, messages=messages, tools=TOOLS, reasoning_effort="low"
    )
    message = first.choices[0].message
    messages += [message, *answers_to(message)]
    stack.upstream.reset()
    stack.upstream.reject_unknown_arguments = True
    second = client.chat.completions.create(
        model=THINKING_GPT, messages=messages, tools=TOOLS, reasoning_effort="low"
    )
    assert second.choices[0].message.content == "The tools answered: get_weather: fine"
    _, assistant, _ = stack.saw(THINKING_GPT)["messages"]
    assert not {"thinking_blocks", "reasoning_content"} & assistant.keys()
    assert second.usage
    assert second.usage.completion_tokens_details
    assert second.usage.completion_tokens_details.reasoning_tokens == 4
