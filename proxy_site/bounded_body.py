"""The bodies of admin requests, read before Django sees them.

Django writes a body of any size to a temporary file and waits for it as long as it takes,
for strangers too. Here it is bounded in bytes and seconds. The API reads its own:
api/request.py. Pages that the end of the process cuts short are answered here too.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from django.conf import settings

from api.services import lifecycle

_REFUSALS: Final = {
    408: b"The request body did not arrive in time.\n",
    413: b"The request is too large.\n",
    503: b"The server is shutting down. Reload the page in a moment.\n",
}


class BoundedBody:
    """An ASGI application in front of another one, which gets whole bodies only."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        has_begun = False

        async def note_and_send(message: dict[str, Any]) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._serve(scope, receive, note_and_send)
        except asyncio.CancelledError:
            if has_begun or lifecycle.claim_cancellation() is None:
                raise
            await _refuse(send, 503)

    async def _serve(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            async with asyncio.timeout(settings.REQUEST_BODY_TIMEOUT):
                body = await _read(receive, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        except TimeoutError:
            return await _refuse(send, 408)
        except OverflowError:
            return await _refuse(send, 413)
        if body is None:
            return None  # The client has hung up.
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> dict[str, Any]:
            message: dict[str, Any] = messages.pop() if messages else await receive()
            return message

        await self._application(scope, replay, send)
        return None


async def _read(receive: Any, limit: int) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > limit:
            raise OverflowError
        if not message.get("more_body"):
            return bytes(body)


async def _refuse(send: Any, status: int) -> None:
    body = _REFUSALS[status]
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
