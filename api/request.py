"""One API request: its headers at once, its body when a view asks for it, its client watched."""

from __future__ import annotations

import asyncio
import io
import re
import time
import uuid
from typing import Any, Final

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest

from api.services.translation.failures import Failure, FailureKind

_SANE_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}")


def make_request_id() -> str:
    return f"req_{uuid.uuid4().hex}"


class ClientGone(Exception):
    """The client closed its connection before its request was whole. There is nobody to answer."""


class ApiRequest(ASGIRequest):
    """Django's request without Django's reading of the body.

    The body is read by `read_body`, once, after the caller is known: a stranger's
    upload is never awaited. From then on a client that hangs up cancels the task that
    serves it, which closes its upstream.
    """

    def __init__(self, scope: dict[str, Any], receive: Any) -> None:
        super().__init__(scope, io.BytesIO())
        self.started = time.perf_counter()
        client_id = self.META.get("HTTP_X_REQUEST_ID", "")
        self.request_id = client_id if _SANE_REQUEST_ID.fullmatch(client_id) else make_request_id()
        self.is_abandoned = False
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None

    def client_headers(self) -> dict[str, str]:
        """The client's headers, names in lower case; of a repeated one, the last."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.scope["headers"]}

    async def read_body(self) -> bytes:
        """The whole body.

        Raises:
            Failure: it is larger than MAX_REQUEST_BYTES, or took longer than REQUEST_BODY_TIMEOUT seconds.
            ClientGone: the client hung up half-way.
        """
        limit: int = settings.MAX_REQUEST_BYTES
        announced = self.META.get("CONTENT_LENGTH", "")
        if announced.isdecimal() and int(announced[:20]) > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(settings.REQUEST_BODY_TIMEOUT):
                body = await self._read_parts(limit)
        except TimeoutError:
            raise Failure(
                FailureKind.REQUEST_TIMEOUT,
                f"The request body did not arrive within {settings.REQUEST_BODY_TIMEOUT:g} seconds.",
            ) from None
        self._watcher = asyncio.create_task(self._watch(asyncio.current_task()))
        return body

    async def _read_parts(self, limit: int) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        if not message.get("more_body"):
            return self._within(message.get("body", b""), limit)
        parts = [message.get("body", b"")]
        size = len(parts[0])
        while message.get("more_body"):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
        return self._within(b"".join(parts), limit)

    @staticmethod
    def _within(body: bytes, limit: int) -> bytes:
        if len(body) > limit:
            raise _too_large(limit)
        return body

    async def _watch(self, task: asyncio.Task[Any] | None) -> None:
        # With the body read, the only message left is that the client hung up.
        message = await self._receive()
        if message["type"] == "http.disconnect" and task is not None:
            self.is_abandoned = True
            task.cancel()

    def stop_watching(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None


def check_message_count(body: Any) -> None:
    """
    Raises:
        Failure: a chat request has more than MAX_MESSAGES messages. Each costs time, however small.
    """
    messages = body.get("messages") if isinstance(body, dict) else None
    if isinstance(messages, list) and len(messages) > settings.MAX_MESSAGES:
        raise Failure(
            FailureKind.INVALID_REQUEST,
            f"Invalid 'messages': array too long. Expected an array with maximum length "
            f"{settings.MAX_MESSAGES}, but got an array with length {len(messages)} instead. "
            "The operator sets this limit with MAX_MESSAGES.",
            param="messages",
            code="array_above_max_length",
        )


def _too_large(limit: int) -> Failure:
    return Failure(
        FailureKind.REQUEST_TOO_LARGE,
        f"The request body is larger than {limit} bytes. "
        "The operator sets this limit with MAX_REQUEST_BYTES.",
    )
