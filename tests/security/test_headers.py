"""Headers pass by allow-list, both ways."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from tests.api.http import Stream, chat, request, say
from tests.fake_upstream import Answer, FakeUpstream, Json, RecordedRequest, WithHeaders
from tests.live_server import LiveServer
from tests.security.conftest import ANTHROPIC_KEY, OPENAI_KEY
from tests.security.raw_client import RawClient, chat_bytes

MODELS = ("gpt-4o-mini", "claude-sonnet-4")

FROM_UPSTREAM = {
    "set-cookie": "__cf_bm=planted",
    "set-cookie2": "planted",
    "server": "planted",
    "via": "1.1 planted",
    "x-powered-by": "planted",
    "cf-ray": "planted",
    "cf-cache-status": "planted",
    "alt-svc": "planted",
    "openai-organization": "planted",
    "openai-project": "planted",
    "anthropic-organization-id": "planted",
    "anthropic-workspace-id": "planted",
    "strict-transport-security": "max-age=planted",
    "content-security-policy": "planted",
    "access-control-allow-origin": "https://planted.test",
    "access-control-expose-headers": "planted",
    "location": "https://planted.test/",
    "refresh": "0; url=planted",
    "link": "<planted>",
    "authorization": "Bearer planted",
    "x-api-key": "planted",
    "www-authenticate": "planted",
    "proxy-authenticate": "planted",
    "proxy-authorization": "planted",
    "x-patchbay-model": "planted",
    "x-patchbay-upstream": "planted",
    "x-patchbay-anything": "planted",
    "x-ratelimit-remaining-requests": "planted",
    "anthropic-ratelimit-requests-remaining": "planted",
    "trailer": "planted",
    "upgrade": "planted",
    "keep-alive": "timeout=planted",
    "x-unheard-of": "planted",
    "retry-after": "7",
    "x-request-id": "upstream-id-1",
    "request-id": "upstream-id-1",
}

TO_CLIENT = frozenset(
    {
        # HTTP's own.
        "content-type",
        "content-length",
        "transfer-encoding",
        "connection",
        "date",
        "cache-control",
        "x-accel-buffering",
        "www-authenticate",
        # Ours and OpenAI's.
        "x-request-id",
        "x-upstream-request-id",
        "x-patchbay-model",
        "x-patchbay-upstream",
        "x-patchbay-attempts",
        "x-patchbay-overhead-ms",
        "x-patchbay-config",
        "x-patchbay-ignored",
        "retry-after",
        "retry-after-ms",
        "x-should-retry",
        "openai-processing-ms",
        "openai-version",
        "x-ratelimit-limit-requests",
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-requests",
        "x-ratelimit-reset-tokens",
    }
)
"""All that a client may ever get."""


def _check(headers: Mapping[str, str]) -> None:
    assert set(headers) <= TO_CLIENT
    assert "planted" not in str(headers)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500, 503, 529])
def test_clients_get_listed_headers_only(
    server: LiveServer, upstream: FakeUpstream, model: str, status: int
) -> None:
    answers = Answer() if status == 200 else Json(status, {"error": {"message": "No.", "type": "x"}})
    upstream.always(answers + WithHeaders(FROM_UPSTREAM))
    answer = chat(server.url, say(model))
    _check(answer.headers)
    assert answer.headers["x-upstream-request-id"] == "upstream-id-1"
    assert answer.headers["x-request-id"] != "upstream-id-1"
    with Stream(server.url, say(model, stream=True)) as stream:
        _check(stream.headers)


@pytest.mark.parametrize("path", ["/api/v1/models", "/api/v1/models/gpt-4o", "/healthz", "/readyz", "/v1/x"])
def test_what_we_say_ourselves_has_listed_headers_only(server: LiveServer, path: str) -> None:
    _check(request(server.url, path).headers)


FROM_CLIENT = {
    "cookie": "session=planted",
    "x-api-key": "planted",
    "api-key": "planted",
    "openai-organization": "org-planted",
    "openai-project": "proj_planted",
    "anthropic-version": "planted",
    "x-forwarded-for": "planted",
    "x-forwarded-host": "planted",
    "x-forwarded-proto": "planted",
    "x-real-ip": "planted",
    "forwarded": "for=planted",
    "via": "1.1 planted",
    "referer": "https://planted.test",
    "origin": "https://planted.test",
    "proxy-authorization": "Basic planted",
    "proxy-connection": "planted",
    "te": "planted",
    "expect": "planted",
    "x-original-url": "/planted",
    "x-rewrite-url": "/planted",
    "x-http-method-override": "PLANTED",
    "x-stainless-lang": "planted",
    "accept-encoding": "planted",
    "accept": "planted/planted",
    "user-agent": "planted",
    "content-encoding": "planted",
    "x-unheard-of": "planted",
    "host": "planted.test",
}

TO_UPSTREAM = frozenset(
    {
        "host",
        "content-type",
        "content-length",
        "accept",
        "accept-encoding",
        "user-agent",
        "authorization",
        "x-api-key",
        "anthropic-version",
        "anthropic-beta",
        "openai-beta",
        "idempotency-key",
        "x-client-request-id",
        "traceparent",
        "tracestate",
        "connection",
    }
)
"""All that an upstream may ever get, unless its operator adds some."""


def _check_upstream(request: RecordedRequest) -> None:
    names = [name.lower() for name, _ in request.headers]
    assert set(names) <= TO_UPSTREAM
    assert len(names) == len(set(names)), "a header went up twice"
    assert "planted" not in str(request.headers)
    key = request.header("authorization") or request.header("x-api-key")
    assert key in {f"Bearer {OPENAI_KEY}", ANTHROPIC_KEY}


@pytest.mark.parametrize("model", MODELS)
def test_upstreams_get_listed_headers_only(server: LiveServer, upstream: FakeUpstream, model: str) -> None:
    assert chat(server.url, say(model), headers=FROM_CLIENT).status == 200
    assert chat(server.url, say(model, stream=True), headers=FROM_CLIENT).status == 200
    assert len(upstream.requests) == 2
    for seen in upstream.requests:
        _check_upstream(seen)


@pytest.mark.parametrize(
    "lines",
    [
        ("Authorization: Bearer planted-too",),
        ("AUTHORIZATION: Bearer planted-too", "authorization: Bearer planted-three"),
        ("host: planted.test",),
        ("connection: authorization, x-api-key",),
        ("x-forwarded-host: planted.test", "x-forwarded-host: planted.test"),
        ("authorization : Bearer planted",),
        ("traceparent: 00-ok", "traceparent: planted\tx"),
        ("content_length: 0",),
        ("x_api_key: planted",),
    ],
)
def test_header_tricks_change_nothing_upstream(
    server: LiveServer, upstream: FakeUpstream, lines: tuple[str, ...]
) -> None:
    """Twice, in other spellings, named as hop-by-hop: refused, or sent up as if they were not there."""
    with RawClient(server) as client:
        client.send(chat_bytes(*lines, "connection: close"))
        said = client.read_all()
    assert said.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400", b"HTTP/1.1 401")), said
    for seen in upstream.requests:
        assert seen.header("host") == f"127.0.0.1:{upstream.port}"
        assert seen.header("authorization") == f"Bearer {OPENAI_KEY}"
        assert seen.header("x-api-key") is None
        assert json.loads(seen.body)["model"] == "gpt-4o-mini"
