"""How uvicorn is set up, for production and for `runserver` alike."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from proxy_site.http_protocol import BoundedProtocol


def server_config(*, host: str, port: int) -> dict[str, Any]:
    """Keyword arguments of `uvicorn.Config`."""
    return {
        "app": settings.ASGI_APPLICATION.replace(".application", ":application"),
        "host": host,
        "port": port,
        "loop": "uvloop",
        "http": BoundedProtocol,
        "ws": "none",
        "lifespan": "on",
        "log_config": None,  # settings.LOGGING is in force already.
        "access_log": False,  # One line per request of our own: api/services/recording.py.
        "server_header": False,
        "date_header": True,
        "proxy_headers": False,
        "timeout_keep_alive": 75,
        "timeout_graceful_shutdown": settings.SHUTDOWN_GRACE,
        "backlog": 2048,
    }
