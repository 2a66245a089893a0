"""The API lane: Django's resolver and views without the thread hops of its stock handler.

Stock Django starts a thread per request as soon as one synchronous receiver, middleware
or close() runs, which costs five times as much CPU as all our own work. The lane is a
handler instance of its own whose middleware lists are empty (a synchronous
`process_view`, as CSRF protection has, would be such a hop), that sends no
request signals (their receivers look after database connections, and no view here has
one), and that closes nothing in a thread.

It overrides methods that Django does not document: Django's minor version is pinned,
and `tests/api/test_lane.py` watches them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse
from django.urls import ResolverMatch

from api.connection import AsgiConnection, ClientGone, Connection
from api.errors import render_exception, render_failure
from api.request import ApiRequest
from api.response import ApiResponse
from api.services import lifecycle
from api.services.translation.dialects.openai_chat.failures import encode_stream_failure
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.json_text import is_utf8
from api.streaming import EventStream
from api.views.base import ApiView

logger = logging.getLogger("patchbay.lane")

_QUERY_IS_NOT_TEXT: Final = Failure(FailureKind.INVALID_REQUEST, "The query string is not UTF-8.")


class ApiLane(ASGIHandler):
    """Serves API paths. No view that it reaches may touch the database."""

    def __init__(self) -> None:
        self._matches: dict[str, ResolverMatch] = {}
        super().__init__()

    def load_middleware(self, is_async: bool = True) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        chain: Callable[[Any], Awaitable[HttpResponse]] = self._answer
        if settings.CORS_ALLOWED_ORIGINS or settings.CORS_ALLOW_ALL_ORIGINS:
            from corsheaders.middleware import CorsMiddleware

            async def answer(request: ApiRequest) -> HttpResponse:
                return await self._answer(request)

            chain = CorsMiddleware(answer)
        self._middleware_chain = chain

    def resolve_request(self, request: Any) -> ResolverMatch:
        """As Django does, remembering endpoints; paths that lead nowhere, which have no name, never end."""
        match = super().resolve_request(request)
        if match.url_name and not match.args and not match.kwargs:
            self._matches[request.path_info] = match
        return match

    def _answer(self, request: ApiRequest) -> Awaitable[ApiResponse]:
        try:
            match = self._matches.get(request.path)
            if match is None:
                match = self.resolve_request(request)
            else:
                request.resolver_match = match
            # What as_view() does, without its wrappers: every view here is an ApiView.
            view: ApiView = match.func.cls(**match.func.initkwargs)  # type: ignore[attr-defined]
            return view.dispatch(request, *match.args, **match.kwargs)
        except Exception as error:
            return _refuse(error, request)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await self.serve(AsgiConnection(scope, receive, send))

    async def serve(self, connection: Connection) -> None:
        request = ApiRequest(connection)
        try:
            if connection.query and not is_utf8(connection.query):
                response: HttpResponse = render_failure(_QUERY_IS_NOT_TEXT)
            else:
                response = await self._middleware_chain(request)
            response.headers["x-request-id"] = request.request_id
            if isinstance(response, EventStream):
                await _send_stream(response, connection)
            elif not (
                # The answer to a browser's preflight is one of Django's, from the CORS middleware.
                isinstance(response, ApiResponse)
                and connection.answer(response.status_code, response.headers, response.content)
            ):
                await _send_whole(response, connection.send)
        except ClientGone:
            return
        except asyncio.CancelledError:
            if not connection.is_abandoned:
                raise
            # The client hung up, and this very task was cancelled to say so.
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
        except Exception:
            # The server sees that the answer is missing, or half sent, and does the rest.
            logger.exception("A request could not be answered.")
        finally:
            connection.finish()


async def _refuse(error: Exception, request: ApiRequest) -> ApiResponse:
    return render_exception(error, request)


def _wire_headers(response: HttpResponse) -> list[tuple[bytes, bytes]]:
    return [
        (name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in response.headers.items()
    ]


async def _send_whole(response: HttpResponse, send: Any) -> None:
    content = response.content
    response.headers["content-length"] = str(len(content))
    await send(
        {"type": "http.response.start", "status": response.status_code, "headers": _wire_headers(response)}
    )
    await send({"type": "http.response.body", "body": content})


async def _send_stream(response: EventStream, connection: Connection) -> None:
    frames = response.frames
    try:
        answer = connection.begin_answer(response.status_code, response.headers)
        if answer is None:
            await _send_by_messages(response, connection.send)
            return
        last = b""
        try:
            frames.attach(answer)
            async for frame in frames:
                if frames.is_finished:
                    last += frame
                elif not answer.write(frame):
                    await answer.drain()
        except asyncio.CancelledError:
            # It waited for its client; a stream that waits for its upstream says so itself.
            ending = lifecycle.claim_cancellation()
            if ending is None:
                raise
            last += encode_stream_failure(ending)
        answer.end(last)
    finally:
        await frames.aclose()


async def _send_by_messages(response: EventStream, send: Any) -> None:
    await send(
        {"type": "http.response.start", "status": response.status_code, "headers": _wire_headers(response)}
    )
    last = b""
    try:
        async for frame in response.frames:
            await send({"type": "http.response.body", "body": frame, "more_body": True})
    except asyncio.CancelledError:
        ending = lifecycle.claim_cancellation()
        if ending is None:
            raise
        last = encode_stream_failure(ending)
    await send({"type": "http.response.body", "body": last, "more_body": False})
