"""What the product's pure functions make of a golden case: for the tests, and to rewrite expectations with."""

from __future__ import annotations

import json
from typing import Any

from api.services.translation.capabilities import find_capabilities
from api.services.translation.conversation import JsonObject
from api.services.translation.dialects.anthropic_messages import failures as anthropic_failures
from api.services.translation.dialects.anthropic_messages.replies import decode_reply
from api.services.translation.dialects.anthropic_messages.requests import (
    EncodedRequest,
    Target,
    encode_request,
)
from api.services.translation.dialects.anthropic_messages.stream import StreamDecoder
from api.services.translation.dialects.openai_chat import failures as openai_failures
from api.services.translation.dialects.openai_chat.failures import encode_failure, encode_failure_headers
from api.services.translation.dialects.openai_chat.relay import StreamRelay
from api.services.translation.dialects.openai_chat.replies import ReplyContext, encode_reply, relay_reply
from api.services.translation.dialects.openai_chat.requests import (
    Relayed,
    check_relay,
    decode_request,
    relay_request,
)
from api.services.translation.dialects.openai_chat.stream import StreamEncoder
from api.services.translation.failures import Failure
from api.services.translation.quirks import NO_QUIRKS
from api.services.translation.streams import StreamTranslator, TranslatedStream
from tests.golden_cases import GoldenCase

CREATED = 1700000000
UPSTREAM_ID = "gpt-5-mini"
SECRETS = ("test-upstream-key",)


def target_for(model: str, *, is_strict: bool = False, **switches: bool) -> Target:
    return Target(upstream_id=model, capabilities=find_capabilities(model), is_strict=is_strict, **switches)


def target_of(case: GoldenCase, *, is_strict: bool = False) -> Target:
    """The model that the expected body names, else the one that the client asked for."""
    source = "upstream_request.json" if case.has("upstream_request.json") else "request.json"
    switches = dict.fromkeys(case.switches, True)
    return target_for(case.read_json(source)["model"], is_strict=is_strict, **switches)


def encoded_request(case: GoldenCase, *, is_strict: bool = False) -> EncodedRequest:
    """
    Raises:
        Failure: the request is refused.
    """
    return encode_request(
        decode_request(case.read_json("request.json")), target_of(case, is_strict=is_strict)
    )


def relayed_request(case: GoldenCase) -> Relayed:
    body = case.read_json("request.json")
    check_relay(body)
    return relay_request(body, upstream_id=UPSTREAM_ID, quirks=NO_QUIRKS, wants_usage=True)


def context_of(case: GoldenCase) -> ReplyContext:
    return ReplyContext(
        model=case.model,
        created=CREATED,
        uses_legacy_functions=case.request_has == "functions",
        custom_tools=frozenset({"shell"}) if case.request_has == "custom tool" else frozenset(),
        includes_usage=case.include_usage,
    )


def reply(case: GoldenCase) -> JsonObject:
    return encode_reply(decode_reply(case.read_json("upstream_reply.json")), context_of(case))


def relayed_reply(case: GoldenCase) -> bytes:
    given = case.read_bytes("upstream_reply.json")
    return relay_reply(given, model=case.model, upstream_id=UPSTREAM_ID, secrets=SECRETS).body


def open_stream(case: GoldenCase) -> StreamTranslator:
    if case.upstream == "openai_chat":
        return StreamRelay(case.model, case.include_usage, UPSTREAM_ID, SECRETS)
    return TranslatedStream(StreamDecoder(SECRETS), StreamEncoder(context_of(case)))


def upstream_failure(case: GoldenCase) -> Failure:
    """What an upstream's error means."""
    given = case.read_json("upstream_error.json")
    body = given["body"]
    decode = (openai_failures if case.upstream == "openai_chat" else anthropic_failures).decode_failure
    failure: Failure = decode(
        given["status"],
        given["headers"],
        body.encode() if isinstance(body, str) else json.dumps(body).encode(),
        model=case.model,
        secrets=SECRETS,
        now=CREATED,
    )
    return failure


def answer_of(failure: Failure, expected: dict[str, Any]) -> dict[str, Any]:
    """The client's answer, with those headers that the case looks at."""
    headers = encode_failure_headers(failure)
    looked_at = expected.get("headers")
    seen = {} if looked_at is None else {"headers": {name: headers.get(name) for name in looked_at}}
    return {"status": failure.status, "body": encode_failure(failure), **seen}
