"""uvicorn's HTTP protocol, with a short way between a connection and the API lane.

Owns what an ASGI application cannot say in messages without paying for them: that a body
is here already, that a client has hung up, and a whole answer at once. It is offered as
the ASGI extension `patchbay.connection` (api/request.py says what it promises), so that the
lane runs on any other ASGI server too, a little slower.

It overrides methods that uvicorn does not document: uvicorn's version is locked, and
`tests/api/test_lane.py` watches them over real sockets.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Mapping
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

_NO_HEADER_TEXT: Final = bytes({*range(0x20), 0x7F} - {0x09})
"""Control characters, of which a head holds only the line ends that we put there."""

_READ_AHEAD: Final = 8
"""How many requests may wait behind the one that is served. Reading goes on until then: a
connection that is not read from does not tell of its end."""

_JOINED_BYTES: Final = 64 * 1024
"""Up to this size, a body is cheaper copied behind its head than written apart from it."""


class DirectCycle(RequestResponseCycle):
    """One request and its answer, as uvicorn has them, and the client as the lane sees it."""

    task: asyncio.Task[None] | None = None
    is_watched = False
    is_abandoned = False

    def take_body(self) -> bytes | None:
        if self.more_body or self.disconnected:
            return None
        self.waiting_for_100_continue = False
        body = bytes(self.body)
        self.body = bytearray()
        return body

    def watch(self) -> None:
        self.is_watched = True
        self.flow.resume_reading()  # Else a hang-up is not seen.
        if self.disconnected:
            self.hang_up()

    def unwatch(self) -> None:
        self.is_watched = False

    def hang_up(self) -> None:
        """The connection is gone."""
        self.disconnected = True
        self.message_event.set()
        if self.is_watched and self.task is not None and not self.is_abandoned:
            self.is_abandoned = True
            self.task.cancel()

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        if self.response_started or self.flow.write_paused:
            return False
        if self.disconnected:
            return True
        self.response_started = True
        head = self._head(status, headers, len(body))
        if self.scope["method"] == "HEAD":
            self.transport.write(head)
        elif len(body) <= _JOINED_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True

    def _head(self, status: int, headers: Mapping[str, str], length: int) -> bytes:
        fields = "\r\n".join(map(": ".join, headers.items())).encode("latin-1", "replace")
        if len(fields) - len(fields.translate(None, _NO_HEADER_TEXT)) != 2 * (len(headers) - 1):
            raise ValueError("a response header holds a control character")
        defaults = b"".join([b"%b: %b\r\n" % header for header in self.default_headers])
        end = b"" if self.keep_alive else b"connection: close\r\n"
        return b"%b%b%b\r\ncontent-length: %d\r\n%b\r\n" % (
            STATUS_LINE[status],
            defaults,
            fields,
            length,
            end,
        )


class DirectProtocol(HttpToolsProtocol):
    """uvicorn's protocol for HTTP alone. It makes `DirectCycle`s, and tells the served one of a hang-up."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._served: DirectCycle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # uvicorn tells the newest cycle only, which, of pipelined requests, waits for its turn.
        if self._served is not None and not self._served.response_complete:
            self._served.hang_up()

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        parser = self.parser
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        if "%" in path:
            path = urllib.parse.unquote(path)
        http_version = parser.get_http_version()
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": http_version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": parser.get_method().decode("ascii"),
            "root_path": "",
            "path": path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self.headers,
        }
        before = self.cycle
        cycle = self.cycle = DirectCycle(
            scope=scope,  # type: ignore[arg-type]
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=http_version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        scope["extensions"] = {"patchbay.connection": cycle}
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.pipeline.appendleft((cycle, self.app))
            if len(self.pipeline) >= _READ_AHEAD:
                self.flow.pause_reading()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        assert isinstance(cycle, DirectCycle)
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        cycle.task = task
        self._served = cycle
