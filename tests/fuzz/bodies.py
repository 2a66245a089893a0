"""Request bodies as bytes: any JSON whatsoever, and right requests that were spoiled in a few places.

Owns what is tried; says nothing about what must come of it. The right requests are those
of the golden cases and those that the request properties make.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from tests.golden_cases import load_cases
from tests.translation.request_strategies import JSON, REQUESTS

_RAW = "\ue000"
"""A string that begins so goes out as the text after it, without quotes."""

# What no Python value stands for: JSON's own extremes, and what is no JSON at all.
RAW = st.sampled_from(
    [
        "1e999",
        "-1e999",
        "1e-999",
        "-0",
        "-0.0",
        "1.0",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551616",
        "-9223372036854775809",
        "1" + "0" * 400,
        "1" + "0" * 6000,
        "0." + "3" * 400,
        "NaN",
        "Infinity",
        "[" * 40 + "]" * 40,
        "[" * 300 + "]" * 300,
        '{"a":' * 300 + "1" + "}" * 300,
        '{"type":"object","properties":{"a":' * 60 + '{"type":"string"}' + "}}" * 60,
        '{"anyOf":[' * 120 + '{"type":"null"}' + "]}" * 120,
        "[" * 100_000,
        "[" * 5000 + "]" * 5000,
        '"\\ud83d"',
        '"\\ude00\\ud83d"',
        '"\\u0000"',
        '{"a":1,"a":2}',
        '{"type":"text","type":"image_url","text":"x"}',
        '{"__proto__":{},"":{}}',
    ]
).map(_RAW.__add__)

ODD_TEXT = st.sampled_from(
    [
        "",
        " ",
        "\x00",
        "\r\n",
        "\u2028\u2029",
        "\ufeff",
        "\u202e",
        "\ud83d",
        "\udc00",
        "é" * 70,
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "x-a: b\r\nx-c: d",
        "data: [DONE]",
        "data:",
        "data:image/png;base64,",
        "data:application/pdf;base64,====",
        "data:text/plain;base64,/w==",
        "https://",
        "https://\ud83d/",
        "HTTPS://example.com/a.png",
        "file_",
        "file-abc",
        "{",
        "null",
        "{}",
        '{"a":' * 200 + "1" + "}" * 200,
        "auto",
        "none",
        "required",
        "function",
        "object",
        "user",
        "assistant",
        "tool",
        "system",
        "call_1",
        "a" * 65,
        "a" * 129,
        "ephemeral",
        "json_schema",
        "web_search",
    ]
)

ANYTHING = JSON | ODD_TEXT | RAW


def _requests_of_cases() -> list[str]:
    """As text: a draw gives a fresh value, and cheaply."""
    cases = load_cases("chat_req") + load_cases("chat_req_error") + load_cases("oai_req")
    return sorted({json.dumps(case.read_json("request.json")) for case in cases})


RIGHT = st.sampled_from(_requests_of_cases()).map(json.loads) | REQUESTS.map(copy.deepcopy)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every entry of every object and list, as its holder and its key; the outermost first."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    for holder in waiting:
        keys = range(len(holder)) if isinstance(holder, list) else list(holder)
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], list | dict):
                waiting.append(holder[key])
    return found


def _retyped(draw: st.DrawFn, value: Any) -> Any:
    """The same said with another type."""
    match draw(st.sampled_from(["list", "object", "text", "number", "truth", "empty"])):
        case "list":
            return [value]
        case "object":
            return {draw(st.sampled_from(["type", "text", "value", "function"])): value}
        case "text":
            return value if isinstance(value, str) else json.dumps(value)
        case "number":
            return draw(st.integers(-2, 3)) * 1.0
        case "truth":
            return bool(value)
        case _:
            return draw(st.sampled_from([None, [], {}, ""]))


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """A right request, changed in up to four places."""
    body = draw(RIGHT)
    for _ in range(draw(st.integers(0, 4))):
        places = _places(body)
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        match draw(
            st.sampled_from(["replace", "text", "retype", "drop", "rename", "double", "move", "add", "nest"])
        ):
            case "replace":
                holder[key] = draw(ANYTHING)
            case "text":
                holder[key] = draw(ODD_TEXT)
            case "retype":
                holder[key] = _retyped(draw, holder[key])
            case "drop":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                others = sorted({str(name) for place, name in places if isinstance(place, dict)})
                holder[draw(st.sampled_from(others) | st.text(max_size=8))] = holder.pop(key)
            case "double" if isinstance(holder, list):
                holder.insert(draw(st.integers(0, len(holder))), copy.deepcopy(holder[key]))
            case "add" if isinstance(holder, dict):
                holder[draw(ODD_TEXT | st.text(max_size=8))] = draw(ANYTHING)
            case "nest":
                for _ in range(draw(st.sampled_from([1, 3, 30]))):
                    holder[key] = [holder[key]] if isinstance(holder, list) else {key: holder[key]}
            case _:
                # Something right, in a place where it does not belong.
                source, name = draw(st.sampled_from(places))
                holder[key] = copy.deepcopy(source[name]) if _holds(source, name) else None
    return body


def _holds(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def write(value: Any, *, is_ascii: bool = True) -> bytes:
    """JSON, but for the raw pieces in it; lone surrogates go out as they would from a careless client."""
    text = json.dumps(value, ensure_ascii=is_ascii)
    text = re.sub(
        rf'"{_raw_mark(is_ascii)}((?:[^"\\]|\\.)*)"', lambda found: json.loads(f'"{found[1]}"'), text
    )
    return text.encode("utf-8", "surrogatepass")


def _raw_mark(is_ascii: bool) -> str:
    return re.escape(json.dumps(_RAW, ensure_ascii=is_ascii)[1:-1])


@st.composite
def bodies(draw: st.DrawFn, models: Sequence[str]) -> bytes:
    """The bytes of one request, mostly for one of these models."""
    model = draw(st.sampled_from(models))
    kind = draw(st.sampled_from(["spoiled"] * 7 + ["any", "any messages", "bytes"]))
    if kind == "bytes":
        return _damaged(draw, write(_addressed(draw(RIGHT), model)))
    value: Any
    if kind == "spoiled":
        value = _addressed(draw(spoiled()), model)
        if isinstance(value, dict) and draw(st.booleans()):
            value["stream"] = draw(st.booleans())
    elif kind == "any messages":
        content = draw(ANYTHING)
        value = {
            "model": model,
            "messages": draw(
                st.sampled_from(
                    [
                        content,
                        [content],
                        [{"role": "user", "content": content}],
                        [{"role": "user", "content": [content]}],
                        [{"role": "assistant", "content": content}, {"role": "user", "content": "x"}],
                    ]
                )
            ),
        }
    else:
        value = draw(ANYTHING)
    return write(value, is_ascii=draw(st.booleans()))


def _addressed(body: Any, model: str) -> Any:
    """Under a name that is served, unless the model is what was spoiled."""
    if isinstance(body, dict) and isinstance(body.get("model"), str) and body["model"]:
        body["model"] = model
    return body


def _damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes that were JSON."""
    place = draw(st.integers(0, len(data)))
    match draw(st.sampled_from(["cut", "put", "swap", "key", "mark", "tail"])):
        case "cut":
            return data[:place]
        case "put":
            return data[:place] + draw(st.binary(min_size=1, max_size=3)) + data[place:]
        case "swap":
            return data[:place] + draw(st.binary(min_size=1, max_size=1)) + data[place + 1 :]
        case "key":
            name = draw(st.sampled_from(["model", "messages", "stream", "tools", "max_tokens"]))
            twice = write({name: draw(ANYTHING)})[1:-1]
            return data[:-1] + b"," + twice + b"}" if draw(st.booleans()) else b"{" + twice + b"," + data[1:]
        case "mark":
            return b"\xef\xbb\xbf" + data
        case _:
            return data + draw(st.sampled_from([b" ", b"\n{}", b"\x00", b"]"]))
