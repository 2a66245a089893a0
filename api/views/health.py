"""Is the process alive; can it serve."""

from __future__ import annotations

from api.request import ApiRequest
from api.response import ApiResponse
from api.services import lifecycle
from api.services.translation.json_text import dump_json
from api.views.base import ApiView
from routing import lookup


class HealthView(ApiView):
    """200 while the process answers at all."""

    async def get(self, request: ApiRequest) -> ApiResponse:
        return _json({"status": "ok"}, 200)


class ReadinessView(ApiView):
    """200 once a snapshot is loaded, until the process is told to stop.

    A database that went away afterwards is told in the body and does not turn this
    red: the last snapshot keeps serving, and taking every node out would not help.
    """

    async def get(self, request: ApiRequest) -> ApiResponse:
        status = lookup.status()
        is_ready = status.version is not None and not lifecycle.is_draining()
        return _json(
            {
                "status": "ready" if is_ready else "draining" if lifecycle.is_draining() else "starting",
                "config_version": status.version,
                "database": "ok" if status.is_database_ok else "unavailable",
            },
            200 if is_ready else 503,
        )


def _json(body: dict[str, object], status: int) -> ApiResponse:
    return ApiResponse(dump_json(body), status=status, headers={"cache-control": "no-store"})
