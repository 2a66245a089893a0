"""openai-python 1.x: the calls of programs that never moved on."""

from __future__ import annotations

import json
from typing import Any

from openai import APIError, AsyncOpenAI, OpenAI
from pydantic import BaseModel
from scenario_runner import API_KEY, BASE_URL, describe, serve

client = OpenAI(api_key=API_KEY, base_url=BASE_URL, max_retries=0, timeout=20)


def tool(name: str, *arguments: str) -> Any:
    properties = {argument: {"type": "string"} for argument in arguments}
    parameters = {"type": "object", "properties": properties, "required": list(arguments)}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


TOOLS = [tool("get_weather", "city"), tool("get_time", "city", "zone")]


def answer(call: Any) -> Any:
    arguments = json.loads(call.function.arguments)
    return {
        "role": "tool",
        "tool_call_id": call.id,
        "content": f"{call.function.name} of {arguments['city']}: fine",
    }


def named_calls(message: Any) -> list[Any]:
    calls = message.tool_calls or []
    return [[call.id, call.function.name, json.loads(call.function.arguments)] for call in calls]


def chat(model: str) -> Any:
    completion = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hello there!"}], temperature=0.5, max_tokens=100
    )
    return {
        "completion": completion.model_dump(mode="json"),
        "request_id": completion._request_id,
    }


def chat_stream(model: str) -> Any:
    stream = client.chat.completions.create(
        model=model,
        messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello there!"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    return [chunk.model_dump(mode="json", exclude_unset=True) for chunk in stream]


def tool_loop(model: str) -> Any:
    messages: list[Any] = [{"role": "user", "content": "In parallel, please: how is Paris?"}]
    first = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    message = first.choices[0].message
    messages.append(message)
    messages += [answer(call) for call in message.tool_calls or []]
    second = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    return {
        "finish": first.choices[0].finish_reason,
        "calls": named_calls(message),
        "content": second.choices[0].message.content,
    }


def tool_loop_stream(model: str) -> Any:
    messages: list[Any] = [{"role": "user", "content": "In parallel, please: how is Paris?"}]
    done: list[Any] = []
    with client.chat.completions.stream(model=model, messages=messages, tools=TOOLS) as stream:
        for event in stream:
            if event.type == "tool_calls.function.arguments.done":
                done.append([event.index, event.name, json.loads(event.arguments)])
        first = stream.get_final_completion()
    message = first.choices[0].message
    messages.append(message.model_dump(exclude_none=True))
    messages += [answer(call) for call in message.tool_calls or []]
    deltas: list[str] = []
    with client.chat.completions.stream(model=model, messages=messages, tools=TOOLS) as stream:
        for event in stream:
            if event.type == "content.delta":
                deltas.append(event.delta)
        second = stream.get_final_completion()
    return {
        "finish": first.choices[0].finish_reason,
        "calls": named_calls(message),
        "done": done,
        "deltas": len(deltas),
        "content": second.choices[0].message.content,
        "joined": "".join(deltas),
    }


class Visit(BaseModel):
    city: str
    days: int
    companions: list[str]


def parse(model: str) -> Any:
    completion = client.chat.completions.parse(
        model=model, messages=[{"role": "user", "content": "A trip to Rome"}], response_format=Visit
    )
    parsed = completion.choices[0].message.parsed
    return parsed.model_dump() if parsed else None


def thinking_loop(model: str) -> Any:
    messages: list[Any] = [{"role": "user", "content": "How is the weather in Paris?"}]
    request: Any = {"model": model, "tools": TOOLS, "reasoning_effort": "low"}
    first = client.chat.completions.create(messages=messages, **request)
    message = first.choices[0].message
    messages += [message, *(answer(call) for call in message.tool_calls or [])]
    second = client.chat.completions.create(messages=messages, **request)
    return {
        "reasoning": (message.model_extra or {}).get("reasoning_content"),
        "blocks": (message.model_extra or {}).get("thinking_blocks"),
        "content": second.choices[0].message.content,
    }


async def asynchronous(model: str) -> Any:
    async with AsyncOpenAI(api_key=API_KEY, base_url=BASE_URL, max_retries=0, timeout=20) as own:
        stream = await own.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hello there!"}], stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


def broken_stream(model: str) -> Any:
    """The text that came and then how the stream ended."""
    seen: list[str] = []
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hello there!"}], stream=True
    )
    try:
        for chunk in stream:
            seen.append(chunk.choices[0].delta.content or "")
    except APIError as error:
        return {"content": "".join(seen), "error": describe(error)}
    return {"content": "".join(seen), "error": None}


def models(model: str) -> Any:
    return {
        "listed": [row.id for row in client.models.list()],
        "retrieved": client.models.retrieve(model).model_dump(),
    }


if __name__ == "__main__":
    serve(
        "openai",
        chat,
        chat_stream,
        tool_loop,
        tool_loop_stream,
        parse,
        thinking_loop,
        asynchronous,
        broken_stream,
        models,
    )
