"""Upstream replies that a test writes itself: a text, a tool call, a stream that stops short.

Only for what the fake upstream does not say by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.clients.stack import UPSTREAM_IDS, is_claude
from tests.fake_upstream import Behaviour, Events, Json, Stall, frame

_SLICE = 9
_TOKENS = {"input_tokens": 3, "output_tokens": 5}
_USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def says(model: str, text: str) -> Behaviour:
    """A whole reply of one text."""
    if is_claude(model):
        message = _claude_message(model, [{"type": "text", "text": text}])
        return Json(200, {**message, "stop_reason": "end_turn", "usage": _TOKENS})
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = {"id": "chatcmpl-S", "object": "chat.completion", "created": 1, "model": model}
    return Json(200, {**body, "choices": [choice], "usage": _USAGE})


def breaks_off(model: str, text: str, *last: dict[str, Any]) -> Behaviour:
    """A stream that says `text`, then `last`, and then nothing: neither finish nor terminal event.

    `last` comes a moment later. In one piece with the text, it would be known before
    anything went to the client, who then gets a plain error instead of a broken stream.
    """
    if is_claude(model):
        items: list[Any] = [*_claude_opening(model), *_claude_text(text)]
    else:
        items = [_chunk(model, {"role": "assistant", "content": ""})]
        items += [_chunk(model, {"content": text})] if text else []
    said = sum(len(frame(item)) for item in items)
    return Events([*items, *last]) + Stall(before=said, seconds=0.3)


def streams_call(model: str, name: str, arguments: dict[str, Any]) -> Behaviour:
    """A stream of one tool call, its arguments in slices."""
    slices = list(_sliced(json.dumps(arguments)))
    if is_claude(model):
        block = {"type": "tool_use", "id": "toolu_scripted", "name": name, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in slices]
        ending = {"stop_reason": "tool_use", "stop_sequence": None}
        return Events(
            [
                *_claude_opening(model),
                {"type": "content_block_start", "index": 0, "content_block": block},
                *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": ending, "usage": _TOKENS},
                {"type": "message_stop"},
            ]
        )
    function = {"name": name, "arguments": ""}
    opening = {"index": 0, "id": "call_scripted", "type": "function", "function": function}
    return Events(
        [
            _chunk(model, {"role": "assistant", "content": None, "tool_calls": [opening]}),
            *(
                _chunk(model, {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
                for piece in slices
            ),
            _chunk(model, {}, "tool_calls"),
            "[DONE]",
        ]
    )


def _claude_message(model: str, content: list[Any]) -> dict[str, Any]:
    return {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": UPSTREAM_IDS[model],
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
    }


def _claude_opening(model: str) -> list[dict[str, Any]]:
    return [{"type": "message_start", "message": {**_claude_message(model, []), "usage": _TOKENS}}]


def _claude_text(text: str) -> list[dict[str, Any]]:
    if not text:
        return []
    return [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
    ]


def _chunk(model: str, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    envelope = {"id": "chatcmpl-S", "object": "chat.completion.chunk", "created": 1, "model": model}
    return {**envelope, "choices": [choice]}


def _sliced(text: str) -> Iterator[str]:
    for start in range(0, len(text), _SLICE):
        yield text[start : start + _SLICE]
