"""Anthropic's errors, read into neutral failures: answers with an error status, and errors in a stream.

Owns what their error types and sentences mean. An error about the gateway's own key or
account is the operator's, and never reaches a client as if it were about its key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from api.services.translation.conversation import JsonObject
from api.services.translation.failures import Failure, FailureKind, scrub
from api.services.translation.upstream_responses import (
    ResponseFacts,
    client_message,
    copied_should_retry,
    kind_of_status,
    read_facts,
    read_object,
    unknown_model_message,
)

_OK: Final = 200

_STATUS_OF_TYPE: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}

_OVERLONG: Final = re.compile(r"prompt is too long|exceeds? (?:the )?context (?:limit|window)", re.IGNORECASE)
_FILTERED: Final = re.compile(r"blocked by content filtering policy", re.IGNORECASE)
_SPENT: Final = re.compile(
    r"credit balance is too low|spend(?:ing)? limit|reached your .*usage limits", re.IGNORECASE
)
_SPENT_CODES: Final = ("spend_limit_reached", "billing_unavailable")
_UNKNOWN_MODEL: Final = re.compile(r"model\b", re.IGNORECASE)
_SIGNATURE: Final = re.compile(
    r"invalid `?(?:signature|data)`? in `?(?:redacted_)?thinking`? block"
    r"|`?thinking`? or `?redacted_thinking`? blocks in the latest assistant message cannot be modified",
    re.IGNORECASE,
)
_FIELD_PATH: Final = re.compile(r"([a-z_]+)(?:\.[\w-]+)*: ")

# The client's word for a field that it sent under another name.
_CLIENT_FIELDS: Final[Mapping[str, str]] = {
    "metadata": "user",
    "output_config": "response_format",
    "stop_sequences": "stop",
    "system": "messages",
    "thinking": "reasoning_effort",
}


def decode_failure(
    status: int, headers: Mapping[str, str], body: bytes, *, model: str, secrets: Iterable[str], now: float
) -> Failure:
    """What an answer with an error status means. `model` is the name that the client asked for.

    Total: the edge answers with HTML, or with nothing at all, and then the status speaks.
    """
    wire = read_object(body) or {}
    facts = read_facts(status, headers, now)
    if facts.request_id is None and isinstance(wire.get("request_id"), str):
        facts = ResponseFacts(status, wire["request_id"], facts.retry_after, facts.should_retry)
    return _decode(wire.get("error"), facts, model, secrets, facts.status)


def decode_reported_failure(wire: JsonObject, secrets: Iterable[str] = ()) -> Failure:
    """An error that was reported with a good status: in the middle of a stream, mostly."""
    error = wire.get("error")
    error_type = error.get("type") if isinstance(error, dict) else None
    status = _STATUS_OF_TYPE.get(error_type, 500) if isinstance(error_type, str) else 500
    request_id = wire.get("request_id")
    facts = ResponseFacts(status, request_id if isinstance(request_id, str) else None, None, None)
    return _decode(error, facts, None, secrets, _OK)


def is_invalid_signature(failure: Failure) -> bool:
    """Whether the upstream refused thinking that was sent back: the same request without it succeeds."""
    is_rejected = failure.kind is FailureKind.UPSTREAM_REJECTED
    return is_rejected and _SIGNATURE.search(failure.upstream_message or "") is not None


def _decode(
    error: Any, facts: ResponseFacts, model: str | None, secrets: Iterable[str], upstream_status: int
) -> Failure:
    error = error if isinstance(error, dict) else {}
    raw_message = error.get("message")
    message = scrub(raw_message, secrets) if isinstance(raw_message, str) else None
    kind = _classify(error, message or "", facts.status)
    param: str | None = None
    told = client_message(kind, message, facts.status)
    if kind is FailureKind.CONTEXT_LENGTH_EXCEEDED:
        param = "messages"
    elif kind is FailureKind.UPSTREAM_REJECTED:
        param = _client_field(message or "")
    elif kind is FailureKind.MODEL_NOT_FOUND and model is not None:
        told = unknown_model_message(model)
    failure = Failure(
        kind,
        told,
        param=param,
        retry_after=facts.retry_after,
        upstream_status=upstream_status,
        upstream_request_id=facts.request_id,
        upstream_message=message,
    )
    advice = copied_should_retry(facts, failure.status)
    if advice is not None:
        failure.should_retry = advice
    return failure


def _classify(error: JsonObject, message: str, status: int) -> FailureKind:
    error_type = error.get("type")
    if isinstance(error_type, str):
        status = _STATUS_OF_TYPE.get(error_type, status)
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    if (isinstance(code, str) and code.endswith(_SPENT_CODES)) or (
        status in (400, 403, 429) and _SPENT.search(message)
    ):
        return FailureKind.UPSTREAM_QUOTA
    if status == 400 and _OVERLONG.search(message):
        return FailureKind.CONTEXT_LENGTH_EXCEEDED
    if status == 400 and _FILTERED.search(message):
        return FailureKind.CONTENT_REFUSED
    if status == 404 and _UNKNOWN_MODEL.match(message):
        return FailureKind.MODEL_NOT_FOUND
    return kind_of_status(status)


def _client_field(message: str) -> str | None:
    match = _FIELD_PATH.match(message)
    return _CLIENT_FIELDS.get(match[1], match[1]) if match else None
