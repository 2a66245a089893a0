"""The ASGI application: the only door. API paths take the lane, everything else is Django's admin."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxy_site.settings")

import django

django.setup(set_prefix=False)

from django.core.handlers.asgi import ASGIHandler

from api.connection import Connection
from proxy_site.bounded_body import BoundedBody
from proxy_site.handler import ApiLane
from proxy_site.lifespan import run_lifespan

_LANE_PREFIXES = ("/api/", "/v1/", "/chat/completions", "/models/")
_LANE_PATHS = frozenset({"/api", "/v1", "/models", "/healthz", "/readyz", "/metrics"})


class Application:
    """Sends each request to its handler."""

    def __init__(self) -> None:
        self.lane = ApiLane()
        self.admin = BoundedBody(ASGIHandler())

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if _is_for_lane(scope["path"]):
                await self.lane(scope, receive, send)
            else:
                await self.admin(scope, receive, send)
        elif scope["type"] == "lifespan":
            await run_lifespan(receive, send)
        else:  # A websocket, which no endpoint of ours speaks.
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    def serve_directly(self, connection: Connection) -> Coroutine[Any, Any, None] | None:
        """The same, without ASGI's messages, for a server that can do without them. None: it needs them."""
        return self.lane.serve(connection) if _is_for_lane(connection.path) else None


def _is_for_lane(path: str) -> bool:
    return path.startswith(_LANE_PREFIXES) or path in _LANE_PATHS


application = Application()
