from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services.translation.dialects.anthropic_messages import failures as anthropic
from api.services.translation.dialects.anthropic_messages.failures import is_invalid_signature
from api.services.translation.dialects.openai_chat import failures as openai
from api.services.translation.dialects.openai_chat.failures import (
    encode_failure,
    encode_failure_headers,
    encode_stream_failure,
)
from api.services.translation.failures import FAILURES, Failure, FailureKind, scrub
from tests.translation.messages import json_objects, json_values, texts

NOW = 1_700_000_000.0
SECRET = "test-upstream-key"
DIALECTS = [anthropic, openai]


def decode(
    dialect: Any, status: int, body: Any, headers: dict[str, str] | None = None, model: str = "alias"
) -> Failure:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    failure = dialect.decode_failure(status, headers or {}, raw, model=model, secrets=[SECRET], now=NOW)
    assert isinstance(failure, Failure)
    return failure


def anthropic_error(message: str, kind: str = "invalid_request_error", **error: Any) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message, **error}, "request_id": "req_body"}


# --- the table


def test_every_kind_has_its_row() -> None:
    assert set(FAILURES) == set(FailureKind)


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_is_an_error_that_openai_clients_understand(kind: FailureKind) -> None:
    failure = Failure(kind, "text")
    assert 400 <= failure.status <= 599
    assert encode_failure(failure) == {
        "error": {"message": "text", "type": failure.type, "param": None, "code": failure.code}
    }
    (line,) = encode_stream_failure(failure).split(b"\n\n")[:-1]
    assert json.loads(line.removeprefix(b"data: ")) == encode_failure(failure)


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind.value.startswith("upstream_")])
def test_nothing_of_the_operators_is_the_clients_fault(kind: FailureKind) -> None:
    if kind is not FailureKind.UPSTREAM_REJECTED:
        assert FAILURES[kind].status not in (400, 401, 403, 404)


# --- any answer


@given(
    st.sampled_from(DIALECTS),
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(["retry-after", "Retry-After-Ms", "x-should-retry", "request-id"]), texts
    ),
    st.binary(max_size=50)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(
        st.sampled_from(["error", "detail", "message", "type", "request_id"]),
        json_values
        | st.dictionaries(
            st.sampled_from(["message", "type", "code", "param", "details", "status"]), json_values
        ),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_any_answer_becomes_a_failure(
    dialect: Any, status: int, headers: dict[str, str], body: bytes
) -> None:
    failure = decode(dialect, status, body, headers)
    encoded = encode_failure(failure)
    assert isinstance(encoded["error"]["message"], str)
    assert encoded["error"].keys() >= {"message", "type", "param", "code"}
    assert 400 <= failure.status <= 599
    assert failure.upstream_status == status
    assert encode_stream_failure(failure).endswith(b"\n\n")
    assert all(
        value.isascii() and value.isprintable()
        for name, value in encode_failure_headers(failure).items()
        if name != "x-upstream-request-id"
    )


@given(st.sampled_from(DIALECTS), st.integers(400, 599), texts, texts, json_objects)
def test_no_answer_hands_out_the_key(
    dialect: Any, status: int, before: str, after: str, extra: dict[str, Any]
) -> None:
    text = before + SECRET + after
    body = {"error": {**extra, "message": text, "type": "x", "raw": [{"a": text}]}, "detail": text}
    failure = decode(dialect, status, body)
    assert SECRET not in json.dumps(encode_failure(failure))
    assert SECRET not in failure.message + repr(failure) + (failure.upstream_message or "")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (200, FailureKind.UPSTREAM_INVALID_RESPONSE, 502),
        (302, FailureKind.UPSTREAM_INVALID_RESPONSE, 502),
        (400, FailureKind.UPSTREAM_REJECTED, 400),
        (401, FailureKind.UPSTREAM_AUTHENTICATION, 502),
        (402, FailureKind.UPSTREAM_QUOTA, 429),
        (403, FailureKind.UPSTREAM_PERMISSION, 502),
        (404, FailureKind.NOT_FOUND, 404),
        (405, FailureKind.UPSTREAM_REJECTED, 400),
        (408, FailureKind.UPSTREAM_TIMEOUT, 504),
        (409, FailureKind.CONFLICT, 409),
        (413, FailureKind.REQUEST_TOO_LARGE, 413),
        (429, FailureKind.UPSTREAM_RATE_LIMITED, 429),
        (500, FailureKind.UPSTREAM_ERROR, 500),
        (502, FailureKind.UPSTREAM_UNAVAILABLE, 502),
        (503, FailureKind.UPSTREAM_UNAVAILABLE, 502),
        (504, FailureKind.UPSTREAM_TIMEOUT, 504),
        (524, FailureKind.UPSTREAM_UNAVAILABLE, 502),
        (529, FailureKind.UPSTREAM_OVERLOADED, 503),
        (599, FailureKind.UPSTREAM_ERROR, 500),
    ],
)
def test_an_answer_without_words_is_judged_by_its_status(
    dialect: Any, status: int, kind: FailureKind, told: int
) -> None:
    failure = decode(dialect, status, b"<html>secret internals</html>")
    assert (failure.kind, failure.status) == (kind, told)
    assert "internals" not in failure.message
    assert failure.message


