"""Addresses and headers of upstream calls: complete, and without what must not pass."""

from __future__ import annotations

import pytest

from api.services.providers.catalog import KINDS
from api.services.providers.headers import (
    InvalidBaseUrl,
    check_base_url,
    join_url,
    merge_betas,
    reply_headers,
    request_headers,
)
from api.services.providers.kinds import AuthStyle, Dialect
from routing.domain.kinds import KINDS as OFFERED_KINDS

OPENAI = KINDS["openai"]
ANTHROPIC = KINDS["anthropic"]
COMPATIBLE = KINDS["openai_compatible"]


def test_the_catalog() -> None:
    assert set(KINDS) == {"openai", "anthropic", "openai_compatible", "demo"}
    assert all(name == kind.name for name, kind in KINDS.items())
    assert (OPENAI.key_variable, OPENAI.base_url_variable) == ("OPENAI_API_KEY", "OPENAI_BASE_URL")
    assert (ANTHROPIC.key_variable, ANTHROPIC.base_url_variable) == (
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
    )
    assert ANTHROPIC.dialect is Dialect.ANTHROPIC_MESSAGES
    assert COMPATIBLE.default_base_url is None
    assert not COMPATIBLE.needs_key


@pytest.mark.parametrize("name", list(OFFERED_KINDS))
def test_what_an_operator_can_choose_is_in_the_catalog_under_the_same_facts(name: str) -> None:
    offered, kind = OFFERED_KINDS[name], KINDS[name]
    assert (offered.label, offered.key_variable) == (kind.label, kind.key_variable)
    assert offered.base_url_variable == kind.base_url_variable
    assert offered.requires_base_url == (kind.default_base_url is None)


@pytest.mark.parametrize(
    ("name", "base", "url"),
    [
        ("openai", "https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
        ("openai", "https://api.openai.com/v1/", "https://api.openai.com/v1/chat/completions"),
        ("openai", "https://api.openai.com", "https://api.openai.com/v1/chat/completions"),
        ("openai", " http://127.0.0.1:9100/openai/v1 ", "http://127.0.0.1:9100/openai/v1/chat/completions"),
        ("openai_compatible", "http://localhost:11434", "http://localhost:11434/v1/chat/completions"),
        (
            "openai_compatible",
            "https://api.groq.com/openai/v1",
            "https://api.groq.com/openai/v1/chat/completions",
        ),
        (
            "openai_compatible",
            "https://example.com/v1beta/openai/",
            "https://example.com/v1beta/openai/chat/completions",
        ),
        (
            "openai_compatible",
            "https://api.example.com/chat/completions",
            "https://api.example.com/chat/completions",
        ),
        (
            "openai_compatible",
            "https://example.com/openai/deployments/x?api-version=1",
            "https://example.com/openai/deployments/x/chat/completions?api-version=1",
        ),
        ("anthropic", "https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("anthropic", "https://api.anthropic.com/v1", "https://api.anthropic.com/v1/messages"),
        ("anthropic", "https://api.anthropic.com/v1/", "https://api.anthropic.com/v1/messages"),
        ("anthropic", "https://api.anthropic.com/v1/messages", "https://api.anthropic.com/v1/messages"),
        ("anthropic", "http://127.0.0.1:9100/anthropic", "http://127.0.0.1:9100/anthropic/v1/messages"),
        ("anthropic", "http://[::1]:9100", "http://[::1]:9100/v1/messages"),
    ],
)
def test_a_base_url_is_taken_with_and_without_the_version(name: str, base: str, url: str) -> None:
    check_base_url(base)
    assert join_url(KINDS[name], base) == url


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.default_base_url])
def test_a_default_base_url_is_one(name: str) -> None:
    kind = KINDS[name]
    assert kind.default_base_url is not None
    check_base_url(kind.default_base_url)
    assert join_url(kind, kind.default_base_url, "models").endswith("/v1/models")


@pytest.mark.parametrize(
    "base",
    [
        "",
        "api.openai.com",
        "ftp://example.com",
        "https://",
        "https://user:pass@example.com",
        "https://e.com/#x",
        "http://e.com:x",
    ],
)
def test_a_wrong_base_url_is_told_to_the_operator(base: str) -> None:
    with pytest.raises(InvalidBaseUrl):
        check_base_url(base)


def test_openai_s_headers() -> None:
    assert request_headers(OPENAI, "sk-1") == {
        "content-type": "application/json",
        "accept": "application/json",
        "user-agent": "patchbay",
        "authorization": "Bearer sk-1",
    }


