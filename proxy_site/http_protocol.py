"""uvicorn's HTTP protocol, with the bounds that it does not have.

Owns how large a request's head may be, how long it may take to come, how long a client
may leave its answer unread, and how many clients there may be: uvicorn waits for ever and
keeps whatever comes. The body is bounded where it is read (api/request.py,
proxy_site/bounded_body.py). When connections close because the process ends is for
proxy_site/shutdown.py to say.

It overrides methods that uvicorn does not document: `tests/security/test_incoming.py`
watches them over real sockets.
"""

from __future__ import annotations

import asyncio
import http
from collections.abc import Callable, Coroutine
from typing import Any, Final

import httptools
from django.conf import settings
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.services import lifecycle
from api.services.translation.failures import Failure, FailureKind
from proxy_site.direct_cycle import DirectCycle, read_target
from proxy_site.refusals import encode_refusal, refuse_client

MAX_HEAD_BYTES: Final = 64 * 1024
MAX_HEADERS: Final = 200

ServeDirectly = Callable[[DirectCycle], Coroutine[Any, Any, None] | None]
"""What an application may offer beside ASGI, as `serve_directly`. None: not for this request."""

_READ_AHEAD: Final = 8
"""How many requests may wait behind the one that is served. Reading goes on until then: a
connection that is not read from does not tell of its end."""

_EXCESS: Final = 1000
"""How many connections over MAX_CONNECTIONS are told so. Beyond them they are cut."""

_LINGER_SECONDS: Final = 5.0
"""How long the rest of a body may still come after its request was answered. Closed at
once, the connection would be reset, and the answer lost with it."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol for HTTP alone. What the application can serve directly takes that way."""

    cycle: DirectCycle

    on_message_begin = None  # type: ignore[assignment]
    """Nothing to do: what a head begins with is put back when the last one ends."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.url = b""
        self.headers = []
        self._serve_directly: ServeDirectly | None = getattr(self.app, "serve_directly", None)
        self._served: DirectCycle | None = None
        self._idle_since = 0.0
        self._expects_head = True
        # Bytes that came since the last that led to anything: of an unfinished head, of
        # trailers, of the extensions of chunks.
        self._unproductive = 0
        self._is_head_too_large = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if settings.MAX_CONNECTIONS and len(self.connections) > settings.MAX_CONNECTIONS:
            if len(self.connections) > settings.MAX_CONNECTIONS + _EXCESS:
                transport.abort()
                return
            self.app = refuse_client
            self._serve_directly = None
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (
            self._head_timer,
            self._linger_timer,
            self._unread_timer,
            self.timeout_keep_alive_task,
        ):
            if timer is not None:
                timer.cancel()
        self.pipeline.clear()
        # uvicorn tells the newest cycle only, which, of pipelined requests, waits for its turn.
        if self._served is not None and not self._served.response_complete:
            self._served.hang_up()

    # Requests, as the parser finds them.

    def data_received(self, data: bytes) -> None:
        self._unproductive += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("")
            return
        except httptools.HttpParserUpgrade:
            pass  # Whoever asks for another protocol is served in this one, and fills no log.
        if not self._unproductive or self.transport.is_closing():
            return
        if self._unproductive > MAX_HEAD_BYTES:
            self._is_head_too_large = self._expects_head
            self.send_400_response("")
        elif self._expects_head and self._head_timer is None:
            self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        fields, url = self.headers, self.url
        if len(fields) > MAX_HEADERS or (
            self._unproductive > MAX_HEAD_BYTES
            and len(url) + sum(len(name) + len(value) for name, value in fields) > MAX_HEAD_BYTES
        ):
            self._is_head_too_large = True
            raise ValueError("the head is too large")
        http_version = self.parser.get_http_version()
        if http_version not in ("1.1", "1.0"):
            raise ValueError("not a version of HTTP that has headers")
        self._expects_head = False
        self._unproductive = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self.url = b""
        # Trailers would join the headers of a request that is being served already.
        self.headers = []
        before: DirectCycle | None = self.cycle
        cycle = self.cycle = DirectCycle(
            self,
            read_target(url),
            fields,
            http_version=http_version,
            keep_alive=(
                http_version != "1.0" and self.parser.should_keep_alive() and not lifecycle.is_draining()
            ),
        )
        if before is None or before.response_complete:
            self._start(cycle)
        else:
            self.pipeline.appendleft((cycle, self.app))
            if len(self.pipeline) >= _READ_AHEAD:
                self.flow.pause_reading()

    def on_body(self, body: bytes) -> None:
        self._unproductive = 0
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.add_body(body)
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        if not self.cycle.response_complete:
            self.cycle.end_body()
        self._expects_head = True
        self._unproductive = 0
        if self.headers:
            self.headers = []
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None
            self._await_request()

    def _start(self, cycle: DirectCycle) -> None:
        serving = self._serve_directly(cycle) if self._serve_directly is not None else None
        task = self.loop.create_task(serving if serving is not None else cycle.run_asgi(self.app))
        self.tasks.add(task)
        cycle.task = task
        self._served = cycle

    # Waiting for a request.

    def _await_request(self) -> None:
        """Close the connection when no request comes. One timer runs on from request to request."""
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self.transport.is_closing() or not self.is_idle():
            return  # Who is being served awaits the next request afterwards.
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            self.transport.close()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(settings.REQUEST_HEADERS_TIMEOUT, self._end_wait)

    def _end_wait(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._await_head()  # The next request may take its time while this one is served.
        elif self._unproductive:
            self._answer(
                Failure(
                    FailureKind.REQUEST_TIMEOUT,
                    "The request's headers did not arrive within "
                    f"{settings.REQUEST_HEADERS_TIMEOUT:g} seconds.",
                )
            )
        else:
            self.transport.close()

    # The end of the process.

    def is_idle(self) -> bool:
        """Nothing of a request has come that is not answered."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered and self._expects_head and not self._unproductive

    def close_after_answer(self) -> None:
        """Tell the client, with the answer that it waits for, that there will be no other.

        Where that answer has begun it is too late to say so: the client may send its next
        request here, and is told then.
        """
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    # Answers.

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start(self.pipeline.pop()[0])  # type: ignore[arg-type]
        elif self._expects_head:
            self._await_request()
        else:
            self._linger_timer = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(settings.RESPONSE_READ_TIMEOUT, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def send_400_response(self, msg: str) -> None:
        """What a client gets that does not speak HTTP, or too much of it. `msg` is uvicorn's."""
        if self._is_head_too_large:
            failure = Failure(
                FailureKind.INVALID_REQUEST,
                f"The request's headers are larger than {MAX_HEAD_BYTES} bytes or more than {MAX_HEADERS}.",
                status=http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            )
        else:
            failure = Failure(FailureKind.INVALID_REQUEST, "The request is not valid HTTP.")
        self._answer(failure)

    def _answer(self, failure: Failure) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(encode_refusal(failure))
        # In the middle of another answer there is no place for words.
        self.transport.close()
