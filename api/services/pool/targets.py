"""A URL and its headers, as the bytes that open a request.

Owns what goes before the body; a line break in a header or a URL ends here, as a
failure, and never reaches a socket.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from api.services.pool.proxies import Proxy, basic_authorization, parse_proxy, proxy_from_environment
from api.services.wire import SharedHeaders
from api.services.wire_failures import Trouble

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_UNSAFE_IN_URL: Final = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_UNSAFE_IN_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Framing belongs to the connection: a caller's own word on it is left out."""


class Origin(NamedTuple):
    """Connections to equal origins are interchangeable. A tuple, because every request hashes it.

    `allows_private` is part of it: a connection that one provider may have need not be
    one that another may.
    """

    scheme: str
    host: str
    port: int
    proxy: Proxy | None
    allows_private: bool = False

    @property
    def authority(self) -> str:
        """Host and port, as they stand in CONNECT."""
        return f"{_bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads, and the part of the head that is the same for every request to it."""

    origin: Origin
    opening: str = field(repr=False)
    authorization: str = field(repr=False)
    """From the URL's user and password, for requests that bring no Authorization of their own."""


def parse_target(url: str, *, allows_private: bool = False) -> Target:
    """Read `url`, and which proxy leads there.

    Raises:
        Failure: it is no address of an HTTP server.
    """
    # urlsplit would silently drop line breaks and tabs.
    if _UNSAFE_IN_URL.search(url):
        raise Trouble.INVALID_ADDRESS.failure()
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
        host = (parts.hostname or "").encode("idna").decode()
    except (ValueError, KeyError):
        raise Trouble.INVALID_ADDRESS.failure() from None
    if not host:
        raise Trouble.INVALID_ADDRESS.failure()
    name = _bracketed(host) if port == _DEFAULT_PORTS[parts.scheme] else f"{_bracketed(host)}:{port}"
    proxy_url = proxy_from_environment(f"{parts.scheme}://{_bracketed(host)}:{port}")
    proxy = parse_proxy(proxy_url) if proxy_url else None
    path = quote(parts.path or "/", safe="/%:=&?~#+!$,;'@()*[]")
    if parts.query:
        path += "?" + quote(parts.query, safe="/%:=&?~+!$,;'@()*[]")
    lines = ["", f"host: {name}", "accept-encoding: identity"]
    if proxy is not None and parts.scheme == "http":
        path = f"http://{name}{path}"
        if proxy.authorization:
            lines.append(f"proxy-authorization: {proxy.authorization}")
    lines[0] = f"POST {path} HTTP/1.1"
    return Target(
        Origin(parts.scheme, host, port, proxy, allows_private),
        "\r\n".join(lines),
        basic_authorization(parts.username, parts.password),
    )


def encode_head(target: Target, headers: Mapping[str, str], length: int, method: str = "POST") -> bytes:
    """The request's head for a body of `length` bytes.

    Raises:
        Failure: a header's name or value would break out of its line.
    """
    if type(headers) is not SharedHeaders or method != "POST":
        opening = _encode_opening(target, headers, method)
    else:
        kept = headers.kept
        if kept is None or kept[0] is not target:
            kept = headers.kept = target, _encode_opening(target, headers, method)
        opening = kept[1]
    if not length and method != "POST":
        return opening + b"\r\n"
    return opening + b"content-length: %d\r\n\r\n" % length


def _encode_opening(target: Target, headers: Mapping[str, str], method: str) -> bytes:
    """All of the head but the body's length."""
    _check_values(headers)
    lines = [method + target.opening.removeprefix("POST")]
    for name, value in headers.items():
        prefix = _line_prefix(name)
        if prefix:
            lines.append(prefix + value)
    if target.authorization and not any(name.lower() == "authorization" for name in headers):
        lines.append(f"\r\nauthorization: {target.authorization}")
    lines.append("\r\n")
    return "".join(lines).encode()


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises a Failure where a name or a value would break out of its line."""
    _check_values(headers)
    for name in headers:
        _line_prefix(name)


def _check_values(headers: Mapping[str, str]) -> None:
    if _UNSAFE_IN_VALUE.search("".join(headers.values())):
        raise Trouble.INVALID_HEADER.failure()


@lru_cache(maxsize=1024)
def _line_prefix(name: str) -> str:
    """How the header's line begins; "" for one that is the connection's own."""
    if not _NAME.fullmatch(name):
        raise Trouble.INVALID_HEADER.failure()
    return "" if name.lower() in _OURS else f"\r\n{name}: "


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
