"""The built-in demo upstream: answers without network, key or model, always the same way.

It speaks OpenAI's wire format behind the transport's interface, so that a demo request
takes the same way through the code as a real one. It echoes what it was told, calls the
first tool that it is given, and fills a JSON schema it is asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from api.services.translation.json_text import dump_json, load_json
from api.services.wire import Take, Timeouts, WireRequest, WireResponse, pour_pieces

_STORY = (
    "Once upon a time a patch bay stood between many voices and many ears. "
    "Each evening somebody moved one cable, and everybody kept talking. "
    "Set OPENAI_API_KEY or ANTHROPIC_API_KEY to plug in a real model."
)
_PIECE_SECONDS = 0.01
_MAX_ECHO = 400


class DemoTransport:
    """Answers every request itself."""

    async def send(
        self, request: WireRequest, timeouts: Timeouts, seconds: float | None = None
    ) -> WireResponse:
        body = load_json(request.body)
        digest = hashlib.sha256(request.body).hexdigest()[:24]
        envelope = {"id": f"chatcmpl-demo{digest}", "created": int(time.time()), "model": body.get("model")}
        message, finish = _compose(body)
        usage = _count(body, message)
        if body.get("stream"):
            asks_usage = bool((body.get("stream_options") or {}).get("include_usage"))
            frames = _frames(envelope, message, finish, usage if asks_usage else None)
            return _DemoResponse("text/event-stream", list(frames))
        reply = envelope | {
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
            "usage": usage,
        }
        return _DemoResponse("application/json", [dump_json(reply)])

    async def close(self) -> None:
        return None


class _DemoResponse:
    """A WireResponse whose pieces are known from the start."""

    def __init__(self, content_type: str, pieces: list[bytes]) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {"content-type": content_type}
        self._pieces = pieces
        self._next = 0

    def take_whole(self, limit: int) -> bytes:
        self._next = len(self._pieces)
        return b"".join(self._pieces)

    async def read(self, limit: int, seconds: float | None = None) -> bytes:
        return self.take_whole(limit)

    async def pour(self, take: Take, seconds: float | None) -> bool:
        return await pour_pieces(self.read_piece, take, seconds)

    async def read_piece(self, seconds: float | None) -> bytes:
        if self._next >= len(self._pieces):
            return b""
        if self._next:
            # Slow enough for a person to see that it streams.
            await asyncio.sleep(_PIECE_SECONDS)
        self._next += 1
        return self._pieces[self._next - 1]

    async def close(self) -> None:
        return None


def _compose(body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    messages = [m for m in body.get("messages") or [] if isinstance(m, dict)]
    last = messages[-1] if messages else {}
    said = _text_of(next((m for m in reversed(messages) if m.get("role") == "user"), {}))
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if last.get("role") in {"tool", "function"}:
        return message | {"content": f"The tool answered: {_text_of(last)[:_MAX_ECHO]}"}, "stop"
    function = _chosen_function(body)
    if function is not None:
        parameters = function.get("parameters")
        arguments = _instance(parameters if isinstance(parameters, dict) else {}, said)
        digest = hashlib.sha256(dump_json([function.get("name"), arguments])).hexdigest()[:16]
        call = {
            "id": f"call_demo{digest}",
            "type": "function",
            "function": {"name": function.get("name"), "arguments": dump_json(arguments).decode()},
        }
        return message | {"tool_calls": [call]}, "tool_calls"
    response_format = body.get("response_format")
    if isinstance(response_format, dict) and response_format.get("type") in {"json_schema", "json_object"}:
        wanted = response_format.get("json_schema")
        schema = wanted.get("schema") if isinstance(wanted, dict) else None
        value = _instance(schema if isinstance(schema, dict) else {"type": "object"}, said)
        return message | {"content": dump_json(value).decode()}, "stop"
    echo = f"You said: {said[:_MAX_ECHO]}\n\n" if said else ""
    return message | {"content": echo + _STORY}, "stop"


def _chosen_function(body: dict[str, Any]) -> dict[str, Any] | None:
    choice = body.get("tool_choice")
    tools = body.get("tools")
    if choice == "none" or not isinstance(tools, list):
        return None
    functions = [t["function"] for t in tools if isinstance(t, dict) and isinstance(t.get("function"), dict)]
    if isinstance(choice, dict):
        named = (choice.get("function") or {}).get("name")
        functions = [f for f in functions if f.get("name") == named] or functions
    return functions[0] if functions else None


def _instance(schema: dict[str, Any], said: str, depth: int = 0) -> Any:
    """A value that fits the plain parts of `schema`: required properties, first choices."""
    if "const" in schema:
        return schema["const"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if kind == "object" or isinstance(schema.get("properties"), dict):
        properties = schema.get("properties")
        if not isinstance(properties, dict) or depth > 8:
            return {}
        required = schema.get("required")
        names = required if isinstance(required, list) else []
        return {
            name: _instance(properties[name], said, depth + 1)
            for name in names
            if isinstance(name, str) and isinstance(properties.get(name), dict)
        }
    if kind == "array":
        items = schema.get("items")
        return [_instance(items, said, depth + 1)] if isinstance(items, dict) and depth < 8 else []
    return {"integer": 1, "number": 1.5, "boolean": True, "null": None}.get(str(kind), _word_from(said))


def _word_from(said: str) -> str:
    """The last proper name in what the user said, which makes a plausible argument."""
    names = re.findall(r"(?<=[a-z,] )[A-Z][\w-]+", said)
    return names[-1] if names else "demo"


def _text_of(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(p["text"] for p in content if isinstance(p, dict) and isinstance(p.get("text"), str))
    return ""


def _count(body: dict[str, Any], message: dict[str, Any]) -> dict[str, int]:
    """Words stand in for tokens."""
    prompt = sum(len(_text_of(m).split()) for m in body.get("messages") or [] if isinstance(m, dict))
    calls = message.get("tool_calls") or []
    reply = len((message["content"] or "").split()) + 4 * len(calls)
    return {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply}


def _frames(
    envelope: dict[str, Any], message: dict[str, Any], finish: str, usage: dict[str, int] | None
) -> Iterator[bytes]:
    def frame(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = envelope | {"object": "chat.completion.chunk", "choices": [choice]}
        if usage is not None:
            chunk["usage"] = None
        return b"data: " + dump_json(chunk) + b"\n\n"

    yield frame({"role": "assistant", "content": None if message.get("tool_calls") else "", "refusal": None})
    for index, call in enumerate(message.get("tool_calls") or []):
        arguments: str = call["function"]["arguments"]
        yield frame(
            {"tool_calls": [{"index": index, **call, "function": call["function"] | {"arguments": ""}}]}
        )
        for start in range(0, len(arguments), 12):
            piece = arguments[start : start + 12]
            yield frame({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    for word in re.findall(r"\S+\s*", message["content"] or ""):
        yield frame({"content": word})
    yield frame({}, finish)
    if usage is not None:
        chunk = envelope | {"object": "chat.completion.chunk", "choices": [], "usage": usage}
        yield b"data: " + dump_json(chunk) + b"\n\n"
    yield b"data: [DONE]\n\n"
