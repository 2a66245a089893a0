"""Which proxy in front of us is believed, and what it may say: client address, scheme, host.

Works on the admin's requests only. Headers from anybody else are taken away, so that
nothing further in can believe them by mistake.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_CLAIMS = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_REAL_IP",
    "HTTP_FORWARDED",
)


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks of TRUSTED_PROXIES."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise ImproperlyConfigured(
                f"TRUSTED_PROXIES must list addresses or networks (10.0.0.7, 10.0.0.0/8), not {text!r}."
            ) from None
    return tuple(found)


def find_client(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The address of the client behind trusted proxies: the last one that none of them is.

    Proxies append, so everything left of that address is the client's own claim. A chain
    of nothing but proxies yields its first; an entry that is no address ends the search.
    """
    client = peer
    for entry in reversed(forwarded_for.split(",")):
        if not _is_trusted(client, trusted):
            break
        address = _parse(entry)
        if address is None:
            break
        client = str(address)
    return client


def _parse(text: str) -> Address | None:
    text = text.strip().strip('"')
    if text.startswith("["):  # [2001:db8::1]:4711
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 192.0.2.1:4711
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # ::ffff:192.0.2.1 is what a socket for both families calls 192.0.2.1.
    return getattr(address, "ipv4_mapped", None) or address


def _is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    address = _parse(text)
    return address is not None and any(address in network for network in trusted)


class TrustedProxies:
    """Stands first: sets REMOTE_ADDR and leaves scheme and host to Django, or removes what was claimed."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._trusted: tuple[Network, ...] = settings.TRUSTED_PROXIES

    def __call__(self, request: HttpRequest) -> HttpResponse:
        peer: str = request.META.get("REMOTE_ADDR") or ""
        if self._trusted and _is_trusted(peer, self._trusted):
            request.META["REMOTE_ADDR"] = find_client(
                peer, request.META.get("HTTP_X_FORWARDED_FOR", ""), self._trusted
            )
        else:
            for name in _CLAIMS:
                request.META.pop(name, None)
        return self._get_response(request)
