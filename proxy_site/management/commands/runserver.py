"""Django's `runserver` on the production server, so that streams stream in development too."""

from __future__ import annotations

import os
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.commands.runserver import Command as RunserverCommand
from django.utils import autoreload

from proxy_site.server import raise_file_limit, server_config
from proxy_site.shutdown import GracefulServer
from routing.access import BOUND_HOST_VARIABLE


class Command(RunserverCommand):
    """The same options, checks and reloading as Django's; what it serves is the ASGI application."""

    help = "Starts the development server (the ASGI application, with reloading)."

    # Set by Django's `handle`.
    addr: str
    port: str

    def inner_run(self, *args: Any, **options: Any) -> None:
        autoreload.raise_last_exception()
        if not options["skip_checks"]:
            self.stdout.write("Performing system checks...\n\n")
            self.check(display_num_errors=True)
        self.check_migrations()
        host = self.addr.strip("[]")
        os.environ[BOUND_HOST_VARIABLE] = host
        shown = f"[{host}]" if ":" in host else host
        self.stdout.write(f"Patchbay's API: http://{shown}:{self.port}/api/v1")
        self.stdout.write(f"Patchbay's admin: http://{shown}:{self.port}/admin/")
        self.stdout.write(
            f"Development server with settings {settings.SETTINGS_MODULE!r}. Quit it with CONTROL-C."
        )
        raise_file_limit()
        config = uvicorn.Config(**server_config(host=host, port=int(self.port)))
        config.timeout_graceful_shutdown = 0  # Whoever develops wants it gone, or back.
        GracefulServer(config, drain_delay=0, quiet=0).run()
