"""What the operator's switches and each model's limits make of a request."""

from __future__ import annotations

import time
from typing import Any

import pytest

from api.services.translation.capabilities import find_capabilities
from api.services.translation.conversation import ChatRequest, NativePart, Role, TextPart, Tool, Turn
from api.services.translation.dialects.anthropic_messages.requests import (
    EncodedRequest,
    Target,
    encode_request,
)
from api.services.translation.dialects.openai_chat.requests import decode_request
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.json_schema import MAX_STRICT_TOOLS
from tests.anthropic_body import assert_valid_anthropic_body

USER = {"role": "user", "content": "q"}
MARK = {"cache_control": {"type": "ephemeral"}}


def encode(
    model: str = "claude-opus-4-8", switches: dict[str, Any] | None = None, **fields: Any
) -> EncodedRequest:
    request = decode_request({"model": model, "messages": [USER], "max_tokens": 100, **fields})
    encoded = encode_request(request, Target(model, find_capabilities(model), **(switches or {})))
    assert_valid_anthropic_body(encoded.body)
    return encoded


def call(call_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}, **fields}


def tool(name: str, parameters: Any = None, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, **fields}}


@pytest.mark.parametrize(
    ("asked", "configured", "sent", "ignored"),
    [
        (None, None, 64_000, ()),
        (None, 4096, 4096, ()),
        (None, 10**9, 64_000, ()),
        (8192, 4096, 8192, ()),
        (10**9, 4096, 64_000, ("max_tokens",)),
        (10**400, None, 64_000, ("max_tokens",)),
    ],
)
def test_the_limit_of_tokens(
    asked: int | None, configured: int | None, sent: int, ignored: tuple[str, ...]
) -> None:
    encoded = encode("claude-opus-4-5", {"default_max_tokens": configured}, max_tokens=asked)
    assert (encoded.body["max_tokens"], encoded.ignored) == (sent, ignored)


def test_a_stream_stays_one() -> None:
    assert encode(stream=True).body["stream"] is True
    assert "stream" not in encode(stream=False).body


SYSTEM_IN_BETWEEN = [
    {"role": "system", "content": "A"},
    {"role": "developer", "content": "B"},
    USER,
    {"role": "system", "content": "C"},
    {"role": "assistant", "content": "a", "tool_calls": [call("1")]},
    {"role": "system", "content": [{"type": "text", "text": "D"}]},
    {"role": "tool", "tool_call_id": "1", "content": "r"},
    {"role": "user", "content": "s"},
]


def test_inline_system_messages_stand_after_the_user_s_turn() -> None:
    encoded = encode(switches={"inlines_system": True}, messages=SYSTEM_IN_BETWEEN)
    assert encoded.body["system"] == "A\nB"
    assert [message["role"] for message in encoded.body["messages"]] == [
        "user",
        "system",
        "assistant",
        "user",
        "system",
    ]
    assert encoded.body["messages"][1] == {"role": "system", "content": "C"}
    assert encoded.body["messages"][4] == {"role": "system", "content": [{"type": "text", "text": "D"}]}
    assert encoded.ignored == ("messages",)


@pytest.mark.parametrize(
    ("model", "inlines"), [("claude-sonnet-5", True), ("claude-opus-4-7", True), ("claude-opus-4-8", False)]
)
def test_system_messages_lift_where_they_may_not_stand(model: str, inlines: bool) -> None:
    encoded = encode(model, {"inlines_system": inlines}, messages=SYSTEM_IN_BETWEEN)
    assert [block["text"] for block in encoded.body["system"]] == ["A", "B", "C", "D"]
    assert {message["role"] for message in encoded.body["messages"]} == {"user", "assistant"}


def test_a_system_message_after_the_last_reply_lifts_even_inline() -> None:
    messages = [USER, {"role": "assistant", "content": "a"}, {"role": "system", "content": "S"}]
    with pytest.raises(Failure, match="does not support assistant message prefill"):
        encode(switches={"inlines_system": True}, messages=messages)
    messages = [{"role": "system", "content": " "}, *messages[:1], {"role": "system", "content": "S"}]
    encoded = encode(switches={"inlines_system": True}, messages=messages)
    assert "system" not in encoded.body
    assert encoded.body["messages"][-1] == {"role": "system", "content": "S"}


