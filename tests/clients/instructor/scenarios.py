"""instructor: structured answers in the ways that it asks for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import instructor
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, Field, field_validator
from scenario_runner import API_KEY, BASE_URL, serve

QUESTION: Any = [{"role": "user", "content": "A trip to Rome"}]


class Stay(BaseModel):
    hotel: str
    nights: int = Field(ge=1)


class Visit(BaseModel):
    """A trip that somebody plans."""

    city: str
    kind: Literal["work", "leisure"]
    stays: list[Stay]


def client(mode: instructor.Mode) -> Any:
    own = OpenAI(api_key=API_KEY, base_url=BASE_URL, max_retries=0, timeout=20)
    return instructor.from_openai(own, mode=mode)


def _asked(model: str, mode: instructor.Mode) -> Any:
    visit, completion = client(mode).create_with_completion(
        model=model, messages=QUESTION, response_model=Visit, max_retries=1
    )
    return {"visit": visit.model_dump(), "finish": completion.choices[0].finish_reason}


def tools(model: str) -> Any:
    return _asked(model, instructor.Mode.TOOLS)


def tools_strict(model: str) -> Any:
    return _asked(model, instructor.Mode.TOOLS_STRICT)


def json_schema(model: str) -> Any:
    return _asked(model, instructor.Mode.JSON_SCHEMA)


def json_mode(model: str) -> Any:
    return _asked(model, instructor.Mode.JSON)


def partial_stream(model: str) -> Any:
    """The growing values, as `create_partial` shows them."""
    stream = client(instructor.Mode.TOOLS).create_partial(
        model=model, messages=QUESTION, response_model=Visit
    )
    return [visit.model_dump() for visit in stream]


def iterable_stream(model: str) -> Any:
    stream = client(instructor.Mode.TOOLS).create_iterable(
        model=model, messages=QUESTION, response_model=Visit
    )
    return [visit.model_dump() for visit in stream]


def parallel_tools(model: str) -> Any:
    found = client(instructor.Mode.PARALLEL_TOOLS).create(
        model=model,
        messages=[{"role": "user", "content": "In parallel: a trip to Rome"}],
        response_model=Iterable[Visit | Stay],
    )
    return [[type(item).__name__, item.model_dump()] for item in found]


class Pedantic(BaseModel):
    """Refused once, so that instructor tells the model what was wrong and asks again."""

    city: str

    @field_validator("city")
    @classmethod
    def refuse_the_first(cls, city: str) -> str:
        refused.append(city)
        if len(refused) == 1:
            raise ValueError("write it in full")
        return city


refused: list[str] = []


def asked_again(model: str) -> Any:
    refused.clear()
    answer = client(instructor.Mode.TOOLS).create(
        model=model, messages=QUESTION, response_model=Pedantic, max_retries=2
    )
    return {"city": answer.city, "tries": len(refused)}


async def asynchronous(model: str) -> Any:
    async with AsyncOpenAI(api_key=API_KEY, base_url=BASE_URL, max_retries=0, timeout=20) as own:
        patched = instructor.from_openai(own, mode=instructor.Mode.TOOLS)
        visit = await patched.create(model=model, messages=QUESTION, response_model=Visit)
        return visit.model_dump()


if __name__ == "__main__":
    serve(
        "instructor",
        tools,
        tools_strict,
        json_schema,
        json_mode,
        partial_stream,
        iterable_stream,
        parallel_tools,
        asked_again,
        asynchronous,
    )
