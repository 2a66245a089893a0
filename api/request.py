"""One API request: its headers at once, its body when a view asks for it, its client watched."""

from __future__ import annotations

import asyncio
import io
import os
import re
import time
from collections.abc import Iterable
from typing import Any, Final

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.utils.functional import cached_property

from api.connection import ClientGone, Connection
from api.header_names import NAMES, plain_name
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


class ApiRequest(ASGIRequest):
    """Django's request without Django's reading of headers and body.

    The body is read by `read_body`, once, after the caller is known: a stranger's
    upload is never awaited. From then on a client that hangs up cancels the task that
    serves it, which closes its upstream.

    `client_headers` are the client's, names in lower case; the values of a repeated one
    are joined by commas. META, and what Django makes of it, is there when it is asked for.
    """

    def __init__(self, connection: Connection) -> None:
        self.started = time.perf_counter()
        self.connection = connection
        self.method = connection.method
        self.path = self.path_info = connection.path
        fields = connection.fields
        headers = {NAMES.get(name) or plain_name(name): value.decode("latin-1") for name, value in fields}
        if len(headers) != len(fields):
            headers = _joined(fields)
        self.client_headers = headers
        client_id = headers.get("x-request-id")
        self.request_id = (
            client_id if client_id and _SANE_REQUEST_ID.fullmatch(client_id) else make_request_id()
        )

    @property
    def scope(self) -> dict[str, Any]:  # type: ignore[override]
        return self.connection.scope

    @cached_property
    def META(self) -> dict[str, Any]:  # type: ignore[override]
        return ASGIRequest(self.scope, io.BytesIO()).META

    def take_body(self) -> bytes | None:
        """The whole body if it is here already, as nearly every one is. Raises what `read_body` does."""
        body = self.connection.take_body()
        if body is not None:
            if len(body) > _MAX_BODY_BYTES:
                raise _too_large()
            self.connection.watch()
        return body

    async def read_body(self) -> bytes:
        """The whole body.

        Raises:
            Failure: it is larger than MAX_REQUEST_BYTES, or took longer than REQUEST_BODY_TIMEOUT seconds.
            ClientGone: the client hung up half-way.
        """
        body = self.take_body()
        if body is None:
            body = await self._wait_for_body()
            self.connection.watch()
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
            message = await self.connection.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > _MAX_BODY_BYTES:
                raise _too_large()
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)


def _joined(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in fields:
        name, value = plain_name(raw_name), raw_value.decode("latin-1")
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
