"""One request and its answer on a connection of our own server, as the lane has them.

Owns what an ASGI application cannot say in messages without paying for them: that a body
is here already, that a client has hung up, a whole answer at once, and the frames of one that goes on
(api/connection.py says what is promised). uvicorn's own cycle is underneath: it serves the
admin by messages. What only they need (scope, event) is made when they ask for it.

It overrides methods that uvicorn does not document: uvicorn's version is locked, and
`tests/api/test_direct_protocol.py` watches them over real sockets.
"""

from __future__ import annotations

import asyncio
import logging
import urllib.parse
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from proxy_site.direct_client import DirectClient

if TYPE_CHECKING:
    from proxy_site.http_protocol import BoundedProtocol

_NO_HEADER_TEXT: Final = bytes({*range(0x20), 0x7F} - {0x09})
"""Control characters, of which a head holds only the line ends that we put there."""

_JOINED_BYTES: Final = 64 * 1024
"""Up to this size, a body is cheaper copied behind its head than written apart from it."""

_KNOWN_TARGETS: Final = 64
_KNOWN_BYTES: Final = 128


class Target(NamedTuple):
    """What a request is for. `path` is decoded, `raw_path` as it came."""

    path: str
    raw_path: bytes
    query: bytes


def read_target(url: bytes) -> Target:
    """The parts of a request's target; of the usual ones, as they were found before.

    Raises:
        Exception: it is none (an HttpParserError, a UnicodeDecodeError).
    """
    return _known_target(url) if len(url) <= _KNOWN_BYTES else _parse_target(url)


def _parse_target(url: bytes) -> Target:
    parts = httptools.parse_url(url)
    path = parts.path.decode("ascii")
    if "%" in path:
        path = urllib.parse.unquote(path)
    return Target(path, parts.path, parts.query or b"")


_known_target = lru_cache(maxsize=_KNOWN_TARGETS)(_parse_target)


_known_defaults: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")


def _joined(defaults: list[tuple[bytes, bytes]]) -> bytes:
    """The headers that every answer has, as they are sent. uvicorn makes a new list of them once a second."""
    global _known_defaults
    known, lines = _known_defaults
    if known is not defaults:
        lines = b"".join([b"%b: %b\r\n" % header for header in defaults])
        _known_defaults = (defaults, lines)
    return lines


