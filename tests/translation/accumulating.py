"""Adds chunks up to the completion that a client would build from them, with none of our own code."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]


def accumulate(chunks: list[Any], *, drops_refused_calls: bool = False) -> JsonObject:
    """The completion in the key order that ours has, after checks that hold for every stream.

    `drops_refused_calls`: a stream has sent its tool calls before the refusal came; a
    whole completion never shows them.
    """
    assert chunks[-1] == "[DONE]"
    assert chunks.count("[DONE]") == 1
    *chunks, last = chunks[:-1]
    usage = last.get("usage") if last["choices"] == [] else None
    if last["choices"]:
        chunks.append(last)
    message: JsonObject = {}
    finish: str | None = None
    for number, chunk in enumerate(chunks):
        assert chunk["id"] == chunks[0]["id"]
        assert finish is None, "nothing follows the finish reason"
        (choice,) = chunk["choices"]
        delta = dict(choice["delta"])
        assert ("role" in delta) == (number == 0)
        finish = choice["finish_reason"]
        _add(message, delta)
    assert finish is not None
    calls = message.pop("tool_calls", None)
    if not message["content"] and (calls or finish == "content_filter" or message["refusal"]):
        message["content"] = None
    if drops_refused_calls and finish == "content_filter":
        calls = None
    if calls:
        message["tool_calls"] = calls
    completion: JsonObject = {
        "id": chunks[0]["id"],
        "object": "chat.completion",
        "created": chunks[0]["created"],
        "model": chunks[0]["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
    }
    if usage is not None:
        completion["usage"] = usage
    if "service_tier" in last:
        completion["service_tier"] = last["service_tier"]
    return completion


def _add(message: JsonObject, delta: JsonObject) -> None:
    for key, value in delta.items():
        if key == "tool_calls":
            _add_call(message.setdefault("tool_calls", []), value)
        elif key == "thinking_blocks":
            blocks = message.setdefault("thinking_blocks", [])
            for block in value:
                block = dict(block)
                assert block.pop("index") == len(blocks)
                blocks.append(block)
        elif isinstance(value, str) and message.get(key) is not None and key != "role":
            message[key] += value
        else:
            message[key] = value


def _add_call(calls: list[JsonObject], deltas: list[JsonObject]) -> None:
    (delta,) = deltas
    if "id" in delta:
        assert delta["index"] == len(calls)
        calls.append({"id": delta["id"], "type": delta["type"], "function": dict(delta["function"])})
    else:
        assert delta.keys() == {"index", "function"}
        calls[delta["index"]]["function"]["arguments"] += delta["function"]["arguments"]
