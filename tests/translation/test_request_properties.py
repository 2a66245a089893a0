"""What holds for every request: a body that upstream takes or a Failure, and always the same one."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from api.services.translation.capabilities import Sampling, Thinking, find_capabilities
from api.services.translation.dialects.anthropic_messages.requests import (
    EncodedRequest,
    Target,
    encode_request,
)
from api.services.translation.dialects.openai_chat.requests import check_relay, decode_request, relay_request
from api.services.translation.failures import Failure
from api.services.translation.json_text import dump_json
from api.services.translation.quirks import DeveloperRole, Quirks, TokenParam
from tests.anthropic_body import assert_valid_anthropic_body
from tests.translation.request_strategies import JSON, MODELS, REQUESTS, spoiled

slow = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)

targets = st.builds(
    lambda model, **switches: Target(model, find_capabilities(model), **switches),
    st.sampled_from(MODELS),
    default_max_tokens=st.sampled_from([None, 1, 4096, 10**9]),
    auto_cache=st.booleans(),
    repairs_turns=st.booleans(),
    inlines_system=st.booleans(),
)


def encode(body: Any, target: Target) -> EncodedRequest | None:
    """The encoded request, or None where the client is told what is wrong."""
    failure: Failure | None = None
    try:
        return encode_request(decode_request(body), target)
    except Failure as caught:
        failure = caught
    assert failure.status == 400
    assert failure.message
    json.loads(dump_json({"message": failure.message, "param": failure.param}))
    return None


@slow
@given(REQUESTS, targets)
def test_an_encoded_body_is_one_that_the_sdk_would_send(body: dict[str, Any], target: Target) -> None:
    encoded = encode(body, target)
    if encoded is not None:
        assert_valid_anthropic_body(json.loads(dump_json(encoded.body)))
        assert_upstream_s_rules(encoded.body, target)


@slow
@given(spoiled(), targets)
def test_a_spoiled_request_gives_a_valid_body_or_a_failure(body: dict[str, Any], target: Target) -> None:
    encoded = encode(body, target)
    if encoded is not None:
        assert_valid_anthropic_body(json.loads(dump_json(encoded.body)))
        assert_upstream_s_rules(encoded.body, target)


@given(JSON)
@example({"model": "m", "messages": [{"role": "user", "content": "x"}], "seed": 10**5000})
@example({"model": "m", "messages": [{"role": "user", "content": "x"}], "temperature": 10**5000})
def test_any_json_is_read_or_refused(value: Any) -> None:
    target = Target("claude-opus-4-5", find_capabilities("claude-opus-4-5"))
    encode(value, target)
    encode({"model": "claude-opus-4-5", "messages": value}, target)
    encode({"model": "claude-opus-4-5", "messages": [{"role": "user", "content": value}]}, target)


@slow
@given(REQUESTS, targets)
def test_reading_changes_nothing_and_repeats_itself(body: dict[str, Any], target: Target) -> None:
    before = copy.deepcopy(body)
    first = encode(body, target)
    second = encode(copy.deepcopy(body), target)
    assert body == before
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert dump_json(first.body) == dump_json(second.body)
        assert first.ignored == second.ignored


@slow
@given(REQUESTS, targets)
def test_strict_mode_is_right_about_what_is_ignored(body: dict[str, Any], target: Target) -> None:
    lenient = encode(body, target)
    if lenient is None:
        return
    strict = encode(body, replace(target, is_strict=True))
    assert (strict is None) == bool(lenient.ignored)
    if strict is not None:
        assert strict.body == lenient.body


quirks = st.builds(
    Quirks,
    token_param=st.sampled_from(TokenParam),
    sends_stream_options=st.booleans(),
    developer_role=st.sampled_from(DeveloperRole),
    strips_extensions=st.booleans(),
)


@slow
@given(spoiled(), quirks, st.booleans())
def test_a_relay_copies_or_refuses(body: dict[str, Any], quirks: Quirks, wants_usage: bool) -> None:
    before = copy.deepcopy(body)
    failure: Failure | None = None
    try:
        check_relay(body)
    except Failure as caught:
        failure = caught
    if failure is not None:
        assert failure.status == 400
        return
    relayed = relay_request(body, upstream_id="up", quirks=quirks, wants_usage=wants_usage)
    assert body == before
    assert relayed.body["model"] == "up"
    touched = {"model", "messages", "tools", "max_tokens", "max_completion_tokens", "stream_options"}
    extensions = {"thinking", "output_config", "cache_control"} if quirks.strips_extensions else set()
    for key, value in body.items():
        if key not in touched | extensions:
            assert relayed.body[key] == value
    renamed = {"max_tokens", "max_completion_tokens"}
    kept = [key for key in relayed.body if key in body and key not in renamed]
    assert kept == [key for key in body if key in relayed.body and key not in renamed]


def test_two_processes_give_the_same_bytes() -> None:
    program = """