# --- headers


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "12"}, 12.0),
        ({"Retry-After": " 1.5 "}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": formatdate(NOW + 60, usegmt=True)}, 60.0),
        ({"retry-after": formatdate(NOW - 60, usegmt=True)}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": "Tue, 99 Nov 2023 22:13:50 GMT"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_retry_after_is_read_in_all_its_forms(
    dialect: Any, headers: dict[str, str], seconds: float | None
) -> None:
    assert decode(dialect, 429, b"", headers).retry_after == seconds


def test_retry_after_is_written_in_whole_seconds_and_never_as_zero() -> None:
    def header(seconds: float | None) -> str | None:
        failure = Failure(FailureKind.RATE_LIMITED, "m", retry_after=seconds)
        return encode_failure_headers(failure).get("retry-after")

    assert [header(seconds) for seconds in (None, 0, 0.1, 1.0, 1.2, 300)] == [
        None,
        None,
        "1",
        "1",
        "2",
        "300",
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("status", "advice", "copied"),
    [
        (400, "false", False),
        (400, "TRUE", True),
        (400, "maybe", None),
        (401, "true", False),
        (529, "false", None),
    ],
)
def test_advice_to_retry_is_copied_unless_the_status_changed(
    dialect: Any, status: int, advice: str, copied: bool | None
) -> None:
    assert decode(dialect, status, b"", {"x-should-retry": advice}).should_retry is copied


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_upstreams_request_id_is_kept(dialect: Any) -> None:
    assert decode(dialect, 500, b"", {"X-Request-Id": "abc"}).upstream_request_id == "abc"
    assert (
        encode_failure_headers(decode(dialect, 500, b"", {"request-id": "r"}))["x-upstream-request-id"] == "r"
    )


def test_anthropics_request_id_also_stands_in_the_body() -> None:
    assert decode(anthropic, 500, anthropic_error("m")).upstream_request_id == "req_body"
    assert decode(anthropic, 500, anthropic_error("m"), {"request-id": "h"}).upstream_request_id == "h"


# --- what a provider's content rules refuse


@pytest.mark.parametrize("code", ["content_filter", "content_policy_violation", "invalid_prompt"])
def test_a_refusal_of_openai_s_keeps_its_own_code(code: str) -> None:
    error = {"message": "no", "type": "invalid_request_error", "param": None, "code": code}
    failure = decode(openai, 400, {"error": error})
    assert (failure.kind, failure.status, failure.code) == (FailureKind.CONTENT_REFUSED, 400, code)
    reported = openai.decode_reported_failure({"error": error}, model="m")
    assert reported.kind is FailureKind.CONTENT_REFUSED


def test_a_refusal_of_anthropic_s_gets_openai_s_code() -> None:
    failure = decode(anthropic, 400, anthropic_error("Output blocked by content filtering policy"))
    assert (failure.kind, failure.code) == (FailureKind.CONTENT_REFUSED, "content_filter")


# --- Anthropic's words


@pytest.mark.parametrize(
    "message",
    [
        "prompt is too long: 210000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length",
    ],
)
def test_an_overlong_prompt_is_told_apart(message: str) -> None:
    failure = decode(anthropic, 400, anthropic_error(message))
    assert (failure.kind, failure.code, failure.param) == (
        FailureKind.CONTEXT_LENGTH_EXCEEDED,
        "context_length_exceeded",
        "messages",
    )


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, anthropic_error("Your credit balance is too low to access the Anthropic API.")),
        (
            400,
            anthropic_error(
                "You have reached your specified API usage limits. You will regain access later."
            ),
        ),
        (402, anthropic_error("Pay.", "billing_error")),
        (
            429,
            anthropic_error("x", "rate_limit_error", details={"error_code": "contract_spend_limit_reached"}),
        ),
        (
            403,
            anthropic_error(
                "x", "permission_error", details={"error_code": "linked_organization_billing_unavailable"}
            ),
        ),
    ],
)
def test_spent_money_is_a_quota_that_is_not_retried(status: int, body: dict[str, Any]) -> None:
    failure = decode(anthropic, status, body)
    assert (failure.kind, failure.status, failure.should_retry) == (FailureKind.UPSTREAM_QUOTA, 429, False)


