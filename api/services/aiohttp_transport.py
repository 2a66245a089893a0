"""`UPSTREAM_CLIENT=aiohttp`: the only file that speaks httpx, and aiohttp beneath it.

aiohttp's session does the work (connections, TLS, HTTP), because httpx's own pool takes
forty times the CPU. `AiohttpTransport` has two doors: `send`, which the request path
uses, and httpx's `AsyncBaseTransport`, for code that wants an `httpx.AsyncClient`. Both
turn trouble into failures by tables of their own, since a library's exceptions say too
little: a refused connection, a failed name lookup and a cut reply are different things
to an operator.

No cookies are kept, no redirect is followed (it would carry the credential elsewhere),
and proxies come from the environment, read once per origin.
"""

from __future__ import annotations

import asyncio
import errno
import io
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from enum import Enum
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import aiohttp.abc
import httpx

from api.services.addresses import check_address, literal_address
from api.services.pool.proxies import proxy_from_environment
from api.services.pool.targets import check_headers, parse_target
from api.services.translation.failures import Failure, FailureKind
from api.services.wire import Take, Timeouts, WireRequest, WireResponse, pour_pieces
from api.services.wire_failures import Trouble, too_long

_MAX_HEADER_BYTES = 64 * 1024
_IDLE_CONNECTION_SECONDS = 55.0
"""Below the minute after which many servers and balancers drop an idle connection."""

_ONE_WRITE_BYTES = 64 * 1024
"""Longer bodies are handed to aiohttp as a file, which it sends piece by piece."""

_BREAKS = (aiohttp.ClientError, OSError, RuntimeError)
"""How aiohttp says that a body broke off; a RuntimeError, once the transport itself is closed."""


class _Response:
    """A WireResponse over aiohttp's."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}

    def take_whole(self, limit: int) -> None:
        return None

    async def read(self, limit: int, seconds: float | None = None) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await self._read(limit)
        except TimeoutError:
            raise
        except _BREAKS as error:
            raise failure_of(error, is_reply_begun=True) from None

    async def _read(self, limit: int) -> bytes:
        content = self._response.content
        first = await content.readany()
        if content.at_eof():
            return _within(first, limit)
        parts, size = [first], len(first)
        while piece := await content.readany():
            size += len(piece)
            if size > limit:
                raise too_long(limit)
            parts.append(piece)
        return _within(b"".join(parts), limit)

    async def pour(self, take: Take, seconds: float | None) -> bool:
        return await pour_pieces(self.read_piece, take, seconds)

    async def read_piece(self, seconds: float | None) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await self._response.content.readany()
        except TimeoutError:
            raise
        except _BREAKS as error:
            raise failure_of(error, is_reply_begun=True) from None

    async def close(self) -> None:
        # release() keeps a connection whose response was read to the end and closes any other.
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


class _Way(Enum):
    """How connections of one pool come about; what one way may reach, another may not."""

    PUBLIC = "public"
    PRIVATE = "private"
    PROXIED = "proxied"


class _JudgedResolver(aiohttp.ThreadedResolver):
    """Raises a Failure for a name that leads where its provider may not go."""

    def __init__(self, *, allows_private: bool) -> None:
        super().__init__()
        self._allows_private = allows_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        found = await super().resolve(host, port, family)
        for result in found:
            check_address(result["host"], self._allows_private)
        return found


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Connections for one event loop, in a pool for each way."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, bool], tuple[_Way, str | None]] = {}
        self._tls = _tls_context()
        self._sessions = {way: self._open_session(way) for way in _Way}

    def _open_session(self, way: _Way) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                # A proxy's address is the operator's own choice, and is not judged.
                resolver=None if way is _Way.PROXIED else _JudgedResolver(allows_private=way is _Way.PRIVATE),
                ttl_dns_cache=30,
                keepalive_timeout=_IDLE_CONNECTION_SECONDS,
                ssl=self._tls,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept"),
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
            trace_configs=[trace],
        )

    async def send(
        self, request: WireRequest, timeouts: Timeouts, seconds: float | None = None
    ) -> WireResponse:
        async with asyncio.timeout(seconds):
            return _Response(await self._request(request, timeouts))

    async def _request(self, request: WireRequest, timeouts: Timeouts) -> aiohttp.ClientResponse:
        url, headers, body = request.url, request.headers, request.body
        way, proxy = self._route(url, allows_private=request.allows_private)
        limits = aiohttp.ClientTimeout(total=None, connect=timeouts.connect, sock_connect=timeouts.connect)
        check_headers(headers)
        for attempt in (1, 2):
            context = SimpleNamespace(is_reused=False)
            try:
                async with asyncio.timeout(timeouts.connect + timeouts.headers):
                    return await self._sessions[way].request(
                        request.method,
                        url,
                        headers=headers,
                        data=(body or None) if len(body) <= _ONE_WRITE_BYTES else io.BytesIO(body),
                        allow_redirects=False,
                        proxy=proxy,
                        timeout=limits,
                        trace_request_ctx=context,
                    )
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                # The upstream closed an idle connection at the moment we took it: nothing
                # was answered on it, so a fresh one gets the same request, once.
                is_stale = context.is_reused and isinstance(
                    error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | ConnectionError
                )
                if attempt == 2 or not is_stale:
                    raise failure_of(error, is_reply_begun=False) from None
        raise AssertionError("unreachable")

    def _route(self, url: str, *, allows_private: bool) -> tuple[_Way, str | None]:
        """Which pool, and which proxy. Raises a Failure where the URL is none, or no such provider's."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise Trouble.INVALID_ADDRESS.failure() from None
        origin = f"{parts.scheme}://{parts.netloc}"
        route = self._routes.get((origin, allows_private))
        if route is None:
            target = parse_target(url)  # a Failure where aiohttp would take the URL for another
            # aiohttp looks up names only, so an address is judged here.
            if address := literal_address(target.origin.host):
                check_address(address, allows_private)
            proxy = proxy_from_environment(origin)
            way = _Way.PROXIED if proxy else _Way.PRIVATE if allows_private else _Way.PUBLIC
            route = self._routes[origin, allows_private] = (way, proxy)
        return route

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    # httpx's door.

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx's own exceptions, with the Failure as their cause."""
        seconds: dict[str, float | None] = request.extensions.get("timeout", {})
        connect, read = seconds.get("connect") or 10.0, seconds.get("read") or 120.0
        timeouts = Timeouts(connect=connect, headers=read, first_token=read, idle=read, total=read)
        body = await request.aread()
        try:
            response = await self._request(
                WireRequest(
                    str(request.url),
                    dict(request.headers),
                    body,
                    allows_private=bool(request.extensions.get("allows_private", False)),
                    method=request.method,
                ),
                timeouts,
            )
        except Failure as failure:
            raise _httpx_error(failure, request) from failure
        return httpx.Response(
            response.status,
            headers=[
                (name, value)
                for name, value in response.headers.items()
                # The body below is decoded already.
                if name.lower() not in {"content-encoding", "content-length", "transfer-encoding"}
            ],
            stream=_HttpxBody(_Response(response), read, request),
            request=request,
        )

    async def aclose(self) -> None:
        await self.close()


