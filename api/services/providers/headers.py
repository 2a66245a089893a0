"""Addresses and headers of upstream calls: what is sent, and what of an answer may pass on.

Both directions are allow-lists. A client's credentials, cookies and address never go
up; an upstream's cookies, organisation and transport headers never come down. Values
with control characters are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from api.services.providers.kinds import AuthStyle, ProviderKind

USER_AGENT: Final = "patchbay"
BETA_HEADER: Final = "anthropic-beta"

_CLIENT_HEADERS: Final = frozenset({"traceparent", "tracestate"})

# The connection's own business, or ours to set, whatever an operator writes.
_NEVER_EXTRA: Final = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

_PASSED_DOWN: Final = frozenset(
    {"retry-after", "retry-after-ms", "x-should-retry", "openai-processing-ms", "openai-version"}
)
_RATE_LIMIT_PREFIX: Final = "x-ratelimit-"
# OpenAI's name and Anthropic's.
_REQUEST_ID: Final = frozenset({"x-request-id", "request-id"})

_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_VERSION: Final = re.compile(r"/v\d+[a-z0-9]*(?:/|\Z)")


class InvalidBaseUrl(ValueError):
    """An operator's base URL that is not one. The text is for the operator."""


def check_base_url(base_url: str) -> None:
    """Raise InvalidBaseUrl for an address that no request could be sent to."""
    try:
        parts = urlsplit(base_url.strip())
        is_address = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or parts.scheme not in ("http", "https"):
        raise InvalidBaseUrl("A base URL starts with https:// or http:// and names a host.")
    if parts.username is not None or parts.password is not None:
        raise InvalidBaseUrl("A base URL holds no user name or password: store the key as a provider key.")
    if parts.fragment:
        raise InvalidBaseUrl("A base URL has no fragment (#).")


def join_url(kind: ProviderKind, base_url: str, path: str | None = None) -> str:
    """The address of an endpoint (by default the kind's own) under an operator's base URL.

    The base may end in a slash, may or may not have the version, and may already be the
    whole address. Anthropic's version is added wherever it is missing, as its SDK does;
    to an OpenAI-compatible base only where it is a bare host, since many such servers
    live under paths of their own.
    """
    path = (path or kind.generate_path).strip("/")
    parts = urlsplit(base_url.strip())
    base = parts.path.rstrip("/")
    if base.endswith(f"/{kind.generate_path}"):
        base = base[: -len(kind.generate_path) - 1]
        is_versioned = True
    elif kind.auth is AuthStyle.X_API_KEY:
        is_versioned = base.endswith("/v1")
    else:
        is_versioned = bool(base)
    version = "" if is_versioned else "/v1"
    return urlunsplit((parts.scheme, parts.netloc, f"{base}{version}/{path}", parts.query, ""))


def request_headers(
    kind: ProviderKind,
    key: str | None,
    *,
    client: Mapping[str, str] | None = None,
    betas: Iterable[str] = (),
    extra: Mapping[str, str] | None = None,
    is_stream: bool = False,
    forwards_betas: bool = True,
) -> dict[str, str]:
    """All headers of a request to an upstream, names in lower case.

    `client` are the client's headers with names in lower case, of which only the listed
    ones go up; `extra` are the operator's, which beat all but the connection's own.
    `betas` are those that the body needs; the operator's come before them and, if
    `forwards_betas`, the client's after.
    """
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if is_stream else "application/json",
        "user-agent": USER_AGENT,
        **kind.fixed_headers,
    }
    if key:
        headers |= _auth(kind.auth, key)
    client = client or {}
    for name in client_header_names(kind):
        value = client.get(name)
        if value and not _UNPRINTABLE.search(value):
            headers[name] = value
    configured = {name.lower().strip(): value for name, value in (extra or {}).items()}
    for name, value in configured.items():
        if name not in _NEVER_EXTRA and not _UNPRINTABLE.search(value):
            headers[name] = value
    if kind.auth is AuthStyle.X_API_KEY:
        asked = client.get(BETA_HEADER, "") if forwards_betas else ""
        merged = merge_betas(configured.get(BETA_HEADER, ""), *betas, asked)
        headers.pop(BETA_HEADER, None)
        if merged:
            headers[BETA_HEADER] = merged
    return headers


def client_header_names(kind: ProviderKind) -> frozenset[str]:
    """The client's headers that go up to such an upstream, betas aside."""
    return _CLIENT_HEADERS | kind.client_headers


def merge_betas(*lists: str) -> str:
    """Comma-separated lists as one, each name once, at its first place."""
    names = (name.strip() for listed in lists for name in listed.split(","))
    return ",".join(dict.fromkeys(name for name in names if name and not _UNPRINTABLE.search(name)))


def reply_headers(upstream: Mapping[str, str], *, passes_rate_limits: bool = False) -> dict[str, str]:
    """What of an upstream's headers the client gets; `upstream` has names in lower case.

    Rate limits are those of the pool that all clients share, so they pass only where
    the operator says so. The upstream's request id gets a name of its own.
    """
    passed: dict[str, str] = {}
    for name, value in upstream.items():
        if _UNPRINTABLE.search(value):
            continue
        if name in _PASSED_DOWN or (passes_rate_limits and name.startswith(_RATE_LIMIT_PREFIX)):
            passed[name] = value
        elif name in _REQUEST_ID:
            passed["x-upstream-request-id"] = value
    return passed


def _auth(style: AuthStyle, key: str) -> dict[str, str]:
    match style:
        case AuthStyle.BEARER:
            return {"authorization": f"Bearer {key}"}
        case AuthStyle.X_API_KEY:
            return {"x-api-key": key}
        case AuthStyle.NONE:
            return {}
