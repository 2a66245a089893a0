"""pydantic-ai agents: loops that the library runs by itself."""

from __future__ import annotations

import asyncio
from typing import Any

from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.messages import ModelResponse, ThinkingPart, ToolCallPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from scenario_runner import API_KEY, BASE_URL, describe, serve

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6364"
    "60f85f0f0002870180eb47ba920000000049454e44ae426082"
)


class Visit(BaseModel):
    """A trip that somebody plans."""

    city: str
    days: int
    companions: list[str]


def agent(model: str, **settings: Any) -> Agent[None, Any]:
    own = AsyncOpenAI(api_key=API_KEY, base_url=BASE_URL, max_retries=0, timeout=20)
    chat = OpenAIChatModel(model, provider=OpenAIProvider(openai_client=own))
    return Agent(chat, **settings)


def agent_with_tools(model: str, **settings: Any) -> Agent[None, Any]:
    made = agent(model, **settings)

    @made.tool_plain
    def get_weather(city: str) -> str:
        """How the weather is in a city."""
        return f"{city}: sunny"

    @made.tool_plain
    def get_time(city: str, zone: str = "local") -> dict[str, str]:
        """What time it is in a city."""
        return {"city": city, "zone": zone, "time": "noon"}

    return made


def calls_in(messages: list[Any]) -> list[Any]:
    return [
        [part.tool_name, part.args_as_dict()]
        for message in messages
        if isinstance(message, ModelResponse)
        for part in message.parts
        if isinstance(part, ToolCallPart)
    ]


def thoughts_in(messages: list[Any]) -> list[str]:
    return [
        part.content
        for message in messages
        if isinstance(message, ModelResponse)
        for part in message.parts
        if isinstance(part, ThinkingPart)
    ]


async def chat(model: str) -> Any:
    made = agent(model, instructions="Be kind.", model_settings={"max_tokens": 64, "temperature": 0.2})
    result = await made.run("Hello there!")
    usage = result.usage
    return {"output": result.output, "input": usage.input_tokens, "produced": usage.output_tokens}


async def chat_stream(model: str) -> Any:
    async with agent(model).run_stream("Hello there!") as result:
        texts = [text async for text in result.stream_text(delta=True, debounce_by=None)]
        usage = result.usage
        return {"texts": texts, "input": usage.input_tokens, "produced": usage.output_tokens}


async def tool_loop(model: str) -> Any:
    result = await agent_with_tools(model).run("In parallel, please: how is Paris?")
    return {"output": result.output, "calls": calls_in(result.all_messages())}


async def tool_loop_stream(model: str) -> Any:
    async with agent_with_tools(model).run_stream("In parallel, please: how is Paris?") as result:
        output = await result.get_output()
        return {"output": output, "calls": calls_in(result.all_messages())}


async def no_arguments(model: str) -> Any:
    made = agent(model)

    @made.tool_plain
    def look_around() -> str:
        """What there is to see."""
        return "a wall"

    async with made.run_stream("Where am I?") as result:
        output = await result.get_output()
        return {"output": output, "calls": calls_in(result.all_messages())}


async def conversation(model: str) -> Any:
    """A second run that carries the whole first one, tool calls and results included."""
    made = agent_with_tools(model)
    first = await made.run("In parallel, please: how is Paris?")
    second = await made.run("And Rome, in one word?", message_history=first.all_messages())
    return {"output": second.output, "calls": calls_in(second.new_messages())}


async def tool_output(model: str) -> Any:
    return await _structured(model, ToolOutput(Visit))


async def native_output(model: str) -> Any:
    return await _structured(model, NativeOutput(Visit))


async def native_output_behind_tools(model: str) -> Any:
    made = agent_with_tools(model, output_type=NativeOutput(Visit))
    result = await made.run("A trip to Rome")
    return {"output": result.output.model_dump(), "calls": calls_in(result.all_messages())}


async def prompted_output(model: str) -> Any:
    return await _structured(model, PromptedOutput(Visit))


async def tool_output_stream(model: str) -> Any:
    async with agent(model, output_type=ToolOutput(Visit)).run_stream("A trip to Rome") as result:
        return (await result.get_output()).model_dump()


async def _structured(model: str, output_type: Any) -> Any:
    result = await agent(model, output_type=output_type).run("A trip to Rome")
    return result.output.model_dump()


async def image(model: str) -> Any:
    result = await agent(model).run(["What is it?", BinaryContent(PIXEL, media_type="image/png")])
    return result.output


async def reasoning_loop(model: str) -> Any:
    made = agent_with_tools(model, model_settings={"openai_reasoning_effort": "low"})
    result = await made.run("How is the weather in Paris?")
    return {"output": result.output, "thoughts": thoughts_in(result.all_messages())}


async def reasoning_stream(model: str) -> Any:
    made = agent_with_tools(model, model_settings={"openai_reasoning_effort": "low"})
    async with made.run_stream("How is the weather in Paris?") as result:
        output = await result.get_output()
        return {"output": output, "thoughts": thoughts_in(result.all_messages())}


async def broken_stream(model: str) -> Any:
    seen = ""
    try:
        async with agent(model).run_stream("Hello there!") as result:
            async for text in result.stream_text(delta=True, debounce_by=None):
                seen += text
    except Exception as error:
        return {"content": seen, "error": describe(error)}
    return {"content": seen, "error": None}


async def at_once(model: str) -> Any:
    made = agent(model)
    results = await asyncio.gather(*(made.run(f"Hello number {number}!") for number in range(8)))
    return [result.output for result in results]


if __name__ == "__main__":
    serve(
        "pydantic-ai-slim",
        chat,
        chat_stream,
        tool_loop,
        tool_loop_stream,
        no_arguments,
        conversation,
        tool_output,
        native_output,
        native_output_behind_tools,
        prompted_output,
        tool_output_stream,
        image,
        reasoning_loop,
        reasoning_stream,
        broken_stream,
        at_once,
    )