class _HttpxBody(httpx.AsyncByteStream):
    def __init__(self, response: WireResponse, seconds: float, request: httpx.Request) -> None:
        self._response = response
        self._seconds = seconds
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while piece := await self._response.read_piece(self._seconds):
                yield piece
        except TimeoutError as error:
            raise httpx.ReadTimeout(
                "The upstream sent nothing for too long.", request=self._request
            ) from error
        except Failure as failure:
            raise _httpx_error(failure, self._request) from failure

    async def aclose(self) -> None:
        await self._response.close()


def _httpx_error(failure: Failure, request: httpx.Request) -> httpx.TransportError:
    by_kind: dict[FailureKind, type[httpx.TransportError]] = {
        FailureKind.UPSTREAM_CONNECT_TIMEOUT: httpx.ConnectTimeout,
        FailureKind.UPSTREAM_HEADERS_TIMEOUT: httpx.ReadTimeout,
        FailureKind.UPSTREAM_INVALID_RESPONSE: httpx.RemoteProtocolError,
        FailureKind.UPSTREAM_STREAM_INTERRUPTED: httpx.ReadError,
        FailureKind.UPSTREAM_UNAVAILABLE: httpx.ConnectError,
    }
    return by_kind.get(failure.kind, httpx.NetworkError)(failure.message, request=request)


async def _note_reuse(session: aiohttp.ClientSession, context: Any, params: Any) -> None:
    context.trace_request_ctx.is_reused = True


def _within(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise too_long(limit)
    return body


def _tls_context() -> ssl.SSLContext:
    """The system's certificates (SSL_CERT_FILE and SSL_CERT_DIR replace them), read once."""
    return ssl.create_default_context()


def failure_of(error: Exception, *, is_reply_begun: bool) -> Failure:
    """What a transport's exception means. Its own text is not passed on: it holds addresses."""
    return Trouble.BROKEN_OFF.failure() if is_reply_begun else _trouble_of(error).failure()


def _trouble_of(error: Exception) -> Trouble:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return Trouble.CONNECT_TIMEOUT
        case TimeoutError():
            return Trouble.HEADERS_TIMEOUT
        case aiohttp.ClientConnectorDNSError():
            return Trouble.UNRESOLVED
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return Trouble.TLS
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return Trouble.PROXY
        case aiohttp.ClientConnectorError(os_error=OSError(errno=errno.ECONNREFUSED)):
            return Trouble.REFUSED
        case aiohttp.ClientConnectorError():
            return Trouble.UNREACHABLE
        case aiohttp.InvalidURL() | ValueError():
            return Trouble.INVALID_ADDRESS
        case aiohttp.ServerDisconnectedError() | ConnectionError() | aiohttp.ClientOSError():
            return Trouble.NO_ANSWER
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return Trouble.NOT_HTTP
        case _:
            return Trouble.UNREACHABLE
