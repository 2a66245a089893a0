"""What a view answers: a status, headers and a whole body.

Django's HttpResponse without its constructor, which costs a request more than our key
check and limits together: cookies, charset and closers are made when somebody asks for
them, and on the lane nobody does. Middleware and Django's own handler find the
HttpResponse that they expect.
"""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any, Final

from django.http import HttpResponse
from django.utils.functional import cached_property

JSON: Final = "application/json"


class ApiResponse(HttpResponse):
    """Names in `headers` are in lower case; the dictionary becomes the response's own.

    The length is told by whoever sends it.
    """

    headers: dict[str, str]  # type: ignore[assignment]

    closed = False
    _charset = None
    _handler_class = None
    _reason_phrase = None

    def __init__(self, content: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.status_code = status
        if headers is None:
            headers = {}
        headers.setdefault("content-type", JSON)
        self.headers = headers
        self._container = [content]

    @cached_property
    def cookies(self) -> SimpleCookie:  # type: ignore[override]
        return SimpleCookie()

    @cached_property
    def _resource_closers(self) -> list[Callable[[], Any]]:
        return []