def test_repair_gives_every_call_a_result() -> None:
    messages = [
        USER,
        {"role": "assistant", "tool_calls": [call("a"), call("b")]},
        {"role": "tool", "tool_call_id": "b", "content": "r"},
        {"role": "user", "content": "s"},
        {"role": "assistant", "tool_calls": [call("c")]},
    ]
    with pytest.raises(Failure) as caught:
        encode(messages=messages)
    assert (caught.value.param, caught.value.code) == ("messages", None)
    assert "(No tool message for: a.)" in caught.value.message
    encoded = encode(switches={"repairs_turns": True}, messages=messages)
    missing = {"type": "tool_result", "content": "[no result]", "is_error": True}
    assert encoded.body["messages"][2]["content"] == [
        {**missing, "tool_use_id": "a"},
        {"type": "tool_result", "tool_use_id": "b", "content": "r"},
        {"type": "text", "text": "s"},
    ]
    assert encoded.body["messages"][4] == {"role": "user", "content": [{**missing, "tool_use_id": "c"}]}
    assert encoded.ignored == ("messages",)


def test_repair_invents_no_call() -> None:
    with pytest.raises(Failure) as caught:
        encode(
            switches={"repairs_turns": True},
            messages=[
                USER,
                {"role": "assistant", "content": "a"},
                {"role": "tool", "tool_call_id": "x", "content": "r"},
            ],
        )
    assert caught.value.param == "messages.[2].role"


def test_calls_of_one_turn_that_share_an_id_are_answered_in_order() -> None:
    messages = [
        USER,
        {"role": "assistant", "tool_calls": [call("call_0"), call("call_0")]},
        {"role": "tool", "tool_call_id": "call_0", "content": "first"},
        {"role": "tool", "tool_call_id": "call_0", "content": "second"},
    ]
    blocks = encode(messages=messages).body["messages"]
    assert [block["id"] for block in blocks[1]["content"]] == ["call_0", "call_0_2"]
    assert [(block["tool_use_id"], block["content"]) for block in blocks[2]["content"]] == [
        ("call_0", "first"),
        ("call_0_2", "second"),
    ]


def test_ids_stay_unique_after_cleaning() -> None:
    messages = [
        USER,
        {"role": "assistant", "tool_calls": [call("a:b"), call("a_b"), call("a.b"), call("é\n")]},
        *({"role": "tool", "tool_call_id": name, "content": name} for name in ("a_b", "é\n", "a.b", "a:b")),
    ]
    encoded = encode(messages=messages)
    results = encoded.body["messages"][2]["content"]
    assert [(block["tool_use_id"], block.get("content")) for block in results] == [
        ("a_b", "a:b"),
        ("a_b_2", "a_b"),
        ("a_b_3", "a.b"),
        ("__", "é\n"),
    ]
    assert encoded.ignored == ("messages.tool_calls.id",)


def test_a_huge_request_takes_time_in_proportion() -> None:
    count = 20_000
    part = {"type": "text", "text": "q", **MARK}
    names = [{"type": "function", "function": {"name": f"t{number}"}} for number in range(count)]
    body = {
        "model": "m",
        "messages": [
            {"role": "user", "content": [part] * count},
            {"role": "assistant", "tool_calls": [call("same")] * count},
            *[{"role": "tool", "tool_call_id": "same", "content": "r"}] * count,
        ],
        "tools": [tool(f"t{number}") for number in range(count)],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": names}},
    }
    began = time.process_time()
    encode_request(decode_request(body), Target("claude-opus-4-8", find_capabilities("claude-opus-4-8")))
    # About half a second; anything quadratic takes minutes.
    assert time.process_time() - began < 10


def test_all_user_turns_blank_is_refused() -> None:
    for messages in (
        [{"role": "user", "content": " "}],
        [{"role": "assistant", "content": "a"}, {"role": "user", "content": "\n"}],
        [{"role": "assistant", "content": None}],
    ):
        with pytest.raises(Failure) as caught:
            encode("claude-opus-4-5", messages=messages)
        assert (caught.value.param, caught.value.code) == ("messages", None)


