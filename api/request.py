"""One API request: its headers at once, its body when a view asks for it, its client watched."""

from __future__ import annotations

import asyncio
import io
import os
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.utils.functional import cached_property

from api.response import ApiResponse
from api.services.translation.failures import Failure, FailureKind

_SANE_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}")
_MAX_BODY_BYTES: Final[int] = settings.MAX_REQUEST_BYTES
_BODY_SECONDS: Final[float] = settings.REQUEST_BODY_TIMEOUT
_MAX_MESSAGES: Final[int] = settings.MAX_MESSAGES


_ID_BYTES: Final = 16
_IDS_AT_ONCE: Final = 64

_ids: list[str] = []
# Two processes must not hand out the same ones.
os.register_at_fork(after_in_child=_ids.clear)


def make_request_id() -> str:
    """128 random bits, so that nobody meets the id of another request."""
    try:
        return _ids.pop()
    except IndexError:
        digits = os.urandom(_ID_BYTES * _IDS_AT_ONCE).hex()
        width = 2 * _ID_BYTES
        made = [f"req_{digits[at : at + width]}" for at in range(0, len(digits), width)]
        own = made.pop()
        _ids.extend(made)
        return own


class Connection(Protocol):
    """The client's, as our own server offers it beside ASGI's messages: the extension `patchbay.connection`.

    Everything here takes effect at once and waits for nothing.
    """

    @property
    def is_abandoned(self) -> bool:
        """The client has hung up, and the task that serves it was cancelled to say so."""
        ...

    def take_body(self) -> bytes | None:
        """The whole body; None where some of it has not come yet."""
        ...

    def watch(self) -> None:
        """From now on, until `unwatch`, a client that hangs up cancels the task that serves it."""
        ...

    def unwatch(self) -> None: ...

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        """Send a whole answer; its length is told beside `headers`.

        False: nothing was sent, for the client still has to read what it got before.
        """
        ...


class ClientGone(Exception):
    """The client closed its connection before its request was whole. There is nobody to answer."""


class ApiRequest(ASGIRequest):
    """Django's request without Django's reading of headers and body.

    The body is read by `read_body`, once, after the caller is known: a stranger's
    upload is never awaited. From then on a client that hangs up cancels the task that
    serves it, which closes its upstream.

    `client_headers` are the client's, names in lower case; the values of a repeated one
    are joined by commas. META, and what Django makes of it, is there when it is asked for.

    Raises:
        UnicodeDecodeError: the query string is not UTF-8.
    """

    def __init__(self, scope: dict[str, Any], receive: Any) -> None:
        self.started = time.perf_counter()
        self.scope = scope
        self.method = scope["method"]
        self.path = self.path_info = scope["path"]
        if scope["query_string"]:
            scope["query_string"].decode()
        pairs = scope["headers"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
        if len(headers) != len(pairs):
            headers = _joined(pairs)
        self.client_headers = headers
        client_id = headers.get("x-request-id")
        self.request_id = (
            client_id if client_id and _SANE_REQUEST_ID.fullmatch(client_id) else make_request_id()
        )
        # Taken out: left in, the two would refer to each other and wait for the garbage collector.
        extensions = scope.get("extensions")
        self.connection: Connection | None = (
            extensions.pop("patchbay.connection", None) if extensions else None
        )
        self._receive = receive
        self._is_gone = False
        self._watcher: asyncio.Task[None] | None = None

    @cached_property
    def META(self) -> dict[str, Any]:  # type: ignore[override]
        return ASGIRequest(self.scope, io.BytesIO()).META

    @property
    def is_abandoned(self) -> bool:
        """The client has hung up, and this task was cancelled to say so."""
        return self._is_gone if self.connection is None else self.connection.is_abandoned

    def answer(self, response: HttpResponse) -> bool:
        """Send `response` at once, where the server can. False: nothing was sent."""
        # The answer to a browser's preflight is one of Django's, from the CORS middleware.
        if self.connection is None or not isinstance(response, ApiResponse):
            return False
        return self.connection.answer(response.status_code, response.headers, response.content)

    async def read_body(self) -> bytes:
        """The whole body.

        Raises:
            Failure: it is larger than MAX_REQUEST_BYTES, or took longer than REQUEST_BODY_TIMEOUT seconds.
            ClientGone: the client hung up half-way.
        """
        connection = self.connection
        body = connection.take_body() if connection is not None else None
        if body is None:
            body = await self._wait_for_body()
        elif len(body) > _MAX_BODY_BYTES:
            raise _too_large()
        if connection is not None:
            connection.watch()
        else:
            self._watcher = asyncio.create_task(self._watch(asyncio.current_task()))
        return body

    async def _wait_for_body(self) -> bytes:
        announced = self.client_headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > _MAX_BODY_BYTES:
            raise _too_large()
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                return await self._read_parts()
        except TimeoutError:
            raise Failure(
                FailureKind.REQUEST_TIMEOUT,
                f"The request body did not arrive within {_BODY_SECONDS:g} seconds.",
            ) from None

    async def _read_parts(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > _MAX_BODY_BYTES:
                raise _too_large()
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    async def _watch(self, task: asyncio.Task[Any] | None) -> None:
        # With the body read, the only message left is that the client hung up.
        message = await self._receive()
        if message["type"] == "http.disconnect" and task is not None:
            self._is_gone = True
            task.cancel()

    def stop_watching(self) -> None:
        if self.connection is not None:
            self.connection.unwatch()
        elif self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None


def _joined(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def check_message_count(body: Any) -> None:
    """
    Raises:
        Failure: a chat request has more than MAX_MESSAGES messages. Each costs time, however small.
    """
    messages = body.get("messages") if isinstance(body, dict) else None
    if isinstance(messages, list) and len(messages) > _MAX_MESSAGES:
        raise Failure(
            FailureKind.INVALID_REQUEST,
            f"Invalid 'messages': array too long. Expected an array with maximum length "
            f"{_MAX_MESSAGES}, but got an array with length {len(messages)} instead. "
            "The operator sets this limit with MAX_MESSAGES.",
            param="messages",
            code="array_above_max_length",
        )


def _too_large() -> Failure:
    return Failure(
        FailureKind.REQUEST_TOO_LARGE,
        f"The request body is larger than {_MAX_BODY_BYTES} bytes. "
        "The operator sets this limit with MAX_REQUEST_BYTES.",
    )
