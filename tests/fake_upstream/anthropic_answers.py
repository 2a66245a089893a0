"""Anthropic's side: messages, whole and as a stream, token counts, errors, and the headers around them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from tests.fake_upstream.anthropic_models import capabilities_of
from tests.fake_upstream.anthropic_rules import check_key, check_request
from tests.fake_upstream.behaviours import Rendered, frame
from tests.fake_upstream.imitation import (
    Prompt,
    ToolMode,
    count_tokens,
    cut_at_length,
    cut_at_stop,
    think,
    tokens_in,
)
from tests.fake_upstream.recorded import RecordedRequest
from tests.fake_upstream.rejection import Rejected
from tests.fake_upstream.settings import Settings
from tests.fake_upstream.signatures import Signatures, prefix_of

_SLICE = 7
# How a block looks in `content_block_start`, before its deltas.
_EMPTIED: dict[str, dict[str, Any]] = {
    "text": {"text": ""},
    "tool_use": {"input": {}},
    "thinking": {"thinking": "", "signature": ""},
}


class AnthropicApi:
    not_found = "not_found_error"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._signatures = Signatures()
        self._cached: set[str] = set()
        self._served = 0

    def serve(self, operation: str, request: RecordedRequest) -> Rendered:
        check_key(request, self._settings)
        if operation == "models":
            return self._json(200, _model_list())
        counting = operation == "messages/count_tokens"
        body = check_request(request, self._settings, self._signatures, counting=counting)
        self._served += 1
        if counting:
            return self._json(200, {"input_tokens": _input_tokens(body)})
        message = self._message(body)
        if body.get("stream"):
            headers = self._headers("text/event-stream; charset=utf-8")
            return Rendered(200, headers, tuple(frame(event) for event in _events(message)), "chunked")
        return self._json(200, message)

    def refuse(self, rejected: Rejected) -> Rendered:
        request_id = f"req_fake{self._served:06d}"
        error = {"type": rejected.type, "message": rejected.message}
        rendered = self._json(rejected.status, {"type": "error", "error": error, "request_id": request_id})
        # Seen on the real API's 400s, too.
        headers = (*rendered.headers, ("x-should-retry", "false"), *rejected.headers.items())
        return Rendered(rendered.status, headers, rendered.pieces)

    # --- the whole message ----------------------------------------------------------

    def _message(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = _prompt(body)
        thought = think(prompt)
        content = self._thinking_blocks(body, prompt, thought.reasoning)
        thinking_tokens = count_tokens(thought.reasoning) if content else 0
        stop_reason, stop_sequence, stop_details = "end_turn", None, None
        if thought.is_refusal:
            content, stop_reason = [], "refusal"
            stop_details = {
                "type": "refusal",
                "category": "general_harms",
                "explanation": "This was asked for.",
            }
        elif thought.calls:
            stop_reason = "tool_use"
            for number, (name, arguments) in enumerate(thought.calls):
                tool_id = f"toolu_01Fake{self._served:06d}{number}"
                content.append({"type": "tool_use", "id": tool_id, "name": name, "input": arguments})
        else:
            text, stop_sequence = cut_at_stop(thought.text, body.get("stop_sequences") or [])
            text, is_cut = cut_at_length(text, body["max_tokens"] - thinking_tokens)
            stop_reason = "max_tokens" if is_cut else "stop_sequence" if stop_sequence else "end_turn"
            stop_sequence = None if is_cut else stop_sequence
            if text:
                content.append({"type": "text", "text": text})
        visible = [block for block in content if block["type"] not in ("thinking", "redacted_thinking")]
        output_tokens = count_tokens([[block.get("text"), block.get("input")] for block in visible])
        return {
            "id": f"msg_01Fake{self._served:06d}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": stop_sequence,
            "stop_details": stop_details,
            "usage": self._usage(body, output_tokens + thinking_tokens + 1, thinking_tokens),
        }

    def _thinking_blocks(self, body: dict[str, Any], prompt: Prompt, reasoning: str) -> list[dict[str, Any]]:
        row = capabilities_of(body["model"])
        thinking = body.get("thinking") or {"type": "adaptive" if row.thinks_by_default else "disabled"}
        is_forced = prompt.tool_mode == "required" or prompt.forced_tool is not None
        if thinking["type"] in ("disabled", "between_tools") or is_forced:
            return []
        display = thinking.get("display") or ("summarized" if row.shows_thinking else "omitted")
        shown = reasoning if display == "summarized" else ""
        prefix, turn = prefix_of(body, body["messages"]), str(self._served)

        def sign(content: str, position: int) -> str:
            return self._signatures.issue(
                content, model=body["model"], prefix=prefix, turn=turn, position=position
            )

        blocks: list[dict[str, Any]] = [{"type": "thinking", "thinking": shown, "signature": sign(shown, 0)}]
        if "redacted" in prompt.user_text:
            blocks.append({"type": "redacted_thinking", "data": sign("", 1)})
        return blocks

    def _usage(self, body: dict[str, Any], output_tokens: int, thinking_tokens: int) -> dict[str, Any]:
        total = _input_tokens(body)
        created = read = long_lived = 0
        prefixes = list(_cached_prefixes(body))
        if prefixes:
            known = [size for key, size, _ in prefixes if key in self._cached]
            read = max(known, default=0)
            largest = max(size for _, size, _ in prefixes)
            created = max(0, largest - read)
            long_lived = created if prefixes[-1][2] == "1h" else 0
            self._cached |= {key for key, _, _ in prefixes}
        usage: dict[str, Any] = {
            "input_tokens": total - created - read,
            "cache_creation_input_tokens": created,
            "cache_read_input_tokens": read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": created - long_lived,
                "ephemeral_1h_input_tokens": long_lived,
            },
            "output_tokens": output_tokens,
            "service_tier": "standard",
            "inference_geo": "not_available",
        }
        if thinking_tokens:
            usage["output_tokens_details"] = {"thinking_tokens": thinking_tokens}
        return usage

    # --- around the bodies ----------------------------------------------------------

    def _json(self, status: int, body: dict[str, Any]) -> Rendered:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        return Rendered(status, self._headers("application/json"), (text,))

    def _headers(self, content_type: str) -> tuple[tuple[str, str], ...]:
        return (
            ("content-type", content_type),
            ("request-id", f"req_fake{self._served:06d}"),
            ("anthropic-organization-id", "00000000-0000-4000-8000-0000000000aa"),
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-requests-reset", "2026-01-02T03:04:05Z"),
            ("anthropic-ratelimit-tokens-limit", "400000"),
            ("anthropic-ratelimit-tokens-remaining", "399000"),
            ("anthropic-ratelimit-tokens-reset", "2026-01-02T03:04:05Z"),
            ("set-cookie", "_cfuvid=fake; path=/; HttpOnly"),
            ("server", "cloudflare"),
            ("cf-ray", "fake-TXL"),
        )


def _prompt(body: dict[str, Any]) -> Prompt:
    last = body["messages"][-1]
    users = [_blocks(message) for message in body["messages"] if message["role"] == "user"]
    texts = ["".join(block["text"] for block in blocks if block["type"] == "text") for blocks in users]
    results = [_result_text(block) for block in users[-1] if block["type"] == "tool_result"]
    mode, forced = _tool_choice(body)
    output_format = (body.get("output_config") or {}).get("format") or {}
    tools = [
        (tool["name"], tool["input_schema"]) for tool in body.get("tools") or [] if "input_schema" in tool
    ]
    return Prompt(
        user_text=next((text for text in reversed(texts) if text), ""),
        attachments=tuple(
            block["type"] for block in users[-1] if block["type"] not in ("text", "tool_result")
        ),
        tools=tuple(tools),
        tool_mode=mode,
        forced_tool=forced,
        may_call_in_parallel=not (body.get("tool_choice") or {}).get("disable_parallel_tool_use"),
        tool_results=tuple(results) or None,
        answer_schema=output_format.get("schema"),
        prefill=_texts(_blocks(last)) if last["role"] == "assistant" else "",
    )


def _tool_choice(body: dict[str, Any]) -> tuple[ToolMode, str | None]:
    choice = body.get("tool_choice") or {"type": "auto"}
    match choice["type"]:
        case "any":
            return "required", None
        case "tool":
            return "auto", choice["name"]
        case "none":
            return "none", None
    return "auto", None


def _events(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    usage = message["usage"]
    opening = {key: value for key, value in usage.items() if key != "output_tokens_details"}
    start = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}
    yield {"type": "message_start", "message": {**start, "usage": {**opening, "output_tokens": 1}}}
    for index, block in enumerate(message["content"]):
        deltas = list(_deltas(block))
        yield {
            "type": "content_block_start",
            "index": index,
            "content_block": {**block, **_EMPTIED.get(block["type"], {})},
        }
        if index == 0:
            yield {"type": "ping"}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    counts = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    final = {name: usage[name] for name in (*counts, "output_tokens_details") if name in usage}
    stop = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield {"type": "message_delta", "delta": stop, "usage": final}
    yield {"type": "message_stop"}


def _deltas(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "text":
            for token in tokens_in(block["text"]):
                yield {"type": "text_delta", "text": token}
        case "thinking":
            for token in tokens_in(block["thinking"]):
                yield {"type": "thinking_delta", "thinking": token}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "tool_use":
            yield {"type": "input_json_delta", "partial_json": ""}
            text = json.dumps(block["input"], ensure_ascii=False)
            for place in range(0, len(text) if block["input"] else 0, _SLICE):
                yield {"type": "input_json_delta", "partial_json": text[place : place + _SLICE]}


def _cached_prefixes(body: dict[str, Any]) -> Iterator[tuple[str, int, str]]:
    """For each cache mark: a key of all that stands up to it, its tokens, its lifetime."""
    system = body.get("system") or []
    items: list[Any] = [*(body.get("tools") or []), *([system] if isinstance(system, str) else system)]
    for message in body["messages"]:
        items += _blocks(message)
    digest, size = hashlib.sha256(body["model"].encode()), 0
    marked = {index: item["cache_control"] for index, item in enumerate(items) if _is_marked(item)}
    if body.get("cache_control"):
        marked[len(items) - 1] = body["cache_control"]
    for index, item in enumerate(items):
        bare = (
            {key: value for key, value in item.items() if key != "cache_control"}
            if isinstance(item, dict)
            else item
        )
        digest.update(json.dumps(bare, sort_keys=True).encode())
        size += _tokens_of(item)
        if index in marked:
            yield digest.hexdigest(), size, marked[index].get("ttl", "5m")


def _is_marked(item: Any) -> bool:
    return isinstance(item, dict) and bool(item.get("cache_control"))


def _input_tokens(body: dict[str, Any]) -> int:
    system = body.get("system") or []
    items: list[Any] = [*(body.get("tools") or []), *([system] if isinstance(system, str) else system)]
    for message in body["messages"]:
        items += _blocks(message)
    return sum(_tokens_of(item) for item in items)


def _tokens_of(item: Any) -> int:
    if isinstance(item, dict):
        item = [
            value
            for key, value in item.items()
            if key not in ("type", "cache_control", "source", "signature")
        ]
    return max(1, count_tokens(item))


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _texts(blocks: list[dict[str, Any]]) -> str:
    return "".join(block["text"] for block in blocks if block["type"] == "text")


def _result_text(block: dict[str, Any]) -> str:
    content = block.get("content", "")
    return content if isinstance(content, str) else _texts(content)


def _model_list() -> dict[str, Any]:
    models = [
        {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-02T03:04:05Z"}
        for name in ("claude-opus-4-5", "claude-sonnet-4-5")
    ]
    return {"data": models, "has_more": False, "first_id": models[0]["id"], "last_id": models[-1]["id"]}
