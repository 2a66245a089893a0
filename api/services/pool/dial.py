"""From a host name to a connected socket: lookups, and happy eyeballs over their addresses."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any, Final, NamedTuple

_REMEMBERED_SECONDS: Final = 30.0
_HEAD_START: Final = 0.25
"""How long an address has for itself: https://www.rfc-editor.org/rfc/rfc8305#section-8"""


class Address(NamedTuple):
    family: int
    sockaddr: tuple[Any, ...]

    @property
    def ip(self) -> str:
        return str(self.sockaddr[0])


class Resolver:
    """Looks names up in the loop's threads: one lookup at a time for a name, remembered for a while."""

    def __init__(self) -> None:
        self._lookups: dict[tuple[str, int], tuple[float, asyncio.Task[list[Address]]]] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """At least one address, in the order in which to try them. Raises OSError."""
        if is_address(host):
            return [Address(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port))]
        loop = asyncio.get_running_loop()
        began, lookup = self._lookups.get((host, port), (0.0, None))
        if lookup is None or (lookup.done() and loop.time() - began > _REMEMBERED_SECONDS):
            lookup = loop.create_task(_look_up(host, port))
            self._lookups[host, port] = (loop.time(), lookup)
            lookup.add_done_callback(lambda task: self._forget_failure(host, port, task))
        # Shielded, since others may wait for the same lookup.
        return await asyncio.shield(lookup)

    def _forget_failure(self, host: str, port: int, lookup: asyncio.Task[list[Address]]) -> None:
        if lookup.cancelled() or lookup.exception() is not None:
            self._lookups.pop((host, port), None)

    def close(self) -> None:
        for _, lookup in list(self._lookups.values()):
            lookup.cancel()


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _look_up(host: str, port: int) -> list[Address]:
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )
    addresses = [Address(family, sockaddr) for family, _, _, _, sockaddr in found]
    first = [address for address in addresses if address.family == addresses[0].family]
    other = [address for address in addresses if address.family != addresses[0].family]
    return [address for address in chain(*zip_longest(first, other)) if address is not None]


async def dial(addresses: Sequence[Address]) -> socket.socket:
    """A socket connected to whichever address answers first. Raises the first address's OSError."""
    if len(addresses) == 1:
        return await _connect(addresses[0])
    waiting = list(addresses)
    attempts: list[asyncio.Task[socket.socket]] = []
    pending: set[asyncio.Task[socket.socket]] = set()
    winner: asyncio.Task[socket.socket] | None = None
    try:
        while winner is None and (waiting or pending):
            if waiting:
                attempts.append(asyncio.create_task(_connect(waiting.pop(0))))
                pending.add(attempts[-1])
            done, pending = await asyncio.wait(
                pending, timeout=_HEAD_START if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            winner = next((task for task in done if task.exception() is None), None)
        return (winner or attempts[0]).result()
    finally:
        for task in attempts:
            if task is not winner:
                task.cancel()
                task.add_done_callback(_close_late)


def _close_late(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connect(address: Address) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock
