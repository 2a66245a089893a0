"""The async DRF view that every endpoint is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rest_framework import exceptions
from rest_framework.views import APIView

from api.auth import Caller, KeyAuthentication
from api.connection import ClientGone
from api.errors import render_failure, to_failure
from api.request import ApiRequest
from api.response import ApiResponse
from api.services import lifecycle
from api.services.recording import note_refusal


class ApiView(APIView):
    """DRF's hooks (authentication, permissions, throttles, exception handler) on an event loop.

    What it leaves out of DRF's dispatch, each for its cost per request: the wrapped
    Request (the body is parsed once, by the view), content negotiation (the answer is
    always JSON or an event stream; DRF's would answer 406 to `Accept:
    text/event-stream`) and deferred rendering (which hops to a thread).
    """

    request: ApiRequest  # type: ignore[assignment]
    caller: Caller | None = None

    answers: ClassVar[Mapping[str, str]] = {}
    """The methods that the view answers, and the name of the function that does."""
    authentications: ClassVar[Sequence[KeyAuthentication]] = ()
    """Of `authentication_classes`, one instance each for all requests: they hold nothing."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        names = [name for name in ("get", "post", "put", "patch", "delete") if hasattr(cls, name)]
        cls.answers = {name.upper(): name for name in names} | ({"HEAD": "get"} if "get" in names else {})
        cls.authentications = tuple(
            each()
            for each in cls.authentication_classes
            if isinstance(each, type) and issubclass(each, KeyAuthentication)
        )

    async def dispatch(  # type: ignore[override]
        self, request: ApiRequest, *args: Any, **kwargs: Any
    ) -> ApiResponse:
        self.request = request
        try:
            self.perform_authentication(request)
            if self.permission_classes:
                self.check_permissions(request)  # type: ignore[arg-type]
            if self.throttle_classes:
                self.check_throttles(request)  # type: ignore[arg-type]
            method = request.method or ""
            name = self.answers.get(method)
            if name is None:
                raise exceptions.MethodNotAllowed(method)
            response: ApiResponse = await getattr(self, name)(request, *args, **kwargs)
            return response
        except ClientGone:
            raise
        except asyncio.CancelledError:
            ending = None if request.connection.is_abandoned else lifecycle.claim_cancellation()
            if ending is None:
                raise
            return render_failure(ending)
        except Exception as error:
            failure = to_failure(error, request)
            note_refusal(request.request_id, request.path, failure)
            response = render_failure(failure)
            if response.status_code == 405:
                response.headers["allow"] = ", ".join(self.answers)
            return response

    def perform_authentication(self, request: Any) -> None:
        for authentication in self.authentications:
            self.caller = authentication.authenticate(request)[0]

    # Plain OPTIONS has no meaning here; a browser's preflight is answered by the CORS middleware.
    options = None  # type: ignore[assignment]