def test_a_rate_limit_that_passes_is_no_quota() -> None:
    body = anthropic_error("x", "rate_limit_error", details={"error_code": "ramp_limit_exceeded"})
    assert decode(anthropic, 429, body).kind is FailureKind.UPSTREAM_RATE_LIMITED


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("messages.0.content.1: bad", "messages"),
        ("system: bad", "messages"),
        ("stop_sequences: each stop sequence must contain non-whitespace", "stop"),
        ("max_tokens: 9000 > 8192", "max_tokens"),
        ("tools.0.custom.input_schema: bad", "tools"),
        ("`temperature` and `top_p` cannot both be specified", None),
        ("Something: else", None),
    ],
)
def test_the_place_is_named_in_the_clients_words(message: str, param: str | None) -> None:
    assert decode(anthropic, 400, anthropic_error(message)).param == param


def test_an_unknown_model_is_named_as_the_client_named_it() -> None:
    failure = decode(anthropic, 404, anthropic_error("model: claude-3-opus-20240229", "not_found_error"))
    assert failure.kind is FailureKind.MODEL_NOT_FOUND
    assert "`alias`" in failure.message
    assert failure.upstream_message == "model: claude-3-opus-20240229"
    other = decode(anthropic, 404, anthropic_error("File file_1 not found", "not_found_error"))
    assert (other.kind, other.code) == (FailureKind.NOT_FOUND, None)


@pytest.mark.parametrize(
    ("message", "is_signature"),
    [
        ("messages.1.content.0: Invalid `signature` in `thinking` block", True),
        ("messages.1.content.0: Invalid signature in thinking block. Try again", True),
        ("messages.1.content.0: Invalid `data` in `redacted_thinking` block", True),
        (
            "messages.3.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified.",
            True,
        ),
        ("messages.1.content.0: text content blocks must be non-empty", False),
    ],
)
def test_thinking_that_is_refused_is_recognised(message: str, is_signature: bool) -> None:
    assert is_invalid_signature(decode(anthropic, 400, anthropic_error(message))) is is_signature
    assert not is_invalid_signature(decode(anthropic, 500, anthropic_error(message, "api_error")))


def test_the_log_gets_the_words_that_the_client_does_not() -> None:
    failure = decode(anthropic, 401, anthropic_error(f"invalid x-api-key {SECRET}", "authentication_error"))
    assert failure.upstream_message == "invalid x-api-key [redacted]"
    assert "x-api-key" not in failure.message


