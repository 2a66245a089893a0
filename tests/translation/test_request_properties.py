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

from api.services.translation.capabilities import find_capabilities
from api.services.translation.dialects.anthropic_messages.requests import (
    EncodedRequest,
    Target,
    encode_request,
)
from api.services.translation.dialects.openai_chat.requests import check_relay, decode_request, relay_request
from api.services.translation.failures import Failure
from api.services.translation.ignored import Ignored
from api.services.translation.json_text import dump_json
from api.services.translation.quirks import DeveloperRole, Quirks, TokenParam, apply_quirks, may_change
from tests.anthropic_body import assert_valid_anthropic_body
from tests.fake_upstream.anthropic_rules import check_request
from tests.fake_upstream.recorded import RecordedRequest
from tests.fake_upstream.rejection import Rejected
from tests.fake_upstream.settings import Settings
from tests.fake_upstream.signatures import Signatures
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

PREFILLED = Target("claude-opus-4-5", find_capabilities("claude-opus-4-5"))
INLINED = Target("claude-opus-4-8", find_capabilities("claude-opus-4-8"), inlines_system=True)


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
def test_upstream_takes_every_body_that_is_made(body: dict[str, Any], target: Target) -> None:
    encoded = encode(body, target)
    if encoded is not None:
        assert_upstream_takes(encoded, body)


@slow
@given(spoiled(), targets)
def test_a_spoiled_request_gives_a_valid_body_or_a_failure(body: dict[str, Any], target: Target) -> None:
    encoded = encode(body, target)
    if encoded is not None:
        assert_upstream_takes(encoded, body)


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


PLAIN_MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "developer", "user", "user", "assistant", "assistant"]),
            "content": st.sampled_from(["a", "b ", "\n", ""]),
        }
    ),
    min_size=1,
    max_size=5,
)


PLAIN_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "stream": st.booleans(),
        "max_tokens": st.sampled_from([1, 10**6]),
        "temperature": st.sampled_from([0, 0.5, 1, 2]),
        "top_p": st.sampled_from([0.5, 0.99, 1]),
    },
)


def taking_turns(*roles: str, text: str = "a") -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role in roles]


@given(PLAIN_MESSAGES, PLAIN_FIELDS, targets)
@example(taking_turns("system", "developer", "user", "assistant", "user"), {"temperature": 2}, PREFILLED)
@example(taking_turns("user", "assistant", text="a "), {}, PREFILLED)
@example(taking_turns("user", "system", "assistant", "user"), {}, INLINED)
@example(taking_turns("user"), {"stream": True, "top_p": 0.5}, replace(PREFILLED, auto_cache=True))
def test_a_plain_request_is_encoded_like_any_other(
    messages: list[dict[str, Any]], fields: dict[str, Any], target: Target
) -> None:
    """
    `user` and a blank system message say nothing here, but take the request and the
    conversation out of the short way.
    """
    body = {"model": "m", "messages": messages, **fields}
    blank = {"role": "system", "content": " "}
    short = encode(body, target)
    for long in (
        encode({**body, "user": None}, target),
        encode({**body, "messages": [*messages, blank]}, target),
    ):
        assert (short is None) == (long is None)
        if short is not None and long is not None:
            assert dump_json(short.body) == dump_json(long.body)
            assert (short.ignored, short.betas) == (long.ignored, long.betas)


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


@slow
@given(spoiled(), quirks)
def test_the_quick_look_at_a_body_misses_no_quirk(body: dict[str, Any], quirks: Quirks) -> None:
    ignored = Ignored()
    changed = apply_quirks(body, quirks, ignored)
    if not may_change(body, quirks):
        assert changed == body
        assert list(changed) == list(body)
        assert not ignored.names()


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


def assert_upstream_takes(encoded: EncodedRequest, asked: dict[str, Any]) -> None:
    """By the SDK's types and by the rules that the pretended upstream has of its own.

    `thinking` and `output_config` go up as the client wrote them: a model may refuse them.
    """
    data = dump_json(encoded.body)
    assert_valid_anthropic_body(json.loads(data))
    if asked.get("thinking") is not None or asked.get("output_config") is not None:
        return
    headers = [("anthropic-version", "2023-06-01"), ("content-type", "application/json")]
    headers += [("anthropic-beta", beta) for beta in encoded.betas]
    request = RecordedRequest("POST", "/v1/messages", tuple(headers), data, 0.0, 1, 1)
    try:
        check_request(request, Settings(verify_signatures=False), Signatures())
    except Rejected as rejected:
        # A tool's schema goes up as the client wrote it, up to its root.
        if "input_schema: JSON schema is invalid" not in rejected.message:
            raise


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_a_body_that_is_no_object_is_refused(value: Any) -> None:
    for refuse in (decode_request, check_relay):
        with pytest.raises(Failure):
            refuse(value)
