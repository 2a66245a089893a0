"""`GET /metrics`: figures of all workers, for Prometheus."""

from __future__ import annotations

import hmac

from django.conf import settings

from api.auth import is_from_here
from api.request import ApiRequest
from api.response import ApiResponse
from api.services import gauges, metrics
from api.services.translation.failures import Failure, FailureKind
from api.views.base import ApiView
from routing.access import is_bound_to_loopback


class MetricsView(ApiView):
    """For whoever has METRICS_TOKEN; where none is set, for this machine alone.

    To everybody else it does not exist, and where METRICS is off, to nobody.
    """

    async def get(self, request: ApiRequest) -> ApiResponse:
        _check_reader(request)
        gauges.sample()
        page = await metrics.current().render()
        headers = {"content-type": metrics.CONTENT_TYPE, "cache-control": "no-store"}
        return ApiResponse(page, headers=headers)


def _check_reader(request: ApiRequest) -> None:
    token: str = settings.METRICS_TOKEN
    if settings.METRICS and token:
        scheme, _, given = request.client_headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
            raise Failure(
                FailureKind.INVALID_API_KEY,
                "This page is for whoever sends METRICS_TOKEN as a bearer token.",
            )
    elif not (settings.METRICS and is_bound_to_loopback() and is_from_here(request)):
        raise Failure(FailureKind.URL_NOT_FOUND, f"Invalid URL ({request.method} {request.path})")