def test_automatic_caching_is_the_operator_s_choice_and_yields_to_the_client() -> None:
    auto = {"auto_cache": True}
    assert "cache_control" not in encode().body
    assert encode(switches=auto).body["cache_control"] == {"type": "ephemeral"}
    marked = [{"role": "user", "content": [{"type": "text", "text": "q", **MARK}]}]
    assert "cache_control" not in encode(switches=auto, messages=marked).body
    assert "cache_control" not in encode(switches=auto, prompt_cache_options={"mode": "explicit"}).body
    assert encode(switches=auto, prompt_cache_options={"mode": "implicit"}).ignored == ()
    assert encode(prompt_cache_options={"mode": "implicit"}).ignored == ("prompt_cache_options",)
    own = {"type": "ephemeral", "ttl": "1h"}
    assert encode(switches=auto, cache_control=own).body["cache_control"] == own


def test_a_mark_on_a_blank_text_goes_with_it() -> None:
    encoded = encode(messages=[USER, {"role": "user", "content": [{"type": "text", "text": " ", **MARK}]}])
    assert encoded.body["messages"] == [USER]
    assert encoded.ignored == ("messages.content",)


def test_more_strict_tools_than_allowed_become_plain_ones() -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    tools = [tool(f"t{number}", parameters, strict=True) for number in range(MAX_STRICT_TOOLS + 2)]
    encoded = encode(tools=tools)
    assert [entry.get("strict", False) for entry in encoded.body["tools"]] == [True] * 20 + [False] * 2
    assert encoded.ignored == ("tools.function.strict",)
    assert encode(tools=tools[:20]).ignored == ()


def test_a_strict_tool_whose_values_are_listed_is_a_plain_one() -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "string"}}, "enum": ["x"]}
    encoded = encode(tools=[tool("f", parameters, strict=True)])
    assert encoded.body["tools"][0]["input_schema"]["type"] == "object"
    assert "strict" not in encoded.body["tools"][0]
    assert encoded.ignored == ("tools.function.strict",)


def test_response_format_and_strict_tools_share_the_limits() -> None:
    optional = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(13)}}
    answer = {"type": "json_schema", "json_schema": {"name": "r", "schema": optional}}
    encoded = encode(tools=[tool("a", optional, strict=True)], response_format=answer)
    assert "format" in encoded.body["output_config"]
    assert "strict" not in encoded.body["tools"][0]
    assert encode(tools=[tool("a", optional, strict=True)]).body["tools"][0]["strict"] is True
    too_much = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(25)}}
    answer = {"type": "json_schema", "json_schema": {"name": "r", "schema": too_much}}
    assert "output_config" not in encode(response_format=answer).body