# --- OpenAI's words


def test_a_relayed_error_is_filled_and_leaves_the_original_alone() -> None:
    body = {"error": {"message": "m"}, "x": 1}
    failure = Failure(FailureKind.UPSTREAM_REJECTED, "m", body=body)
    assert encode_failure(failure) == {
        "error": {"message": "m", "type": None, "param": None, "code": None},
        "x": 1,
    }
    assert body == {"error": {"message": "m"}, "x": 1}


@pytest.mark.parametrize(
    ("status", "error", "kind", "told"),
    [
        (400, {"code": "context_length_exceeded"}, FailureKind.CONTEXT_LENGTH_EXCEEDED, 400),
        (404, {"code": "model_not_found"}, FailureKind.MODEL_NOT_FOUND, 404),
        (404, {"code": None}, FailureKind.NOT_FOUND, 404),
        (408, {}, FailureKind.UPSTREAM_TIMEOUT, 408),
        (415, {}, FailureKind.UPSTREAM_REJECTED, 415),
        (429, {"type": "insufficient_quota"}, FailureKind.UPSTREAM_QUOTA, 429),
        (429, {"type": "requests", "code": "rate_limit_exceeded"}, FailureKind.UPSTREAM_RATE_LIMITED, 429),
        (500, {"code": "model_not_found"}, FailureKind.UPSTREAM_ERROR, 500),
        (503, {"type": "server_error"}, FailureKind.UPSTREAM_OVERLOADED, 503),
        (529, {}, FailureKind.UPSTREAM_OVERLOADED, 503),
        (403, {"code": "model_not_found"}, FailureKind.MODEL_NOT_FOUND, 404),
    ],
)
def test_an_openai_error_keeps_its_status(
    status: int, error: dict[str, Any], kind: FailureKind, told: int
) -> None:
    failure = decode(openai, status, {"error": {"message": "m", **error}})
    assert (failure.kind, failure.status) == (kind, told)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"detail": "Not here"}, "Not here"),
        ({"detail": [{"msg": "a"}, {"loc": 1}, {"msg": "b"}]}, "a; b"),
        ({"error": "broken"}, "broken"),
        ({"message": "broken", "code": 1}, "broken"),
        ({"error": {"message": {"x": 1}}}, "The upstream provider answered with status 418."),
        ([], "The upstream provider answered with status 418."),
    ],
)
def test_words_in_another_shape_are_put_into_openais(body: Any, message: str) -> None:
    failure = decode(openai, 418, body)
    assert encode_failure(failure) == {
        "error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    }
    assert failure.status == 400


def test_an_unknown_model_keeps_the_sentence_that_names_the_clients() -> None:
    text = "The model `alias` needs a verified organisation."
    assert decode(openai, 404, {"error": {"message": text, "code": "model_not_found"}}).message == text


# --- keys in texts


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-****q7Zx.",
        "sk-ant-api03-abcDEF_123",
        "gsk_abcdef123",
        "key-1234567890",
        "Bearer abc.def-12345",
        "AIzaSyA-1234567890",
        "org-abc123XYZ in proj_abc123XYZ",
    ],
)
def test_what_looks_like_a_key_goes(text: str) -> None:
    assert "[redacted]" in scrub(text)
    assert not any(
        part in scrub(text) for part in ("q7Zx", "api03", "abcdef123", "1234567890", "12345", "abc123XYZ")
    )


@pytest.mark.parametrize(
    "text", ["a key-value pair", "task-based work", "the x-api-key header", "risk-averse", "**bold**"]
)
def test_words_stay(text: str) -> None:
    assert scrub(text) == text


def test_every_known_secret_goes() -> None:
    assert scrub("a hunter2 b hunter3", ["hunter2", "", "hunter3"]) == "a [redacted] b [redacted]"