def test_anthropic_s_headers() -> None:
    headers = request_headers(ANTHROPIC, "sk-ant-1", betas=("files-api-2025-04-14",), is_stream=True)
    assert headers == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "user-agent": "patchbay",
        "anthropic-version": "2023-06-01",
        "x-api-key": "sk-ant-1",
        "anthropic-beta": "files-api-2025-04-14",
    }


CLIENT = {
    "authorization": "Bearer client-token",
    "x-api-key": "client-key",
    "cookie": "a=b",
    "host": "proxy",
    "content-length": "3",
    "content-type": "text/plain",
    "connection": "keep-alive",
    "transfer-encoding": "chunked",
    "accept-encoding": "br",
    "x-forwarded-for": "10.0.0.1",
    "openai-organization": "org-1",
    "openai-project": "proj_1",
    "x-stainless-lang": "python",
    "openai-beta": "assistants=v2",
    "idempotency-key": "i-1",
    "x-client-request-id": "r-1",
    "traceparent": "00-1-2-01",
    "anthropic-beta": "b, c",
    "anthropic-version": "2026-10-21",
}


def test_of_the_client_s_headers_only_the_listed_ones_go_up() -> None:
    headers = request_headers(OPENAI, "sk-1", client=CLIENT)
    assert headers == request_headers(OPENAI, "sk-1") | {
        "openai-beta": "assistants=v2",
        "idempotency-key": "i-1",
        "x-client-request-id": "r-1",
        "traceparent": "00-1-2-01",
    }
    headers = request_headers(ANTHROPIC, "sk-1", client=CLIENT)
    assert headers == request_headers(ANTHROPIC, "sk-1") | {
        "traceparent": "00-1-2-01",
        "anthropic-beta": "b,c",
    }


def test_a_header_cannot_be_smuggled_in_a_value() -> None:
    client = {"openai-beta": "x\r\nx-evil: 1", "idempotency-key": "a\nb"}
    assert request_headers(OPENAI, None, client=client) == request_headers(OPENAI, None)


def test_a_provider_without_key_gets_no_auth_header() -> None:
    assert "authorization" not in request_headers(COMPATIBLE, None)
    assert KINDS["demo"].auth is AuthStyle.NONE
    assert "authorization" not in request_headers(KINDS["demo"], "sk")


def test_an_operator_s_headers_beat_all_but_the_connection_s_own() -> None:
    extra = {
        "X-Team": "a",
        "User-Agent": "ours",
        "Host": "x",
        "Content-Length": "1",
        "anthropic-version": "2026-10-21",
    }
    headers = request_headers(ANTHROPIC, "k", extra=extra)
    assert (headers["x-team"], headers["user-agent"]) == ("a", "ours")
    assert headers["anthropic-version"] == "2026-10-21"
    assert headers.keys().isdisjoint({"host", "content-length", "Host", "X-Team"})


def test_betas_merge_in_order_and_once() -> None:
    headers = request_headers(
        ANTHROPIC, "k", client={"anthropic-beta": "c,a"}, betas=("b", "a"), extra={"Anthropic-Beta": "z, a"}
    )
    assert headers["anthropic-beta"] == "z,a,b,c"
    headers = request_headers(
        ANTHROPIC, "k", client={"anthropic-beta": "c"}, betas=("b",), forwards_betas=False
    )
    assert headers["anthropic-beta"] == "b"
    assert "anthropic-beta" not in request_headers(OPENAI, "k", client={"anthropic-beta": "c"}, betas=("b",))
    assert merge_betas("", " , ", "a\r\nb") == ""


def test_of_an_upstream_s_headers_only_the_listed_ones_come_down() -> None:
    upstream = {
        "retry-after": "3",
        "retry-after-ms": "3000",
        "x-should-retry": "false",
        "openai-processing-ms": "12",
        "openai-version": "2020-10-01",
        "x-request-id": "req_1",
        "x-ratelimit-remaining-requests": "5",
        "set-cookie": "a=b",
        "cf-ray": "1",
        "openai-organization": "org-1",
        "content-encoding": "gzip",
        "content-length": "3",
        "server": "x",
    }
    passed = reply_headers(upstream)
    assert passed == {
        "retry-after": "3",
        "retry-after-ms": "3000",
        "x-should-retry": "false",
        "openai-processing-ms": "12",
        "openai-version": "2020-10-01",
        "x-upstream-request-id": "req_1",
    }
    assert reply_headers(upstream, passes_rate_limits=True) == passed | {
        "x-ratelimit-remaining-requests": "5"
    }
    assert reply_headers({"request-id": "req_2", "retry-after": "1\r\nx: y"}) == {
        "x-upstream-request-id": "req_2"
    }
