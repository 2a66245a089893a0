"""LangChain's ChatOpenAI with a base URL of its own, as its agents use it."""

from __future__ import annotations

import base64
from typing import Any

from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field, SecretStr
from scenario_runner import API_KEY, BASE_URL, describe, serve

# One transparent pixel.
PIXEL = base64.b64encode(
    base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
    )
).decode()


def chat_model(model: str, **settings: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model=model, base_url=BASE_URL, api_key=SecretStr(API_KEY), max_retries=0, timeout=20, **settings
    )


@tool
def get_weather(city: str) -> str:
    """How the weather is in a city."""
    return f"{city}: sunny"


@tool
def get_time(city: str, zone: str = "local") -> str:
    """What time it is in a city."""
    return f"{city}: noon, {zone}"


@tool
def look_around() -> str:
    """What there is to see."""
    return "a wall"


TOOLS = {"get_weather": get_weather, "get_time": get_time}


class Visit(BaseModel):
    """A trip that somebody plans."""

    city: str = Field(description="Where to")
    days: int
    companions: list[str]


def chat(model: str) -> Any:
    reply = chat_model(model, temperature=0.3, max_tokens=64, stop=["never"]).invoke(
        [SystemMessage("Be kind."), HumanMessage("Hello there!")]
    )
    return {
        "content": reply.content,
        "usage": reply.usage_metadata,
        "finish": reply.response_metadata["finish_reason"],
        "model": reply.response_metadata["model_name"],
        "id": reply.response_metadata["id"],
    }


def chat_stream(model: str) -> Any:
    return _streamed(chat_model(model))


def chat_stream_usage(model: str) -> Any:
    return _streamed(chat_model(model, stream_usage=True))


def _streamed(chat: ChatOpenAI) -> Any:
    whole: Any = None
    texts = 0
    for chunk in chat.stream("Hello there!"):
        texts += bool(chunk.content)
        whole = chunk if whole is None else whole + chunk
    assert isinstance(whole, AIMessageChunk)
    return {
        "content": whole.content,
        "texts": texts,
        "usage": whole.usage_metadata,
        "finish": whole.response_metadata["finish_reason"],
    }


def tool_loop(model: str) -> Any:
    chat = chat_model(model).bind_tools(list(TOOLS.values()))
    messages: list[Any] = [HumanMessage("In parallel, please: how is Paris?")]
    first = chat.invoke(messages)
    messages.append(first)
    messages += [TOOLS[call["name"]].invoke(call) for call in first.tool_calls]
    second = chat.invoke(messages)
    return {
        "calls": [[call["id"], call["name"], call["args"]] for call in first.tool_calls],
        "invalid": first.invalid_tool_calls,
        "finish": first.response_metadata["finish_reason"],
        "content": second.content,
    }


def tool_loop_stream(model: str) -> Any:
    chat = chat_model(model).bind_tools(list(TOOLS.values()), parallel_tool_calls=True)
    messages: list[Any] = [HumanMessage("In parallel, please: how is Paris?")]
    first: Any = None
    for chunk in chat.stream(messages):
        first = chunk if first is None else first + chunk
    messages.append(first)
    messages += [
        ToolMessage(TOOLS[call["name"]].invoke(call["args"]), tool_call_id=call["id"])
        for call in first.tool_calls
    ]
    second = "".join(str(chunk.content) for chunk in chat.stream(messages))
    return {
        "calls": [[call["id"], call["name"], call["args"]] for call in first.tool_calls],
        "invalid": first.invalid_tool_calls,
        "content": second,
    }


def no_arguments(model: str) -> Any:
    first: Any = None
    for chunk in chat_model(model).bind_tools([look_around]).stream("Where am I?"):
        first = chunk if first is None else first + chunk
    return {
        "calls": [[call["name"], call["args"]] for call in first.tool_calls],
        "invalid": first.invalid_tool_calls,
    }


def forced_tool(model: str) -> Any:
    reply = chat_model(model).bind_tools([get_weather, get_time], tool_choice="get_time").invoke("Paris")
    return [call["name"] for call in reply.tool_calls]


def structured_json_schema(model: str) -> Any:
    return _structured(model, "json_schema")


def structured_function_calling(model: str) -> Any:
    return _structured(model, "function_calling")


def _structured(model: str, method: Any) -> Any:
    visit = chat_model(model).with_structured_output(Visit, method=method).invoke("A trip to Rome")
    assert isinstance(visit, Visit)
    return visit.model_dump()


def structured_json_mode(model: str) -> Any:
    return chat_model(model).with_structured_output(method="json_mode").invoke("Answer in JSON: hello")


async def asynchronous(model: str) -> Any:
    chat = chat_model(model)
    return "".join([str(chunk.content) async for chunk in chat.astream("Hello there!")])


def image(model: str) -> Any:
    part = {"type": "image", "base64": PIXEL, "mime_type": "image/png"}
    return chat_model(model).invoke([HumanMessage([{"type": "text", "text": "What is it?"}, part])]).content


def reasoning_loop(model: str) -> Any:
    chat = chat_model(model, reasoning_effort="low").bind_tools([get_weather])
    messages: list[Any] = [HumanMessage("How is the weather in Paris?")]
    first = chat.invoke(messages)
    messages += [first, *(get_weather.invoke(call) for call in first.tool_calls)]
    second = chat.invoke(messages)
    return {"content": second.content, "usage": first.usage_metadata}


def broken_stream(model: str) -> Any:
    seen = ""
    try:
        for chunk in chat_model(model).stream("Hello there!"):
            seen += str(chunk.content)
    except Exception as error:
        return {"content": seen, "error": describe(error)}
    return {"content": seen, "error": None}


if __name__ == "__main__":
    serve(
        "langchain-openai",
        chat,
        chat_stream,
        chat_stream_usage,
        tool_loop,
        tool_loop_stream,
        no_arguments,
        forced_tool,
        structured_json_schema,
        structured_function_calling,
        structured_json_mode,
        asynchronous,
        image,
        reasoning_loop,
        broken_stream,
    )
