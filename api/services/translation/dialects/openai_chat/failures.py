"""Errors in OpenAI's shape: read from an upstream, relayed, and written for the client.

Owns what their statuses and codes mean. An upstream's own error object passes through
with its status and its unknown fields, but no text of it with a key in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from api.services.translation.conversation import JsonObject
from api.services.translation.failures import Failure, FailureKind, scrub
from api.services.translation.json_text import dump_json
from api.services.translation.sse import data_frame
from api.services.translation.upstream_responses import (
    ResponseFacts,
    client_message,
    copied_should_retry,
    kind_of_status,
    read_facts,
    read_object,
    unknown_model_message,
)

_KEYS: Final = ("message", "type", "param", "code")

_KIND_OF_CODE: Final[Mapping[str, FailureKind]] = {
    "billing_hard_limit_reached": FailureKind.UPSTREAM_QUOTA,
    "content_filter": FailureKind.CONTENT_REFUSED,
    "content_policy_violation": FailureKind.CONTENT_REFUSED,
    "context_length_exceeded": FailureKind.CONTEXT_LENGTH_EXCEEDED,
    "insufficient_quota": FailureKind.UPSTREAM_QUOTA,
    # "Your prompt was flagged as potentially violating our usage policy."
    "invalid_prompt": FailureKind.CONTENT_REFUSED,
    "model_not_found": FailureKind.MODEL_NOT_FOUND,
}

# Words of errors that come with a good status, in a stream or under a 200.
_STATUS_OF_WORD: Final[Mapping[str, int]] = {
    "authentication_error": 401,
    "content_filter": 400,
    "content_policy_violation": 400,
    "context_length_exceeded": 400,
    "insufficient_quota": 429,
    "invalid_api_key": 401,
    "invalid_prompt": 400,
    "invalid_request_error": 400,
    "model_not_found": 404,
    "overloaded": 503,
    "overloaded_error": 529,
    "permission_error": 403,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "timeout": 504,
}

_OK: Final = 200

# Decisions about the gateway's own account, and 529, which no OpenAI client knows: the
# client gets our status and words instead of the upstream's.
_REMAPPED: Final = frozenset({401, 402, 403, 529})


def decode_failure(
    status: int, headers: Mapping[str, str], body: bytes, *, model: str, secrets: Iterable[str], now: float
) -> Failure:
    """What an answer with an error status means. `model` is the name that the client asked for.

    An OpenAI error object is relayed under its own status; anything else that a server
    may send is put into OpenAI's shape.
    """
    wire = read_object(body)
    return _decode(wire, read_facts(status, headers, now), model, tuple(secrets), status)


def decode_reported_failure(wire: JsonObject, *, model: str, secrets: Iterable[str] = ()) -> Failure:
    """An error that was reported with a good status: a line of a stream, or a 200 with nothing else in it."""
    facts = ResponseFacts(_status_of(wire.get("error")), None, None, None)
    return _decode({"error": wire.get("error")}, facts, model, tuple(secrets), _OK)


def encode_failure(failure: Failure) -> JsonObject:
    """The body of an error: always all four keys, and what else an upstream had to say."""
    if failure.body is not None:
        return _filled(failure.body)
    return {
        "error": {
            "message": failure.message,
            "type": failure.type,
            "param": failure.param,
            "code": failure.code,
        }
    }


def encode_stream_failure(failure: Failure) -> bytes:
    """The last line of a stream that broke: the SDKs raise it. No `[DONE]` follows, since nothing is done."""
    return data_frame(dump_json(encode_failure(failure)))


def encode_failure_headers(failure: Failure) -> dict[str, str]:
    """The headers that go with an error: advice for the client's SDK, the upstream's id for support."""
    headers = dict(failure.headers)
    if failure.retry_after is not None and failure.retry_after > 0:
        headers["retry-after"] = str(math.ceil(failure.retry_after))
    if failure.should_retry is not None:
        headers["x-should-retry"] = "true" if failure.should_retry else "false"
    if failure.upstream_request_id is not None:
        headers["x-upstream-request-id"] = failure.upstream_request_id
    return headers


def _decode(
    wire: JsonObject | None,
    facts: ResponseFacts,
    model: str,
    secrets: tuple[str, ...],
    upstream_status: int,
) -> Failure:
    error = wire.get("error") if wire is not None else None
    text = _message_of(wire)
    message = scrub(text, secrets) if text else None
    kind = _classify(error, facts.status)
    told = client_message(kind, message, facts.status)
    if kind is FailureKind.MODEL_NOT_FOUND and model not in told:
        told = unknown_model_message(model)
    body: JsonObject | None = None
    relayed: JsonObject = {}
    if wire is not None and _is_relayed(error, facts.status):
        body = _filled(_scrubbed(wire, secrets))
        relayed = body["error"]
        relayed["message"] = told
    failure = Failure(
        kind,
        told,
        param=_text(relayed.get("param")),
        code=_text(relayed.get("code")),
        type=_text(relayed.get("type")),
        status=None if body is None else facts.status,
        retry_after=facts.retry_after,
        upstream_status=upstream_status,
        upstream_request_id=facts.request_id,
        upstream_message=message,
        body=body,
    )
    advice = copied_should_retry(facts, failure.status)
    if advice is not None:
        failure.should_retry = advice
    return failure


def _is_relayed(error: Any, status: int) -> bool:
    is_openai = isinstance(error, dict) and isinstance(error.get("message"), str)
    return is_openai and 400 <= status <= 599 and status not in _REMAPPED


def _classify(error: Any, status: int) -> FailureKind:
    if isinstance(error, dict):
        for key in ("code", "type"):
            kind = _KIND_OF_CODE.get(_text(error.get(key)) or "")
            if kind is not None and status in (400, 403, 404, 429):
                return kind
        if status == 503:
            return FailureKind.UPSTREAM_OVERLOADED
    return kind_of_status(status)


def _status_of(error: Any) -> int:
    """The status that an error would have had, by its own words; some servers put the number there."""
    if not isinstance(error, dict):
        return 500
    for key in ("status", "code", "type"):
        word = error.get(key)
        if isinstance(word, str):
            word = int(word) if word.isdecimal() and len(word) == 3 else _STATUS_OF_WORD.get(word)
        if type(word) is int and 400 <= word <= 599:
            return word
    return 500


def _message_of(wire: JsonObject | None) -> str | None:
    """What is said, wherever it is said: compatible servers have shapes of their own."""
    if wire is None:
        return None
    error = wire.get("error")
    candidates = (
        error.get("message") if isinstance(error, dict) else error,
        wire.get("message"),
        _detail_text(wire.get("detail")),
    )
    return next((text for text in candidates if isinstance(text, str) and text), None)


def _detail_text(detail: Any) -> Any:
    """FastAPI's `detail`: a sentence, or a list of what did not fit."""
    if not isinstance(detail, list):
        return detail
    return "; ".join(
        item["msg"] for item in detail if isinstance(item, dict) and isinstance(item.get("msg"), str)
    )


def _scrubbed(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return scrub(value, secrets)
    if isinstance(value, list):
        return [_scrubbed(item, secrets) for item in value]
    if isinstance(value, dict):
        return {scrub(key, secrets): _scrubbed(item, secrets) for key, item in value.items()}
    return value


def _filled(body: JsonObject) -> JsonObject:
    error = body["error"]
    return {**body, "error": {**error, **{key: None for key in _KEYS if key not in error}}}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