import json, sys
from api.services.translation.capabilities import find_capabilities
from api.services.translation.dialects.anthropic_messages.requests import Target, encode_request
from api.services.translation.dialects.openai_chat.requests import decode_request
from api.services.translation.json_text import dump_json
body = json.load(sys.stdin)
encoded = encode_request(decode_request(body), Target(body["model"], find_capabilities(body["model"])))
sys.stdout.buffer.write(dump_json([encoded.body, encoded.ignored, encoded.betas]))
"""
    body = {
        "model": "claude-opus-4-5",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "q", "zeta": 1, "alpha": 2}]}],
        "tools": [
            {"type": "function", "function": {"name": "f", "defer_loading": True, "input_examples": [{}]}}
        ],
        "container": "c",
        "speed": "fast",
        "inference_geo": "eu",
        "thinking": {"type": "disabled"},
        "output_config": {"effort": "low"},
        "unknown_b": 1,
        "unknown_a": 1,
    }
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(body).encode(),
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1


def assert_upstream_s_rules(body: dict[str, Any], target: Target) -> None:
    """What Anthropic refuses although the types allow it."""
    capabilities = target.capabilities
    assert 1 <= body["max_tokens"] <= capabilities.max_output_tokens
    assert_turns(body["messages"], takes_prefill=capabilities.takes_prefill)
    if capabilities.sampling is Sampling.REFUSED:
        assert body.keys().isdisjoint({"temperature", "top_p", "top_k"})
    if capabilities.sampling is Sampling.ONE_OF:
        assert not {"temperature", "top_p"} <= body.keys()
    assert 0 <= body.get("temperature", 0) <= 1
    choice = body.get("tool_choice", {})
    assert not choice or body["tools"]
    is_forced = choice.get("type") in ("any", "tool")
    assert not is_forced or capabilities.takes_forced_tool
    if choice.get("type") == "tool":
        assert choice["name"] in {tool.get("name") for tool in body["tools"]}
    thinking = body.get("thinking", {})
    if thinking.get("type") == "enabled":
        assert not is_forced
        assert body["messages"][-1]["role"] != "assistant"
        assert body.keys().isdisjoint({"top_k"})
        assert body.get("temperature", 1) == 1
    for tool in body.get("tools", ()):
        if "input_schema" in tool:
            assert tool["input_schema"]["type"] == "object"
            assert tool["input_schema"].keys().isdisjoint({"anyOf", "oneOf", "allOf"})
    names = [tool.get("name") for tool in body.get("tools", ())]
    assert len(names) == len(set(names))
    assert all(text.strip() for text in body.get("stop_sequences", ["x"]))
    assert count_breakpoints(body) <= 4
    if not capabilities.structured_outputs:
        assert "format" not in body.get("output_config", {})
    if capabilities.thinking is Thinking.NONE:
        assert "thinking" not in json.dumps(body["messages"])


def assert_turns(messages: list[dict[str, Any]], *, takes_prefill: bool) -> None:
    assert messages[0]["role"] == "user"
    assert messages[-1]["role"] != "assistant" or takes_prefill
    used: set[str] = set()
    open_calls: list[str] = []
    for index, message in enumerate(messages):
        if index and message["role"] != "system":
            previous = [earlier["role"] for earlier in messages[:index] if earlier["role"] != "system"][-1]
            assert message["role"] != previous
        if message["role"] == "system":
            assert messages[index - 1]["role"] == "user"
            assert index + 1 == len(messages) or messages[index + 1]["role"] == "assistant"
        content = message["content"]
        assert content
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for block in blocks:
            assert block["type"] != "text" or block["text"].strip()
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if message["role"] != "system":
            assert [block["type"] for block in blocks][: len(results)] == ["tool_result"] * len(results)
            assert results == open_calls
            open_calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        assert used.isdisjoint(open_calls)
        used.update(open_calls)
        if message["role"] == "assistant":
            assert blocks[-1]["type"] not in ("thinking", "redacted_thinking")
            if index == len(messages) - 1 and blocks[-1]["type"] == "text":
                assert blocks[-1]["text"] == blocks[-1]["text"].rstrip()
    assert open_calls == []


def count_breakpoints(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(count_breakpoints, value))
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(map(count_breakpoints, value.values()))
    return 0


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_a_body_that_is_no_object_is_refused(value: Any) -> None:
    for refuse in (decode_request, check_relay):
        with pytest.raises(Failure):
            refuse(value)
