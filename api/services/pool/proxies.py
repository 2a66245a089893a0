"""Which proxy the environment names for an origin."""

from __future__ import annotations

import base64
import urllib.request
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from api.services.wire_failures import Trouble


class Proxy(NamedTuple):
    """`authorization` holds a secret: never log it."""

    scheme: str
    host: str
    port: int
    authorization: str

    def __repr__(self) -> str:
        return f"Proxy({self.scheme}, {self.host}, {self.port})"


def proxy_from_environment(origin: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name for `origin`, or None."""
    parts = urlsplit(origin)
    if not parts.hostname or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    # `proxy.example:3128` is a widespread habit.
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def parse_proxy(url: str) -> Proxy:
    """Raises a Failure where `url` is no proxy that speaks HTTP."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise Trouble.INVALID_PROXY.failure() from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Trouble.INVALID_PROXY.failure()
    return Proxy(parts.scheme, parts.hostname, port, basic_authorization(parts.username, parts.password))


def basic_authorization(username: str | None, password: str | None) -> str:
    """What a URL's user and password are as an Authorization header; "" without a user."""
    if username is None:
        return ""
    credentials = f"{unquote(username)}:{unquote(password or '')}"
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"
