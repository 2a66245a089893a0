"""Which addresses an upstream may have. PURE.

Owns the rules against server-side request forgery: an operator's base URL, or whatever
its name resolves to at the moment of connecting, must not lead to this machine, its
network, or the service that hands out the machine's own credentials. Refuses to look
anything up: it judges addresses, and whoever dials asks it about each of them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from api.services.wire_failures import Trouble


class Reach(IntEnum):
    """How far an address reaches; of several, the highest holds."""

    PUBLIC = 0
    PRIVATE = 1
    """Only from here: loopback, private and shared networks, and all that is not routed globally."""
    NEVER = 2
    """No upstream of anybody: link-local, metadata services, multicast, unspecified, reserved."""


# 169.254.169.254, where most clouds answer, is link-local and needs no line of its own.
_METADATA: Final = frozenset(
    {
        ip_address("100.100.100.200"),  # Alibaba Cloud
        ip_address("168.63.129.16"),  # Azure's wire server, on a public address
        ip_address("192.0.0.192"),  # Oracle Cloud
        ip_address("fd00:ec2::254"),  # AWS: instances,
        ip_address("fd00:ec2::23"),  # and EKS pods
        ip_address("fd20:ce::254"),  # Google Cloud
        ip_address("fd00:42::42"),  # Scaleway
        ip_address("fd00:c1::a9fe:a9fe"),  # Oracle Cloud
    }
)
_THIS_NETWORK: Final = IPv4Network("0.0.0.0/8")

# Ways of writing an IPv4 address as an IPv6 one. The bytes where it stands, from the left.
_EMBEDDING: Final = (
    (IPv6Network("::ffff:0:0/96"), 12),  # mapped
    (IPv6Network("::ffff:0:0:0/96"), 12),  # translated (SIIT)
    (IPv6Network("::/96"), 12),  # compatible, deprecated
    (IPv6Network("64:ff9b::/96"), 12),  # NAT64
    (IPv6Network("64:ff9b:1::/48"), 12),  # NAT64 of a network's own
    (IPv6Network("2002::/16"), 2),  # 6to4
)
_TEREDO: Final = IPv6Network("2001::/32")
_ISATAP: Final = (bytes.fromhex("00005efe"), bytes.fromhex("02005efe"))


def check_address(ip: str, allows_private: bool) -> None:
    """
    Raises:
        Failure: no upstream may have this address, or none without the operator's leave.
    """
    reach = reach_of(ip)
    if reach is Reach.NEVER:
        raise Trouble.FORBIDDEN_ADDRESS.failure()
    if reach is Reach.PRIVATE and not allows_private:
        raise Trouble.PRIVATE_ADDRESS.failure()


@lru_cache(maxsize=1024)
def reach_of(ip: str) -> Reach:
    """Of an address in the form that the system gives it, a zone (`%eth0`) included."""
    try:
        address = ip_address(ip)
    except ValueError:
        return Reach.NEVER
    if isinstance(address, IPv4Address):
        return _reach_of_v4(address)
    embedded = [_reach_of_v4(inner) for inner in _embedded_in(address)]
    return max(_reach_of_v6(address, is_carrier=bool(embedded)), *embedded, Reach.PUBLIC)


def literal_address(host: str) -> str | None:
    """The address that `host` is by itself, without any lookup; None for a name.

    Also the old shorthands, which every resolver still takes for addresses:
    `127.1`, `0x7f000001`, `2130706433`.
    """
    host = host.rstrip(".")
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        return str(IPv4Address(socket.inet_aton(host)))
    except (OSError, ValueError):
        return None


def _reach_of_v4(address: IPv4Address) -> Reach:
    if (
        address in _METADATA
        or address in _THIS_NETWORK
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
    ):
        return Reach.NEVER
    return Reach.PUBLIC if address.is_global else Reach.PRIVATE


def _reach_of_v6(address: IPv6Address, *, is_carrier: bool) -> Reach:
    plain = IPv6Address(int(address))  # without its zone
    if plain in _METADATA or plain.is_unspecified or plain.is_link_local or plain.is_multicast:
        return Reach.NEVER
    if is_carrier:
        return Reach.PUBLIC  # What it carries decides.
    return Reach.PUBLIC if plain.is_global and not plain.is_site_local else Reach.PRIVATE


def _embedded_in(address: IPv6Address) -> Iterator[IPv4Address]:
    """Every IPv4 address that a packet to `address` may end up at."""
    if address.is_loopback or address.is_unspecified:
        return
    packed = address.packed
    for network, start in _EMBEDDING:
        if address in network:
            yield IPv4Address(packed[start : start + 4])
    if address in _TEREDO:
        yield IPv4Address(packed[4:8])
        yield IPv4Address(bytes(byte ^ 0xFF for byte in packed[12:16]))
    if packed[8:12] in _ISATAP:
        yield IPv4Address(packed[12:16])
