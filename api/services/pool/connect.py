"""A new connection to an origin: TCP, TLS, and the proxy in between."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from api.services.addresses import literal_address
from api.services.pool.connection import Connection, Owner
from api.services.pool.dial import Resolver, dial
from api.services.pool.proxies import Proxy
from api.services.pool.targets import Origin
from api.services.wire_failures import Trouble

CheckAddress = Callable[[str, bool], None]
"""Called with each address that a host has, before connecting to any, and with whether the
provider may use private ones; raises a Failure to forbid it.

A proxy is the operator's own choice and is not asked about, nor is a name behind it,
which only the proxy looks up; an address in place of that name is.
"""

_GRANTED: Final = re.compile(rb"HTTP/1\.[01] 2[0-9][0-9][ \r]")
_MAX_TUNNEL_HEAD_BYTES: Final = 64 * 1024
_TLS_SHUTDOWN_SECONDS: Final = 2.0


def default_tls() -> ssl.SSLContext:
    """The system's certificates (SSL_CERT_FILE and SSL_CERT_DIR replace them), read once."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connector:
    def __init__(self, owner: Owner, tls: ssl.SSLContext, check_address: CheckAddress) -> None:
        self._owner = owner
        self._tls = tls
        self._check_address = check_address
        self._resolver = Resolver()

    async def connect(self, origin: Origin, seconds: float) -> Connection:
        """A connection that is ready for a request. Raises a Failure for whatever goes wrong."""
        connection = Connection(self._owner, origin)
        try:
            async with asyncio.timeout(seconds):
                if origin.proxy is None:
                    sock = await self._dial(origin)
                    await self._start(sock, connection, _tls_host(origin.scheme, origin.host), seconds)
                elif origin.scheme == "http":
                    self._check_literal(origin)
                    await self._reach(origin.proxy, connection, seconds)
                else:
                    self._check_literal(origin)
                    await self._tunnel(origin.proxy, origin, connection, seconds)
            return connection
        except BaseException as error:
            connection.abort()
            if isinstance(error, OSError):
                raise _trouble_of(error).failure() from None
            raise

    def close(self) -> None:
        self._resolver.close()

    async def _dial(self, origin: Origin) -> socket.socket:
        # The very addresses that were judged are dialled: a name that means something else
        # a moment later (DNS rebinding) gains nothing by it.
        addresses = await self._resolver.resolve(origin.host, origin.port)
        for address in addresses:
            self._check_address(address.ip, origin.allows_private)
        return await dial(addresses)

    async def _start(
        self, sock: socket.socket, protocol: asyncio.Protocol, tls_host: str | None, seconds: float
    ) -> asyncio.Transport:
        """Hand the socket to the protocol, with TLS where `tls_host` says whom to expect."""
        options = _tls_options(self._tls, tls_host, seconds) if tls_host else {}
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: protocol, sock=sock, **options
        )
        return transport

    async def _reach(self, proxy: Proxy, protocol: asyncio.Protocol, seconds: float) -> asyncio.Transport:
        try:
            sock = await dial(await self._resolver.resolve(proxy.host, proxy.port))
            return await self._start(sock, protocol, _tls_host(proxy.scheme, proxy.host), seconds)
        except TimeoutError:
            raise
        except OSError:
            raise Trouble.PROXY.failure() from None

    async def _tunnel(self, proxy: Proxy, origin: Origin, connection: Connection, seconds: float) -> None:
        """Ask the proxy for a way through (CONNECT), and speak TLS with the origin inside."""
        tunnel = _Tunnel()
        transport = await self._reach(proxy, tunnel, seconds)
        try:
            await tunnel.open(transport, origin.authority, proxy.authorization)
            options = _tls_options(self._tls, origin.host, seconds)
            inner = await asyncio.get_running_loop().start_tls(
                transport, connection, options.pop("ssl"), **options
            )
            if inner is None:
                raise ConnectionResetError
            connection.connection_made(inner)
        except BaseException:
            transport.abort()
            raise

    def _check_literal(self, origin: Origin) -> None:
        if address := literal_address(origin.host):
            self._check_address(address, origin.allows_private)


class _Tunnel(asyncio.Protocol):
    """The client's half of CONNECT: https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6"""

    def __init__(self) -> None:
        self._answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._head = b""

    async def open(self, transport: asyncio.Transport, authority: str, authorization: str) -> None:
        credentials = f"proxy-authorization: {authorization}\r\n" if authorization else ""
        transport.write(f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{credentials}\r\n".encode())
        if not await self._answer or transport.is_closing():
            raise Trouble.PROXY.failure()

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" in self._head:
            self._conclude(_GRANTED.match(self._head) is not None)
        elif len(self._head) > _MAX_TUNNEL_HEAD_BYTES:
            self._conclude(False)

    def connection_lost(self, error: Exception | None) -> None:
        self._conclude(False)

    def _conclude(self, is_granted: bool) -> None:
        if not self._answer.done():
            self._answer.set_result(is_granted)


def _tls_host(scheme: str, host: str) -> str | None:
    return host if scheme == "https" else None


def _tls_options(tls: ssl.SSLContext, host: str, seconds: float) -> dict[str, Any]:
    return {
        "ssl": tls,
        "server_hostname": host.rstrip("."),
        "ssl_handshake_timeout": seconds,
        "ssl_shutdown_timeout": _TLS_SHUTDOWN_SECONDS,
    }


def _trouble_of(error: OSError) -> Trouble:
    match error:
        case TimeoutError():
            return Trouble.CONNECT_TIMEOUT
        case socket.gaierror():
            return Trouble.UNRESOLVED
        case ssl.SSLError():
            return Trouble.TLS
        case ConnectionRefusedError():
            return Trouble.REFUSED
        case _:
            return Trouble.UNREACHABLE