@pytest.mark.parametrize(
    ("model", "temperature", "top_p", "effort", "sent", "ignored"),
    [
        ("claude-sonnet-4", 0.2, 0.9, None, {"temperature": 0.2, "top_p": 0.9}, set()),
        ("claude-opus-4-5", 1, 0.9, None, {"top_p": 0.9}, set()),
        ("claude-opus-4-5", 0.2, 1, None, {"temperature": 0.2}, set()),
        ("claude-opus-4-5", 1, 1, None, {"temperature": 1}, set()),
        ("claude-opus-4-5", 1.5, 0.9, None, {"top_p": 0.9}, {"temperature"}),
        ("claude-opus-4-8", 1, 1, None, {}, set()),
        ("claude-opus-4-8", 0, None, None, {}, {"temperature"}),
        ("claude-opus-4-5", 1, None, "low", {"temperature": 1}, set()),
        ("claude-opus-4-5", 0.5, 0.96, "low", {"top_p": 0.96}, {"temperature"}),
        ("claude-opus-4-5", 0.5, None, "none", {"temperature": 0.5}, set()),
        ("claude-opus-4-6", 0.5, 0.5, "high", {}, {"temperature", "top_p"}),
    ],
)
def test_sampling(
    model: str,
    temperature: float,
    top_p: float | None,
    effort: str | None,
    sent: dict[str, float],
    ignored: set[str],
) -> None:
    encoded = encode(model, max_tokens=16000, temperature=temperature, top_p=top_p, reasoning_effort=effort)
    found = {name: encoded.body[name] for name in ("temperature", "top_p") if name in encoded.body}
    assert (found, set(encoded.ignored)) == (sent, ignored)


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "level", "is_reported"),
    [
        ("claude-opus-5-5", "max", {"type": "adaptive", "display": "summarized"}, "max", False),
        ("claude-fable-5", "none", None, "low", True),
        ("claude-sonnet-5-5", "low", {"type": "adaptive", "display": "summarized"}, "low", False),
        ("claude-sonnet-5", "none", {"type": "disabled"}, None, False),
        ("claude-sonnet-5", "medium", {"type": "adaptive", "display": "summarized"}, "medium", False),
        ("claude-opus-4-7", "none", None, None, False),
        ("claude-sonnet-4-6", "high", {"type": "adaptive"}, "high", False),
        ("claude-sonnet-4-6", "max", {"type": "adaptive"}, "max", False),
        ("claude-opus-4-5", "minimal", {"type": "enabled", "budget_tokens": 1024}, None, False),
        ("claude-opus-4-5", "high", {"type": "enabled", "budget_tokens": 24576}, None, False),
        ("claude-opus-4-5", "max", {"type": "enabled", "budget_tokens": 32768}, None, False),
        ("claude-3-7-sonnet-20250219", "low", {"type": "enabled", "budget_tokens": 2048}, None, False),
        ("claude-3-5-haiku-20241022", "none", None, None, False),
        ("claude-3-5-haiku-20241022", "low", None, None, True),
    ],
)
def test_effort_by_generation(
    model: str, effort: str, thinking: dict[str, Any] | None, level: str | None, is_reported: bool
) -> None:
    encoded = encode(model, max_tokens=None, reasoning_effort=effort)
    assert encoded.body.get("thinking") == thinking
    assert encoded.body.get("output_config", {}).get("effort") == level
    assert encoded.ignored == (("reasoning_effort",) if is_reported else ())


@pytest.mark.parametrize(
    ("max_tokens", "budget", "sent", "ignored"),
    [
        (10**9, 50_000, 25_600, ("max_tokens", "thinking")),
        (16_000, 4000, 4000, ()),
        (2000, 2000, 1600, ("thinking",)),
        (1000, 2000, None, ("thinking",)),
    ],
)
def test_a_budget_of_the_client_s_own_stays_below_the_limit(
    max_tokens: int, budget: int, sent: int | None, ignored: tuple[str, ...]
) -> None:
    thinking = {"type": "enabled", "budget_tokens": budget}
    encoded = encode("claude-opus-4-1", max_tokens=max_tokens, thinking=thinking)
    assert encoded.body.get("thinking", {}).get("budget_tokens") == sent
    assert encoded.ignored == ignored


def test_a_begun_answer_goes_together_with_neither_a_budget_nor_a_format() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    encoded = encode(
        "claude-opus-4-5",
        max_tokens=16000,
        messages=[USER, {"role": "assistant", "content": "{"}],
        reasoning_effort="high",
        response_format={"type": "json_schema", "json_schema": {"name": "r", "schema": schema}},
    )
    assert encoded.body.keys().isdisjoint({"thinking", "output_config"})
    assert set(encoded.ignored) == {"reasoning_effort", "response_format"}
    assert '"n"' in encoded.body["system"]


def test_thoughts_for_a_model_that_cannot_think_stay_away() -> None:
    messages = [
        USER,
        {
            "role": "assistant",
            "content": "a",
            "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "S"}],
        },
        USER,
    ]
    encoded = encode("claude-3-5-haiku-20241022", messages=messages)
    assert encoded.body["messages"][1] == {"role": "assistant", "content": [{"type": "text", "text": "a"}]}
    assert encoded.ignored == ("messages.thinking_blocks",)


