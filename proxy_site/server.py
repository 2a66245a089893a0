"""How uvicorn is set up, for production and for `runserver` alike."""

from __future__ import annotations

import logging
import resource
from typing import Any, Final

from django.conf import settings

from proxy_site.http_protocol import BoundedProtocol

logger = logging.getLogger("patchbay.server")

BACKLOG: Final = 4096
"""Connections that the kernel holds until we take them; `net.core.somaxconn` may say less."""

_OWN_FILES: Final = 100
"""What a process opens beside connections: database, log, sockets of its event loop."""


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
        "access_log": False,  # One line per request of our own: api/services/recording.
        "server_header": False,
        "date_header": True,
        "proxy_headers": False,
        "timeout_keep_alive": 75,
        "timeout_graceful_shutdown": settings.SHUTDOWN_GRACE,
        "backlog": BACKLOG,
    }


def raise_file_limit() -> None:
    """Let this process open as many files as it may; say so where that is too few.

    A shell's usual 1024 would end at five hundred streams: each is a connection from a
    client and one to an upstream.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = 2 * (settings.MAX_UPSTREAM_CALLS + settings.MAX_QUEUED) + _OWN_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        logger.warning(
            "This process may open %d files, and MAX_UPSTREAM_CALLS=%d needs %d. Raise the limit "
            "(`ulimit -Hn`, LimitNOFILE= in systemd, --ulimit nofile= in Docker), or lower the setting.",
            hard,
            settings.MAX_UPSTREAM_CALLS,
            wanted,
        )
