"""Paths of the API that lead nowhere."""

from __future__ import annotations

from typing import Any

from django.http import Http404

from api.errors import render_exception, render_failure
from api.request import ApiRequest
from api.response import ApiResponse
from api.services.translation.failures import Failure, FailureKind
from api.views.base import ApiView


class MissingView(ApiView):
    """404 in OpenAI's shape, whatever the method."""

    async def dispatch(  # type: ignore[override]
        self, request: ApiRequest, *args: Any, **kwargs: Any
    ) -> ApiResponse:
        return await self.get(request)

    async def get(self, request: ApiRequest) -> ApiResponse:
        return render_exception(Http404(), request)


class VersionMissingView(MissingView):
    """The same for endpoints asked for at the root: the client's base URL lacks its end."""

    async def get(self, request: ApiRequest) -> ApiResponse:
        return render_failure(
            Failure(
                FailureKind.URL_NOT_FOUND,
                f"Invalid URL ({request.method} {request.path}). "
                "The base URL of this API ends in /api/v1 or /v1.",
            )
        )
