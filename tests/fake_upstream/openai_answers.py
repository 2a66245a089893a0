"""OpenAI's side: chat completions, whole and as a stream, errors, and the headers around them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.fake_upstream.behaviours import Rendered, frame
from tests.fake_upstream.imitation import (
    Prompt,
    Thought,
    ToolMode,
    count_tokens,
    cut_at_length,
    cut_at_stop,
    think,
    tokens_in,
)
from tests.fake_upstream.openai_rules import check_key, check_request, is_reasoning_model
from tests.fake_upstream.recorded import RecordedRequest
from tests.fake_upstream.rejection import Rejected
from tests.fake_upstream.settings import Settings

_SLICE = 7
"""Characters of tool arguments per chunk: small enough to cut through words and escapes."""


class OpenAIApi:
    not_found = "invalid_request_error"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._served = 0

    def serve(self, operation: str, request: RecordedRequest) -> Rendered:
        check_key(request, self._settings)
        if operation == "models":
            return self._json(
                200, {"object": "list", "data": [self._model("gpt-4o"), self._model("gpt-4o-mini")]}
            )
        body = check_request(request, self._settings)
        self._served += 1
        completion = self._completion(body)
        if body.get("stream"):
            return self._stream(body, completion)
        return self._json(200, completion)

    def refuse(self, rejected: Rejected) -> Rendered:
        error = {
            "message": rejected.message,
            "type": rejected.type,
            "param": rejected.param,
            "code": rejected.code,
        }
        rendered = self._json(rejected.status, {"error": error})
        return Rendered(rendered.status, (*rendered.headers, *rejected.headers.items()), rendered.pieces)

    # --- the whole completion -------------------------------------------------------

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        thought = think(_prompt(body))
        reasoning_tokens = self._reasoning_tokens(body)
        choices = [
            self._choice(body, thought, index, reasoning_tokens) for index in range(body.get("n") or 1)
        ]
        prompt_tokens = count_tokens(body["messages"]) + count_tokens(body.get("tools"))
        completion_tokens = sum(_message_tokens(choice["message"]) for choice in choices)
        completion_tokens += reasoning_tokens * len(choices)
        return {
            "id": f"chatcmpl-Fake{self._served:06d}",
            "object": "chat.completion",
            "created": self._settings.created,
            "model": body["model"],
            "choices": choices,
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": reasoning_tokens * len(choices),
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
            "service_tier": "default",
            "system_fingerprint": "fp_fake",
        }

    def _choice(self, body: dict[str, Any], thought: Thought, index: int, reasoning: int) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        finish = "stop"
        if thought.is_refusal:
            message["refusal"] = "I'm sorry, I can't help with that."
        elif thought.calls:
            finish = self._add_calls(body, message, thought, index)
        else:
            stops = body.get("stop") or []
            text, _ = cut_at_stop(thought.text, [stops] if isinstance(stops, str) else stops)
            limit = body.get("max_completion_tokens") or body.get("max_tokens")
            if limit:
                text, is_cut = cut_at_length(text, limit - reasoning)
                finish = "length" if is_cut else "stop"
            message["content"] = text
        message["annotations"] = []
        return {
            "index": index,
            "message": message,
            "logprobs": _logprobs(message["content"]) if body.get("logprobs") else None,
            "finish_reason": finish,
        }

    def _add_calls(self, body: dict[str, Any], message: dict[str, Any], thought: Thought, index: int) -> str:
        if body.get("functions"):
            name, arguments = thought.calls[0]
            message["function_call"] = {"name": name, "arguments": json.dumps(arguments)}
            return "function_call"
        custom = {tool["custom"]["name"] for tool in body.get("tools") or [] if tool.get("type") == "custom"}
        message["tool_calls"] = [
            _tool_call(f"call_Fake{self._served:06d}{index}{number}", name, arguments, name in custom)
            for number, (name, arguments) in enumerate(thought.calls)
        ]
        # A call that the client forced by name ends with "stop"; the model chose nothing.
        choice = body.get("tool_choice")
        is_named = isinstance(choice, dict) and choice.get("type") in ("function", "custom")
        return "stop" if is_named else "tool_calls"

    def _reasoning_tokens(self, body: dict[str, Any]) -> int:
        if not is_reasoning_model(body["model"]):
            return 0
        return {"none": 0, "minimal": 0, "low": 4, "medium": 8}.get(
            body.get("reasoning_effort") or "medium", 16
        )

    # --- the stream -----------------------------------------------------------------

    def _stream(self, body: dict[str, Any], completion: dict[str, Any]) -> Rendered:
        options = body.get("stream_options") or {}
        wants_usage = bool(options.get("include_usage"))
        envelope = {
            key: completion[key] for key in ("id", "created", "model", "service_tier", "system_fingerprint")
        }
        envelope["object"] = "chat.completion.chunk"
        pieces: list[bytes] = []
        for number, choice in enumerate(_chunk_choices(completion)):
            chunk = {**envelope, "choices": [choice]}
            if wants_usage:
                chunk["usage"] = None
            if options.get("include_obfuscation", True):
                chunk["obfuscation"] = "x" * (1 + number % 5)
            pieces.append(frame(chunk))
        if wants_usage:
            pieces.append(frame({**envelope, "choices": [], "usage": completion["usage"]}))
        pieces.append(frame("[DONE]"))
        headers = self._headers("text/event-stream; charset=utf-8")
        return Rendered(200, headers, tuple(pieces), "chunked")

    # --- around the bodies ----------------------------------------------------------

    def _json(self, status: int, body: dict[str, Any]) -> Rendered:
        text = json.dumps(body, ensure_ascii=False, indent=2).encode()
        return Rendered(status, self._headers("application/json"), (text,))

    def _headers(self, content_type: str) -> tuple[tuple[str, str], ...]:
        return (
            ("content-type", content_type),
            ("x-request-id", f"req_fake{self._served:06d}"),
            ("openai-organization", "org-of-the-operator"),
            ("openai-project", "proj_of_the_operator"),
            ("openai-processing-ms", "12"),
            ("openai-version", "2020-10-01"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-reset-requests", "6ms"),
            ("set-cookie", "__cf_bm=fake; path=/; HttpOnly"),
            ("server", "cloudflare"),
            ("cf-ray", "fake-TXL"),
        )

    def _model(self, model: str) -> dict[str, Any]:
        return {"id": model, "object": "model", "created": self._settings.created, "owned_by": "openai"}


def _prompt(body: dict[str, Any]) -> Prompt:
    messages = body["messages"]
    users = [message for message in messages if message["role"] == "user"]
    content = users[-1].get("content") if users else ""
    attachments = () if isinstance(content, str) else tuple(p["type"] for p in content if p["type"] != "text")
    results: list[str] = []
    for message in reversed(messages):
        if message["role"] not in ("tool", "function"):
            break
        results.insert(0, _text_of(message.get("content")))
    mode, forced, allowed = _tool_choice(body)
    response_format = body.get("response_format") or {}
    return Prompt(
        user_text=_text_of(content),
        attachments=attachments,
        tools=tuple(tool for tool in _tools(body) if allowed is None or tool[0] in allowed),
        tool_mode=mode,
        forced_tool=forced,
        may_call_in_parallel=body.get("parallel_tool_calls") is not False and not body.get("functions"),
        tool_results=tuple(results) or None,
        answer_schema=(response_format.get("json_schema") or {}).get("schema"),
        wants_json=response_format.get("type") == "json_object",
    )


def _tools(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for tool in body.get("tools") or []:
        if tool["type"] == "custom":
            yield tool["custom"]["name"], {"type": "string"}
        else:
            yield tool["function"]["name"], tool["function"].get("parameters") or {"type": "object"}
    for function in body.get("functions") or []:
        yield function["name"], function.get("parameters") or {"type": "object"}


def _tool_choice(body: dict[str, Any]) -> tuple[ToolMode, str | None, set[str] | None]:
    choice: Any = body.get("tool_choice") or body.get("function_call") or "auto"
    match choice:
        case "auto" | "none" | "required":
            return choice, None, None
        case {"allowed_tools": dict(allowed)}:
            return allowed["mode"], None, {tool[tool["type"]]["name"] for tool in allowed["tools"]}
        case {"function": {"name": name}} | {"custom": {"name": name}} | {"name": name}:
            return "auto", name, None
    raise AssertionError(f"the rules let this tool_choice pass: {choice!r}")


def _tool_call(call_id: str, name: str, arguments: Any, is_custom: bool) -> dict[str, Any]:
    if is_custom:
        return {"id": call_id, "type": "custom", "custom": {"name": name, "input": arguments}}
    text = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


def _chunk_choices(completion: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for choice in completion["choices"]:
        index, logprobs = choice["index"], choice["logprobs"]
        for delta in _deltas(choice["message"]):
            probabilities = None
            if logprobs and delta.get("content"):
                probabilities = {"content": [logprobs["content"].pop(0)], "refusal": None}
            yield {"index": index, "delta": delta, "logprobs": probabilities, "finish_reason": None}
        yield {"index": index, "delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}


def _deltas(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    opening: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
    if "tool_calls" in message or "function_call" in message:
        opening["content"] = None
    if "function_call" in message:
        call = message["function_call"]
        yield {**opening, "function_call": {"name": call["name"], "arguments": ""}}
        for part in _sliced(call["arguments"]):
            yield {"function_call": {"arguments": part}}
        return
    if "tool_calls" in message:
        for index, call in enumerate(message["tool_calls"]):
            kind = call["type"]
            field = "input" if kind == "custom" else "arguments"
            start = {
                "index": index,
                "id": call["id"],
                "type": kind,
                kind: {"name": call[kind]["name"], field: ""},
            }
            yield {**(opening if index == 0 else {}), "tool_calls": [start]}
            for part in _sliced(call[kind][field]):
                yield {"tool_calls": [{"index": index, kind: {field: part}}]}
        return
    yield opening
    for token in tokens_in(message["content"] or ""):
        yield {"content": token}
    for token in tokens_in(message["refusal"] or ""):
        yield {"refusal": token}


def _logprobs(content: str | None) -> dict[str, Any]:
    tokens = [
        {"token": token, "logprob": -0.25, "bytes": list(token.encode()), "top_logprobs": []}
        for token in tokens_in(content or "")
    ]
    return {"content": tokens, "refusal": None}


def _message_tokens(message: dict[str, Any]) -> int:
    calls = [*message.get("tool_calls", []), message.get("function_call")]
    return count_tokens(message["content"]) + count_tokens(message["refusal"]) + count_tokens(calls)


def _sliced(text: str) -> list[str]:
    return [text[start : start + _SLICE] for start in range(0, len(text), _SLICE)]


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or [] if part["type"] == "text")