class DirectCycle(RequestResponseCycle):
    # What uvicorn's constructor gives every request of its own.
    logger = logging.getLogger("uvicorn.error")
    access_logger = logging.getLogger("uvicorn.access")
    access_log = False
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding = None
    expected_content_length = 0

    task: asyncio.Task[None] | None = None
    is_abandoned = False
    _is_watched = False
    _is_end_told = False
    _news: asyncio.Event | None = None

    body: bytes | bytearray = b""  # type: ignore[assignment]
    """What came and was not taken yet. What comes in one piece is not copied."""

    def __init__(
        self,
        protocol: BoundedProtocol,
        target: Target,
        fields: Sequence[tuple[bytes, bytes]],
        *,
        http_version: str,
        keep_alive: bool,
    ) -> None:
        self._protocol: BoundedProtocol | None = protocol
        self.transport = protocol.transport
        self.flow = protocol.flow
        self.method = protocol.parser.get_method().decode("ascii")
        self.target = target
        self.path = target.path
        self.query = target.query
        self.fields = fields
        self.http_version = http_version
        self.keep_alive = keep_alive

    # What the protocol says.

    def add_body(self, part: bytes) -> None:
        if not self.body:
            self.body = part
        else:
            if isinstance(self.body, bytes):
                self.body = bytearray(self.body)
            self.body += part
        if self._news is not None:
            self._news.set()

    def end_body(self) -> None:
        self.more_body = False
        if self._news is not None:
            self._news.set()

    def hang_up(self) -> None:
        """The connection is gone."""
        self.disconnected = True
        if self._news is not None:
            self._news.set()
        self._abandon()

    # What the lane asks for.

    def take_body(self) -> bytes | None:
        if self.more_body or self.disconnected:
            return None
        self._is_end_told = True
        body = bytes(self.body)
        self.body = b""
        return body

    def watch(self) -> None:
        self._is_watched = True
        if self.flow.read_paused:
            self.flow.resume_reading()  # Else a hang-up is not seen.
        if self.disconnected:
            self._abandon()

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        if self.response_started or self.flow.write_paused:
            return False
        if self.disconnected:
            return True
        head = self._head(status, headers, b"content-length: %d" % len(body))
        self.response_started = True
        if self.method == "HEAD":
            self.transport.write(head)
        elif len(body) <= _JOINED_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))
        self.complete()
        return True

    def begin_answer(self, status: int, headers: Mapping[str, str]) -> DirectClient | None:
        if self.response_started or self.flow.write_paused or self.method == "HEAD":
            return None
        head = self._head(status, headers, b"transfer-encoding: chunked")
        self.response_started = True
        return DirectClient(self, head)

    def complete(self) -> None:
        """The answer is sent to its end."""
        self.response_complete = True
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def finish(self) -> None:
        if not (self.response_complete or self.disconnected):
            self.keep_alive = False
            if not self.answer(500, {"content-type": "text/plain; charset=utf-8"}, b"Internal Server Error"):
                self.transport.close()
        self._is_watched = False
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            # Not by a callback of the task: that would be one more turn of the loop for each request.
            protocol.tasks.discard(self.task)  # type: ignore[arg-type]
        # Until the next request the connection keeps this cycle, which need not keep secrets.
        self.fields = ()

    def _head(self, status: int, headers: Mapping[str, str], framing: bytes) -> bytes:
        assert self._protocol is not None
        fields = "\r\n".join(map(": ".join, headers.items())).encode("latin-1", "replace")
        if len(fields) - len(fields.translate(None, _NO_HEADER_TEXT)) != 2 * (len(headers) - 1):
            raise ValueError("a response header holds a control character")
        return b"%b%b%b\r\n%b\r\n%b\r\n" % (
            STATUS_LINE[status],
            _joined(self._protocol.server_state.default_headers),
            fields,
            framing,
            b"" if self.keep_alive else b"connection: close\r\n",
        )

    def _abandon(self) -> None:
        if self._is_watched and self.task is not None and not self.is_abandoned:
            self.is_abandoned = True
            self.task.cancel()

    # By messages, as uvicorn's cycle has it.

    async def run_asgi(self, app: Any) -> None:
        try:
            await super().run_asgi(app)
        finally:
            self.finish()

    async def receive(self) -> Any:
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        self.flow.resume_reading()
        while not (self.disconnected or self.response_complete):
            if self.body or not (self.more_body or self._is_end_told):
                self._is_end_told = not self.more_body
                body, self.body = bytes(self.body), b""
                return {"type": "http.request", "body": body, "more_body": self.more_body}
            self.message_event.clear()
            await self.message_event.wait()
        return {"type": "http.disconnect"}

    def on_response(self) -> None:
        if self._protocol is not None:
            self._protocol.on_response_complete()

    @property
    def message_event(self) -> asyncio.Event:  # type: ignore[override]
        """What `receive` waits for. Few requests do."""
        if self._news is None:
            self._news = asyncio.Event()
        return self._news

    @cached_property
    def waiting_for_100_continue(self) -> bool:  # type: ignore[override]
        return any(
            name.lower() == b"expect" and value.lower() == b"100-continue" for name, value in self.fields
        )

    @cached_property
    def default_headers(self) -> list[tuple[bytes, bytes]]:  # type: ignore[override]
        assert self._protocol is not None
        return self._protocol.server_state.default_headers

    @cached_property
    def scope(self) -> dict[str, Any]:  # type: ignore[override]
        protocol = self._protocol
        assert protocol is not None
        return {
            "type": "http",
            "asgi": {"version": protocol.asgi_version, "spec_version": "2.3"},
            "http_version": self.http_version,
            "server": protocol.server,
            "client": protocol.client,
            "scheme": protocol.scheme,
            "method": self.method,
            "root_path": "",
            "path": self.path,
            "raw_path": self.target.raw_path,
            "query_string": self.query,
            "headers": [(name.lower(), value) for name, value in self.fields],
        }
