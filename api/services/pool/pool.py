"""The transport: which connection serves a request, and when a request goes out again."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from api.services.addresses import check_address
from api.services.pool.connect import CheckAddress, Connector, default_tls
from api.services.pool.connection import Connection
from api.services.pool.inflate import inflated
from api.services.pool.response import Response
from api.services.pool.targets import Origin, Target, encode_head, parse_target
from api.services.wire import Timeouts, WireRequest, WireResponse
from api.services.wire_failures import Trouble

_IDLE_SECONDS: Final = 55.0
"""Below the minute after which many servers and balancers drop an idle connection."""

_MAX_TARGETS: Final = 1024


class PoolTransport:
    """A Transport for the event loop in which it was made.

    `tls` replaces the system's certificates, `check_address` the rules about addresses.
    The environment's proxies are read once per URL.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        check_address: CheckAddress = check_address,
        idle_seconds: float = _IDLE_SECONDS,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._connector = Connector(self, tls or default_tls(), check_address)
        self._idle_seconds = idle_seconds
        # By whether private addresses are allowed, then by URL.
        self._targets: tuple[dict[str, Target], dict[str, Target]] = ({}, {})
        self._open: set[Connection] = set()
        # The connections of an origin in the order in which they fell idle: the last one
        # is taken first, so that those which a lull leaves over grow old at the front.
        self._idle: dict[Origin, dict[Connection, None]] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._all_closed: asyncio.Event | None = None

    async def send(
        self, request: WireRequest, timeouts: Timeouts, seconds: float | None = None
    ) -> WireResponse:
        until = None if seconds is None else self._loop.time() + seconds
        target = self._targets[request.allows_private].get(request.url) or self._read_target(request)
        head = encode_head(target, request.headers, len(request.body), request.method)
        connection = self._take_idle(target.origin)
        if connection is not None:
            response = await connection.exchange(head, request.body, timeouts.headers, until)
            # The upstream closed an idle connection at the moment we took it: nothing was
            # answered on it, so a fresh one gets the same request, once.
            if response.trouble is not Trouble.NO_ANSWER or not response.is_silent:
                return _checked(response)
        async with asyncio.timeout_at(until):
            connection = await self._connector.connect(target.origin, timeouts.connect)
        if self._all_closed is not None:
            connection.abort()
            raise Trouble.UNREACHABLE.failure()
        # Not before: uvloop tells a connection nothing of its end when connecting is called off.
        self._open.add(connection)
        return _checked(await connection.exchange(head, request.body, timeouts.headers, until))

    async def close(self) -> None:
        """Close every connection, busy ones too, and wait until all are gone."""
        self._all_closed = asyncio.Event()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        self._connector.close()
        for connection in list(self._open):
            connection.abort()
        if self._open:
            await self._all_closed.wait()

    def _read_target(self, request: WireRequest) -> Target:
        targets = self._targets[request.allows_private]
        if len(targets) >= _MAX_TARGETS:
            targets.clear()
        target = parse_target(request.url, allows_private=request.allows_private)
        targets[request.url] = target
        return target

    def _take_idle(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection, _ = idle.popitem()
            if connection.is_usable:
                return connection
        return None

    def _sweep(self) -> None:
        """Close what has been idle for too long, and come back when the next one will have been."""
        self._sweep_timer = None
        now = self._loop.time()
        oldest = None
        for origin, idle in list(self._idle.items()):
            for connection in list(idle):
                if connection.idle_since + self._idle_seconds > now:
                    oldest = min(oldest or now, connection.idle_since)
                    break
                del idle[connection]
                connection.close()
            if not idle:
                del self._idle[origin]
        if oldest is not None:
            self._sweep_timer = self._loop.call_at(oldest + self._idle_seconds, self._sweep)

    # What connections tell.

    def connection_idle(self, connection: Connection) -> None:
        connection.idle_since = self._loop.time()
        self._idle.setdefault(connection.origin, {})[connection] = None
        if self._sweep_timer is None and self._all_closed is None:
            self._sweep_timer = self._loop.call_later(self._idle_seconds, self._sweep)

    def connection_closed(self, connection: Connection) -> None:
        self._open.discard(connection)
        if idle := self._idle.get(connection.origin):
            idle.pop(connection, None)
        if self._all_closed is not None and not self._open:
            self._all_closed.set()


def _checked(response: Response) -> WireResponse:
    if not response.status and response.trouble is not None:
        raise response.trouble.failure()
    if "content-encoding" not in response.headers:
        return response
    try:
        return inflated(response)
    except BaseException:
        response.drop()
        raise
