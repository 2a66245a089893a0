"""What the pretended model says: one deterministic mind behind both wire formats.

It echoes the user, calls a tool when it has one and has no tool results yet, then tells
what the tools answered, and fills JSON schemas. Words in the last user text steer it:
"parallel" calls every tool at once; "redacted" (Claude) adds a redacted thinking block;
"refuse" makes it refuse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.fake_upstream.schema_instances import make_instance

ToolMode = Literal["auto", "none", "required"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The part of a request that the answer depends on."""

    user_text: str
    attachments: tuple[str, ...] = ()
    tools: tuple[tuple[str, Any], ...] = ()
    """Names and argument schemas."""
    tool_mode: ToolMode = "auto"
    forced_tool: str | None = None
    may_call_in_parallel: bool = True
    tool_results: tuple[str, ...] | None = None
    """Texts of the results that end the conversation; None when it ends otherwise."""
    answer_schema: Any = None
    wants_json: bool = False
    prefill: str = ""


@dataclass(frozen=True, slots=True)
class Thought:
    """What the model came up with."""

    text: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    reasoning: str = ""
    is_refusal: bool = False


def think(prompt: Prompt) -> Thought:
    reasoning = f"The user wrote {_shortened(prompt.user_text)!r}; an answer follows."
    if re.search(r"\brefuse\b", prompt.user_text):
        return Thought(is_refusal=True, reasoning=reasoning)
    calls = _calls(prompt)
    if calls:
        return Thought(calls=calls, reasoning=reasoning)
    return Thought(text=_text(prompt), reasoning=reasoning)


def _calls(prompt: Prompt) -> tuple[tuple[str, Any], ...]:
    if not prompt.tools or prompt.tool_mode == "none":
        return ()
    is_forced = prompt.tool_mode == "required" or prompt.forced_tool is not None
    if prompt.tool_results is not None and not is_forced:
        return ()
    tools = [tool for tool in prompt.tools if prompt.forced_tool in (None, tool[0])]
    if not (prompt.may_call_in_parallel and "parallel" in prompt.user_text):
        tools = tools[:1]
    words = _names_in(prompt.user_text)
    return tuple((name, make_instance(schema, words)) for name, schema in tools)


def _text(prompt: Prompt) -> str:
    if prompt.answer_schema is not None:
        return _json(make_instance(prompt.answer_schema, _names_in(prompt.user_text)))
    if prompt.wants_json:
        return _json({"answer": prompt.user_text})
    if prompt.tool_results is not None:
        return "The tools answered: " + "; ".join(prompt.tool_results)
    if prompt.prefill:
        return f" and so on, after {len(prompt.prefill)} characters."
    seen = f" (with {', '.join(prompt.attachments)})" if prompt.attachments else ""
    return f"You said: {prompt.user_text}{seen}"


def _names_in(text: str) -> tuple[str, ...]:
    """Capitalised words past the first: likely what a string argument is about."""
    return tuple(re.findall(r"(?<=[\w,;] )[A-Z]\w+", text))


def tokens_in(text: str) -> list[str]:
    """The pretended tokens: words with the space before them; joined they are the text."""
    return re.findall(r"\s*\S+|\s+$", text)


def count_tokens(value: Any) -> int:
    """Tokens of a text, or of all texts inside a JSON value; keys and punctuation are free."""
    if isinstance(value, str):
        return len(tokens_in(value))
    if isinstance(value, dict):
        return sum(count_tokens(item) for item in value.values())
    if isinstance(value, list | tuple):
        return sum(count_tokens(item) for item in value)
    return 0


def cut_at_stop(text: str, stops: Sequence[str]) -> tuple[str, str | None]:
    """The text up to the earliest stop sequence, and which one it was."""
    found = [(text.index(stop), stop) for stop in stops if stop and stop in text]
    if not found:
        return text, None
    place, stop = min(found)
    return text[:place], stop


def cut_at_length(text: str, limit: int) -> tuple[str, bool]:
    """The first `limit` tokens, and whether that was less than all."""
    tokens = tokens_in(text)
    if len(tokens) <= limit:
        return text, False
    return "".join(tokens[: max(0, limit)]), True


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
