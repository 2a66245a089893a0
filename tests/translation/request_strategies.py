"""Hypothesis strategies for chat requests: well-formed ones, and ones with anything in any place."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

MODELS = (
    "claude-opus-5-5",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-fable-5",
    "claude-sonnet-5",
    "claude-opus-4-8",
    "claude-opus-4-6",
    "claude-opus-4-5",
    "claude-sonnet-4-5",
    "claude-opus-4-1",
    "claude-sonnet-4",
    "claude-3-7-sonnet-20250219",
    "claude-3-5-haiku-20241022",
    "claude-from-the-future",
)

TEXTS = st.sampled_from(
    ["", " \n", "Hi", "ends in space ", "é\U0001f600", "{}", '{"a":1}', "[1]", "file_abc"]
)
CALL_IDS = st.sampled_from(["call_0", "call_1", "a:b", "a_b", "é", "toolu_1"])
TOOL_NAMES = st.sampled_from(["a", "b", "get_weather", "web_search"])
CACHE = st.sampled_from(
    [
        {},
        {},
        {},
        {"cache_control": {"type": "ephemeral"}},
        {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}},
    ]
)

SCHEMAS = st.sampled_from(
    [
        None,
        {},
        {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]},
        {"properties": None},
        {"type": "object", "anyOf": [{"properties": {"x": {"type": "integer"}}}, {"required": ["y"]}]},
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/X"}}, "$defs": {"X": {"enum": [1, 2]}}},
        {"type": "object", "additionalProperties": True},
        {"type": "object", "properties": {f"p{n}": {"type": ["string", "null"]} for n in range(30)}},
        {"type": "string"},
    ]
)


def _fields(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def _merged(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda *dicts: {key: value for part in dicts for key, value in part.items()}, *parts)


TEXT_PART = _merged(st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}), CACHE)
IMAGE_PART = _merged(
    st.fixed_dictionaries(
        {
            "type": st.just("image_url"),
            "image_url": st.fixed_dictionaries(
                {
                    "url": st.sampled_from(
                        [
                            "data:image/jpg;base64,/9j/4AAQSkY=",
                            "data:image/png;charset=x;base64,iVBORw0KGgo",
                            "data:image/gif,%47%49%46",
                            "data:application/pdf;base64,JVBERi0xLjQ=",
                            "https://example.com/a.png",
                            "file_011",
                        ]
                    )
                },
                optional={"detail": st.sampled_from(["auto", "high", None])},
            ),
        }
    ),
    CACHE,
)
FILE_PART = _merged(
    st.fixed_dictionaries(
        {
            "type": st.just("file"),
            "file": st.sampled_from(
                [
                    {"file_data": "JVBERi0xLjQ=", "filename": "a.pdf"},
                    {"file_data": "data:text/plain;base64,SGkh", "filename": ""},
                    {"file_data": "SGkh", "filename": "c.md"},
                    {"file_data": "data:image/png;base64,iVBORw0KGgo=", "filename": "d.png"},
                    {"file_id": "file_123"},
                ]
            ),
        }
    ),
    CACHE,
)
USER_CONTENT = TEXTS | st.lists(TEXT_PART | IMAGE_PART | FILE_PART, min_size=1, max_size=3)

TOOL_CALL = st.fixed_dictionaries(
    {
        "id": CALL_IDS,
        "type": st.just("function"),
        "function": st.fixed_dictionaries(
            {"name": TOOL_NAMES, "arguments": st.sampled_from(["", "{}", '{"a":[1]}', " "])}
        ),
    }
) | st.fixed_dictionaries(
    {
        "id": CALL_IDS,
        "type": st.just("custom"),
        "custom": st.fixed_dictionaries({"name": TOOL_NAMES, "input": TEXTS}),
    }
)

THINKING = st.sampled_from(
    [
        {"type": "thinking", "thinking": "hm", "signature": "SIG"},
        {"type": "thinking", "thinking": "", "signature": "SIG2", "index": 0},
        {"type": "thinking", "thinking": "unsigned", "signature": ""},
        {"type": "redacted_thinking", "data": "ENC"},
    ]
)

ASSISTANT = st.fixed_dictionaries(
    {"role": st.just("assistant")},
    optional={
        "content": st.none()
        | TEXTS
        | st.lists(
            TEXT_PART
            | st.just({"type": "refusal", "refusal": "No."})
            | st.just({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}})
            | THINKING,
            max_size=3,
        ),
        "tool_calls": st.lists(TOOL_CALL, max_size=3),
        "thinking_blocks": st.lists(THINKING, max_size=2),
        "reasoning_content": st.sampled_from(["hm", None]),
        "refusal": st.sampled_from(["No.", None]),
        "name": st.just("bob"),
    },
)


def _exchange(assistant: dict[str, Any], results: list[Any], users: list[Any]) -> list[dict[str, Any]]:
    """An assistant's turn and what follows: a result for each call, here and there a user between them."""
    messages = [assistant]
    for call, content, between in zip(assistant.get("tool_calls") or [], results, users, strict=False):
        if between is not None:
            messages.append({"role": "user", "content": between})
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})
    return messages


