"""Anthropic messages as hypothesis draws them, and as Anthropic would stream them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

JsonObject = dict[str, Any]

# Letters of every width, what JSON escapes, and what `str.splitlines` would split on.
texts = st.text(alphabet='aé😀"\\\n\r\u2028\u2029\x85\x0b {}:', max_size=12)
names = st.text(alphabet="abcXYZ_-019", min_size=1, max_size=8)
counts = st.none() | st.integers(0, 10**9)
# Few fractions: libraries spell the same small number as 6e-05 or 0.00006.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.sampled_from([0.5, -2.25, 3.0]) | texts,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(texts, children, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(texts, json_values, max_size=3)

_citations = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["web_search_result_location", "page_location"]),
        "url": texts,
        "title": st.none() | texts,
    }
)
_blocks = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("text"), "text": texts},
        optional={"citations": st.none() | st.lists(_citations, max_size=2)},
    ),
    st.fixed_dictionaries({"type": st.just("tool_use"), "id": names, "name": names, "input": json_objects}),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": texts, "signature": names}),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": names}),
    st.fixed_dictionaries(
        {"type": st.just("server_tool_use"), "id": names, "name": names, "input": json_objects}
    ),
    st.fixed_dictionaries({"type": st.just("web_search_tool_result"), "content": st.just([])}),
)
_usages = st.fixed_dictionaries(
    {"input_tokens": st.integers(0, 10**9), "output_tokens": st.integers(0, 10**9)},
    optional={
        "cache_read_input_tokens": counts,
        "cache_creation_input_tokens": counts,
        "output_tokens_details": st.none() | st.fixed_dictionaries({"thinking_tokens": counts}),
        "service_tier": st.sampled_from(["standard", "priority", "batch", None]),
    },
)
_stops = st.sampled_from(
    ["end_turn", "stop_sequence", "max_tokens", "tool_use", "refusal", "pause_turn", "new_reason", None]
)
messages = st.fixed_dictionaries(
    {
        "id": names.map("msg_".__add__),
        "type": st.just("message"),
        "role": st.just("assistant"),
        "model": names,
        "content": st.lists(_blocks, max_size=6),
        "stop_reason": _stops,
        "stop_details": st.none() | st.fixed_dictionaries({"explanation": st.none() | texts}),
        "usage": _usages,
    }
)


def events_of(message: JsonObject, piece: int = 3) -> list[JsonObject]:
    """The events that stream the message, its texts in pieces of a few characters."""
    begun = {
        **message,
        "content": [],
        "stop_reason": None,
        "stop_details": None,
        "usage": {**message["usage"], "output_tokens": 1},
    }
    events = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, block in enumerate(message["content"]):
        empty, deltas = _split(block, piece)
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": message["stop_reason"], "stop_details": message["stop_details"]}
    events.append({"type": "message_delta", "delta": end, "usage": message["usage"]})
    events.append({"type": "message_stop"})
    return events


def sse_of(events: list[JsonObject], line_end: str = "\n", *, is_named: bool = True) -> bytes:
    lines = []
    for event in events:
        if is_named:
            lines.append(f"event: {event['type']}")
        lines += [f"data: {json.dumps(event, ensure_ascii=False)}", ""]
    return "".join(line + line_end for line in lines).encode()


def _split(block: JsonObject, piece: int) -> tuple[JsonObject, list[JsonObject]]:
    match block["type"]:
        case "text":
            deltas = [{"type": "text_delta", "text": text} for text in _pieces(block["text"], piece)]
            citations = [
                {"type": "citations_delta", "citation": citation} for citation in block.get("citations") or ()
            ]
            return {"type": "text", "text": ""}, citations + deltas
        case "thinking":
            deltas = [
                {"type": "thinking_delta", "thinking": text} for text in _pieces(block["thinking"], piece)
            ]
            signature = {"type": "signature_delta", "signature": block["signature"]}
            return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signature]
        case "tool_use" | "server_tool_use":
            json_text = json.dumps(block["input"], separators=(",", ":"), ensure_ascii=False)
            deltas = [
                {"type": "input_json_delta", "partial_json": text}
                for text in ("", *_pieces(json_text, piece))
            ]
            return {**block, "input": {}}, deltas
        case _:
            return block, []


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]
