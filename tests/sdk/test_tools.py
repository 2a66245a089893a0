"""Tools through openai-python: single and parallel calls, whole loops, choices, the legacy functions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from tests.clients.stack import BOTH, CLAUDE, GPT, Stack, is_claude

PARIS = "In parallel, please: how is Paris?"


def tool(name: str, *arguments: str) -> Any:
    properties = {argument: {"type": "string"} for argument in arguments}
    parameters = {"type": "object", "properties": properties, "required": list(arguments)}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


TOOLS = [tool("get_weather", "city"), tool("get_time", "city", "zone")]
EXPECTED = [("get_weather", {"city": "Paris"}), ("get_time", {"city": "Paris", "zone": "some zone"})]


def named(message: Any) -> list[tuple[str, Any]]:
    return [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or []]


def answers_to(message: Any) -> list[Any]:
    return [
        {"role": "tool", "tool_call_id": call.id, "content": f"{call.function.name}: fine"}
        for call in message.tool_calls
    ]


def check_loop(bodies: list[dict[str, Any]], message: Any, model: str) -> None:
    """The upstream saw its own calls again, each with its result, under the ids that it gave them."""
    first, second = bodies
    assert first["tools"] == second["tools"]
    ids = [call.id for call in message.tool_calls]
    if is_claude(model):
        user, assistant, results = second["messages"]
        assert first["messages"] == [user]
        assert [(block["type"], block["id"], block["name"]) for block in assistant["content"]] == [
            ("tool_use", call_id, name) for call_id, (name, _) in zip(ids, EXPECTED, strict=True)
        ]
        assert [block["input"] for block in assistant["content"]] == [given for _, given in EXPECTED]
        assert results["role"] == "user"
        assert [(block["type"], block["tool_use_id"]) for block in results["content"]] == [
            ("tool_result", call_id) for call_id in ids
        ]
        return
    _, assistant, *results = second["messages"]
    assert [call["id"] for call in assistant["tool_calls"]] == ids
    assert [result["tool_call_id"] for result in results] == ids


@pytest.mark.parametrize("model", BOTH)
def test_a_loop_with_parallel_calls(client: OpenAI, stack: Stack, model: str) -> None:
    messages: list[Any] = [{"role": "user", "content": PARIS}]
    first = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.content is None
    assert named(message) == EXPECTED
    assert len({call.id for call in message.tool_calls or []}) == 2

    messages.append(message)
    messages += answers_to(message)
    second = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    assert second.choices[0].finish_reason == "stop"
    assert second.choices[0].message.content == "The tools answered: get_weather: fine; get_time: fine"
    check_loop(stack.seen(model), message, model)


@pytest.mark.parametrize("model", BOTH)
def test_a_streamed_loop_with_parallel_calls(client: OpenAI, stack: Stack, model: str) -> None:
    messages: list[Any] = [{"role": "user", "content": PARIS}]
    done: list[Any] = []
    with client.chat.completions.stream(model=model, messages=messages, tools=TOOLS) as stream:
        for event in stream:
            if event.type == "tool_calls.function.arguments.done":
                done.append((event.index, event.name, json.loads(event.arguments)))
        first = stream.get_final_completion()
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert named(message) == EXPECTED
    assert done == [(index, name, given) for index, (name, given) in enumerate(EXPECTED)]

    messages.append(message)
    messages += answers_to(message)
    with client.chat.completions.stream(model=model, messages=messages, tools=TOOLS) as stream:
        second = stream.get_final_completion()
    assert second.choices[0].message.content == "The tools answered: get_weather: fine; get_time: fine"
    check_loop(stack.seen(model), message, model)


@pytest.mark.parametrize("model", BOTH)
def test_tool_deltas_carry_what_openai_carries(client: OpenAI, stack: Stack, model: str) -> None:
    chunks = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": PARIS}], tools=TOOLS, stream=True
    )
    calls: dict[int, list[Any]] = {}
    for chunk in chunks:
        for delta in chunk.choices[0].delta.tool_calls or []:
            calls.setdefault(delta.index, []).append(delta)
    assert list(calls) == [0, 1]
    for index, (name, given) in enumerate(EXPECTED):
        opening, *rest = calls[index]
        assert opening.id
        assert (opening.type, opening.function.name) == ("function", name)
        # Repeated, an id or a name would be joined to itself by the SDK.
        assert all(delta.id is None and delta.function.name is None for delta in rest)
        assert len(rest) > 1
        arguments = "".join(delta.function.arguments for delta in calls[index])
        assert json.loads(arguments) == given


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("is_stream", [True, False])
def test_a_call_without_arguments_has_an_empty_object(
    client: OpenAI, stack: Stack, model: str, is_stream: bool
) -> None:
    tools: list[Any] = [{"type": "function", "function": {"name": "now"}}]
    request: Any = {"model": model, "messages": [{"role": "user", "content": "Now?"}], "tools": tools}
    if is_stream:
        with client.chat.completions.stream(**request) as stream:
            message: Any = stream.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.create(**request).choices[0].message
    assert [call.function.arguments for call in message.tool_calls] == ["{}"]


@pytest.mark.parametrize("model", BOTH)
def test_one_call_at_a_time(client: OpenAI, stack: Stack, model: str) -> None:
    completion = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": PARIS}],
        tools=TOOLS,
        parallel_tool_calls=False,
    )
    assert named(completion.choices[0].message) == EXPECTED[:1]
    if is_claude(model):
        assert stack.saw(model)["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize(
    ("choice", "upstream_choice", "called"),
    [
        ("none", {"type": "none"}, []),
        ("required", {"type": "any"}, ["get_weather"]),
        (
            {"type": "function", "function": {"name": "get_time"}},
            {"type": "tool", "name": "get_time"},
            ["get_time"],
        ),
    ],
)
def test_tool_choice(
    client: OpenAI, stack: Stack, model: str, choice: Any, upstream_choice: Any, called: list[str]
) -> None:
    completion = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "How is Paris?"}],
        tools=TOOLS,
        tool_choice=choice,
    )
    assert [name for name, _ in named(completion.choices[0].message)] == called
    assert stack.saw(model)["tool_choice"] == (upstream_choice if is_claude(model) else choice)


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("is_stream", [True, False])
def test_legacy_functions(client: OpenAI, stack: Stack, model: str, is_stream: bool) -> None:
    functions: list[Any] = [TOOLS[0]["function"]]
    messages: list[Any] = [{"role": "user", "content": "How is Paris?"}]
    if is_stream:
        arguments, name, finish = "", "", None
        for chunk in client.chat.completions.create(
            model=model, messages=messages, functions=functions, stream=True
        ):
            [choice] = chunk.choices
            finish = choice.finish_reason or finish
            if choice.delta.function_call:
                name += choice.delta.function_call.name or ""
                arguments += choice.delta.function_call.arguments or ""
    else:
        completion = client.chat.completions.create(model=model, messages=messages, functions=functions)
        call = completion.choices[0].message.function_call
        assert call
        assert completion.choices[0].message.tool_calls is None
        name, arguments, finish = call.name, call.arguments, completion.choices[0].finish_reason
    assert (name, json.loads(arguments), finish) == ("get_weather", {"city": "Paris"}, "function_call")

    messages += [
        {"role": "assistant", "content": None, "function_call": {"name": name, "arguments": arguments}},
        {"role": "function", "name": name, "content": "sunny"},
    ]
    completion = client.chat.completions.create(model=model, messages=messages, functions=functions)
    assert completion.choices[0].message.content == "The tools answered: sunny"
    if is_claude(model):
        _, assistant, result = stack.seen(model)[1]["messages"]
        [use], [answer] = assistant["content"], result["content"]
        assert use["id"] == answer["tool_use_id"]


def test_results_of_many_kinds_reach_claude(client: OpenAI, stack: Stack) -> None:
    messages: list[Any] = [
        {"role": "user", "content": "Look at Paris"},
        {
            "role": "assistant",
            "content": "I will look.",
            "tool_calls": [
                {
                    "id": f"call_{number}",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
                }
                for number in range(3)
            ],
        },
        {"role": "tool", "tool_call_id": "call_0", "content": "sunny"},
        {"role": "tool", "tool_call_id": "call_1", "content": ""},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "warm"}]},
        {"role": "user", "content": "So?"},
    ]
    completion = client.chat.completions.create(model=CLAUDE, messages=messages, tools=TOOLS)
    assert completion.choices[0].message.content == "The tools answered: sunny; ; warm"
    _, assistant, results = stack.saw(CLAUDE)["messages"]
    assert [block["type"] for block in assistant["content"]] == ["text"] + ["tool_use"] * 3
    assert [block["type"] for block in results["content"]] == ["tool_result"] * 3 + ["text"]
    assert [block["tool_use_id"] for block in results["content"][:3]] == ["call_0", "call_1", "call_2"]


def test_custom_tools_pass_to_openai(client: OpenAI, stack: Stack) -> None:
    tools: list[Any] = [{"type": "custom", "custom": {"name": "run", "description": "Runs a script."}}]
    completion = client.chat.completions.create(
        model=GPT, messages=[{"role": "user", "content": "Go"}], tools=tools
    )
    [call] = completion.choices[0].message.tool_calls or []
    assert call.type == "custom"
    assert stack.saw(GPT)["tools"] == tools


def test_custom_tools_work_with_claude(client: OpenAI, stack: Stack) -> None:
    tools: list[Any] = [{"type": "custom", "custom": {"name": "run", "description": "Runs a script."}}]
    messages: list[Any] = [{"role": "user", "content": "Go"}]
    completion = client.chat.completions.create(model=CLAUDE, messages=messages, tools=tools)
    message = completion.choices[0].message
    [call] = message.tool_calls or []
    assert call.type == "custom"
    assert call.custom.name == "run"
    assert isinstance(call.custom.input, str)
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "ran"}]
    completion = client.chat.completions.create(model=CLAUDE, messages=messages, tools=tools)
    assert completion.choices[0].message.content == "The tools answered: ran"


def test_custom_tools_cannot_stream_from_claude(client: OpenAI, stack: Stack) -> None:
    """The SDK knows no shape for their deltas, so that a clear refusal is better than a guess."""
    tools: list[Any] = [{"type": "custom", "custom": {"name": "run"}}]
    with pytest.raises(BadRequestError, match="custom tools cannot be streamed") as caught:
        client.chat.completions.create(
            model=CLAUDE, messages=[{"role": "user", "content": "Go"}], tools=tools, stream=True
        )
    assert caught.value.code == "unsupported_value"
    assert stack.upstream.requests == []
