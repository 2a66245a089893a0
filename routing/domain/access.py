"""Who may use the API without one of our keys: a mode that is set, or that follows from where we listen."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class AccessMode(StrEnum):
    """ANY_BEARER: any token passes. ISSUED_KEYS: only keys that an operator issued."""

    ANY_BEARER = "any_bearer"
    ISSUED_KEYS = "issued_keys"


@dataclass(frozen=True, slots=True)
class Access:
    """The mode in force.

    `is_local_only`: nobody set the mode, and any token passes because only this machine
    can reach us. A request that came through a proxy, or under another host's name, shows
    that somebody else can, and needs a key all the same.
    """

    mode: AccessMode
    is_local_only: bool = False

    def accepts_any_token(self, *, host: str, is_forwarded: bool) -> bool:
        """`host` is the request's Host header, `is_forwarded` whether it names a proxy on its way."""
        if self.mode is AccessMode.ISSUED_KEYS:
            return False
        return not self.is_local_only or (not is_forwarded and is_loopback_host(host))


def choose_access(*, setting: str, is_production: bool, bound_host: str) -> Access:
    """The mode that was set; else any token on a development machine's loopback address, and keys elsewhere.

    `bound_host` is the address that our own launcher listens on; empty where another
    server was started, of which we cannot know.
    """
    if setting:
        return Access(AccessMode(setting))
    if not is_production and bound_host and is_loopback_host(bound_host):
        return Access(AccessMode.ANY_BEARER, is_local_only=True)
    return Access(AccessMode.ISSUED_KEYS)


_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback_host(host: str) -> bool:
    """Whether a host name, with or without a port, is this machine's own."""
    name = host.strip().lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    if name in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