EXCHANGE = st.builds(
    _exchange,
    ASSISTANT,
    st.lists(TEXTS | st.lists(TEXT_PART | IMAGE_PART, max_size=2), min_size=3, max_size=3),
    st.lists(st.none() | USER_CONTENT, min_size=3, max_size=3),
)
SINGLE = st.builds(
    lambda message: [message],
    st.fixed_dictionaries({"role": st.just("user"), "content": USER_CONTENT})
    | st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "developer"]),
            "content": TEXTS | st.lists(TEXT_PART, min_size=1, max_size=2),
        }
    ),
)
MESSAGES = st.builds(
    lambda groups, last: [message for group in groups for message in group] + last,
    st.lists(SINGLE | EXCHANGE, max_size=6),
    st.sampled_from([[{"role": "user", "content": "And?"}], []]),
).filter(bool)

TOOL = st.builds(
    lambda function, extra: {"type": "function", "function": function, **extra},
    st.fixed_dictionaries(
        {"name": TOOL_NAMES},
        optional={
            "description": st.sampled_from(["Does it.", "", None]),
            "parameters": SCHEMAS,
            "strict": st.sampled_from([True, False, None]),
            "defer_loading": st.booleans(),
        },
    ),
    CACHE,
)
TOOLS = st.lists(TOOL, max_size=4, unique_by=lambda tool: tool["function"]["name"])

OPTIONS = _fields(
    max_tokens=st.sampled_from([1, 900, 1025, 2000, 16000, 10**9, None]),
    max_completion_tokens=st.sampled_from([1, 5000, None]),
    temperature=st.sampled_from([0, 0.3, 1, 1.0, 1.7, 2, None]),
    top_p=st.sampled_from([0, 0.5, 0.97, 1, None]),
    top_k=st.sampled_from([5, None]),
    stop=st.sampled_from(["END", ["a", " ", "b"], [], None]),
    stream=st.sampled_from([True, False, None]),
    parallel_tool_calls=st.sampled_from([True, False, None]),
    tool_choice=st.sampled_from(
        [
            "auto",
            "none",
            "required",
            {"type": "function", "function": {"name": "a"}},
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "a"}}]},
            },
            None,
        ]
    ),
    response_format=st.sampled_from(
        [
            {"type": "text"},
            {"type": "json_object"},
            {
                "type": "json_schema",
                "json_schema": {
                    "name": "r",
                    "schema": {"type": "object", "properties": {"n": {"type": "null"}}},
                },
            },
            {"type": "json_schema", "json_schema": {"name": "r", "schema": {"type": "object"}}},
        ]
    ),
    reasoning_effort=st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max", None]),
    thinking=st.sampled_from([{"type": "enabled", "budget_tokens": 1024}, {"type": "adaptive"}, None]),
    output_config=st.sampled_from([{"effort": "low"}, {}, None]),
    cache_control=st.sampled_from([{"type": "ephemeral"}, None]),
    prompt_cache_options=st.sampled_from([{"mode": "implicit"}, {"mode": "explicit", "ttl": "30m"}]),
    user=st.sampled_from(["u-1", "bob@example.com", "+49 170 1234567", "x" * 300]),
    safety_identifier=st.just("s-1"),
    service_tier=st.sampled_from(["auto", "default", "flex", "priority", None]),
    web_search_options=st.sampled_from(
        [{}, {"user_location": {"type": "approximate", "approximate": {"city": "Paris", "country": None}}}]
    ),
    seed=st.just(7),
    logprobs=st.booleans(),
    x_unknown=st.just(1),
)

REQUESTS = _merged(
    st.fixed_dictionaries({"model": st.sampled_from(MODELS), "messages": MESSAGES}),
    st.one_of(st.just({}), st.fixed_dictionaries({"tools": TOOLS})),
    OPTIONS,
)
"""Requests whose every field is right by itself; together they may still be refused."""

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "text", "user", "function", "auto", "data:,x", "claude-opus-4-5", "\ud83d"])
    | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "text",
                    "role",
                    "content",
                    "name",
                    "function",
                    "id",
                    "url",
                    "schema",
                    "input",
                    "image_url",
                ]
            )
            | st.text(max_size=3),
            children,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@st.composite
def spoiled(draw: st.DrawFn, requests: st.SearchStrategy[dict[str, Any]] = REQUESTS) -> dict[str, Any]:
    """A right request in which one value, anywhere, is replaced by any JSON, removed or doubled."""
    request = draw(requests)
    places: list[tuple[Any, Any]] = []
    waiting: list[Any] = [request]
    while waiting:
        value = waiting.pop()
        keys = range(len(value)) if isinstance(value, list) else list(value)
        for key in keys:
            places.append((value, key))
            if isinstance(value[key], list | dict):
                value[key] = value[key].copy()
                waiting.append(value[key])
    # Shallow places come first and are drawn most: begin with the deep ones.
    places = [place for place in reversed(places) if place[1] not in ("model", "messages")]
    holder, key = draw(st.sampled_from(places))
    match draw(st.sampled_from(["replace", "remove", "rename", "double"])):
        case "replace":
            holder[key] = draw(JSON)
        case "remove":
            del holder[key]
        case "rename" if isinstance(holder, dict):
            holder[draw(st.text(max_size=8))] = holder.pop(key)
        case "double" if isinstance(holder, list):
            holder.insert(0, holder[key])
        case _:
            holder[key] = draw(JSON)
    return request
