"""The async DRF view that every endpoint is."""

from __future__ import annotations

from typing import Any

from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.views import APIView

from api.auth import Caller, KeyAuthentication
from api.errors import render_exception
from api.request import ApiRequest


class ApiView(APIView):
    """DRF's hooks (authentication, permissions, throttles, exception handler) on an event loop.

    What it leaves out of DRF's dispatch, each for its cost per request: the wrapped
    Request (the body is parsed once, by the view), content negotiation (the answer is
    always JSON or an event stream; DRF's would answer 406 to `Accept:
    text/event-stream`) and deferred rendering (which hops to a thread).
    """

    request: ApiRequest  # type: ignore[assignment]
    caller: Caller | None

    async def dispatch(  # type: ignore[override]
        self, request: ApiRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        self.request = request
        self.caller = None
        try:
            self.perform_authentication(request)
            if self.permission_classes:
                self.check_permissions(request)  # type: ignore[arg-type]
            if self.throttle_classes:
                self.check_throttles(request)  # type: ignore[arg-type]
            handler = getattr(self, request.method.lower(), None) if request.method else None
            if handler is None or request.method not in self._allowed():
                raise exceptions.MethodNotAllowed(request.method or "")
            response: HttpResponseBase = await handler(request, *args, **kwargs)
            return response
        except Exception as error:
            response = render_exception(error, request)
            if response.status_code == 405:
                response.headers["allow"] = ", ".join(self._allowed())
            return response

    def perform_authentication(self, request: Any) -> None:
        for authentication in self.authentication_classes:
            if isinstance(authentication, type) and issubclass(authentication, KeyAuthentication):
                self.caller = authentication().authenticate(request)[0]

    @classmethod
    def _allowed(cls) -> list[str]:
        methods = [name.upper() for name in ("get", "post", "put", "patch", "delete") if hasattr(cls, name)]
        return [*methods, "HEAD"] if "GET" in methods else methods

    # Plain OPTIONS has no meaning here; a browser's preflight is answered by the CORS middleware.
    options = None  # type: ignore[assignment]