@pytest.mark.parametrize(
    ("user", "is_sent"),
    [
        ("u-123", True),
        ("12345", True),
        ("user_550e8400-e29b-41d4-a716-446655440000", True),
        ("bob@example.com", False),
        ("+49 170 1234567", False),
        ("(555) 123-4567", False),
        ("5551234567", False),
        ("x" * 256, True),
        ("x" * 257, False),
    ],
)
def test_no_e_mail_address_or_phone_number_goes_up_as_an_id(user: str, is_sent: bool) -> None:
    encoded = encode(user=user)
    assert encoded.body.get("metadata") == ({"user_id": user} if is_sent else None)
    assert encoded.ignored == (() if is_sent else ("user",))


@pytest.mark.parametrize(
    ("tier", "sent", "ignored"),
    [
        ("auto", "auto", ()),
        ("default", "standard_only", ()),
        ("priority", "auto", ()),
        ("scale", "auto", ()),
        ("flex", None, ("service_tier",)),
        ("fast", None, ("service_tier",)),
    ],
)
def test_service_tiers(tier: str, sent: str | None, ignored: tuple[str, ...]) -> None:
    encoded = encode(service_tier=tier)
    assert (encoded.body.get("service_tier"), encoded.ignored) == (sent, ignored)


def test_files_need_a_beta() -> None:
    part = {"type": "file", "file": {"file_id": "file_1"}}
    assert encode(messages=[{"role": "user", "content": [part]}]).betas == ("files-api-2025-04-14",)
    assert encode().betas == ()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"thinking": "on"}, "thinking"),
        ({"thinking": {"type": "auto"}}, "thinking.type"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "adaptive", "display": "all"}}, "thinking.display"),
        ({"output_config": []}, "output_config"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format"),
        ({"top_k": "5"}, "top_k"),
        ({"speed": "ludicrous"}, "speed"),
        ({"mcp_servers": ["x"]}, "mcp_servers"),
        ({"container": 5}, "container"),
    ],
)
def test_a_native_field_of_the_wrong_type_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Failure) as caught:
        encode(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_native_fields_go_up() -> None:
    fields = {
        "container": "c",
        "speed": "fast",
        "inference_geo": "eu",
        "context_management": {"edits": []},
        "mcp_servers": [{"type": "url"}],
    }
    body = encode(**fields).body
    assert {name: body[name] for name in fields} == fields
    assert encode("claude-opus-4-5", top_k=5).body["top_k"] == 5


def test_a_custom_grammar_is_told_in_the_description() -> None:
    custom = {"name": "c", "format": {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a+"}}}
    (entry,) = encode(tools=[{"type": "custom", "custom": custom}]).body["tools"]
    assert entry["description"] == "The input must match this regex grammar:\na+"
    assert entry["input_schema"]["required"] == ["input"]


def test_a_web_search_tool_of_the_client_s_own_is_in_the_way() -> None:
    with pytest.raises(Failure) as caught:
        encode(tools=[tool("web_search")], web_search_options={})
    assert caught.value.param == "web_search_options"


def test_a_part_of_another_dialect_cannot_be_said() -> None:
    native = NativePart("other", {}, path="messages[0]")
    target = Target("claude-opus-4-8", find_capabilities("claude-opus-4-8"))
    for request in (
        ChatRequest("m", (Turn(Role.USER, (native,)),)),
        ChatRequest("m", (Turn(Role.USER, (TextPart("q"),)),), tools=(Tool("t", native=native),)),
    ):
        with pytest.raises(Failure) as caught:
            encode_request(request, target)
        assert caught.value.kind is FailureKind.UNSUPPORTED_VALUE


def test_strict_mode_names_the_parameter() -> None:
    with pytest.raises(Failure) as caught:
        encode(switches={"is_strict": True}, seed=1)
    failure = caught.value
    assert (failure.status, failure.param, failure.code) == (400, "seed", "unsupported_parameter")
    assert failure.message.startswith(
        "Unsupported parameter: 'seed' is not supported with this model as it was"
    )
    assert encode(switches={"is_strict": True}, stop=["END"]).ignored == ()
