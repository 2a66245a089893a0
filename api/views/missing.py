"""Paths below the API's prefixes that lead nowhere."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from django.http.response import HttpResponseBase

from api.errors import render_exception
from api.request import ApiRequest
from api.views.base import ApiView


class MissingView(ApiView):
    """404 in OpenAI's shape, whatever the method."""

    async def dispatch(  # type: ignore[override]
        self, request: ApiRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        return await self.get(request)

    async def get(self, request: ApiRequest) -> HttpResponseBase:
        return render_exception(Http404(), request)
