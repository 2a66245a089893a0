"""`manage.py serve`: everything from a fresh clone to a running proxy, in one command."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from api.services import metrics
from proxy_site import env
from proxy_site.server import raise_file_limit, server_config
from proxy_site.shutdown import GracefulServer
from proxy_site.supervisor import Supervisor
from routing import crypto, lookup
from routing.access import BOUND_HOST_VARIABLE, current_access
from routing.domain.access import AccessMode
from routing.domain.kinds import KINDS


class Command(BaseCommand):
    help = "Prepares the database, makes a first admin user and serves the API and the admin on one port."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        os.environ[BOUND_HOST_VARIABLE] = settings.HOST
        if problem := crypto.problem_with_keys():
            raise CommandError(problem)
        listener = self._listen(settings.HOST, settings.PORT)
        try:
            self._migrate()
            password = self._make_first_admin()
            self._greet(password)
        except OperationalError as error:
            raise CommandError(f"The database cannot be reached: {error}".strip()) from None
        finally:
            connection.close()
        self._serve(listener)

    def _listen(self, host: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                raise CommandError(
                    f"Port {port} on {host} is taken by another program. "
                    f"Stop it, or choose another port: PORT={port + 1}."
                ) from None
            raise CommandError(f"Cannot listen on {host}:{port}: {error.strerror}.") from None
        listener.set_inheritable(True)
        return listener

    def _migrate(self) -> None:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if plan:
            self._say(f"Preparing the database ({len(plan)} migrations) …")
            call_command("migrate", interactive=False, verbosity=0)

    def _make_first_admin(self) -> str | None:
        """A superuser where there is no user at all; returns the password that only we know now."""
        users = get_user_model().objects
        if users.exists():
            return None
        given = env.text("ADMIN_PASSWORD")
        password = given or secrets.token_urlsafe(12)
        users.create_superuser(username=settings.ADMIN_USERNAME, password=password)
        return None if given else password

    def _greet(self, password: str | None) -> None:
        host = "127.0.0.1" if settings.HOST in {"0.0.0.0", "::"} else settings.HOST
        origin = f"http://[{host}]:{settings.PORT}" if ":" in host else f"http://{host}:{settings.PORT}"
        lines = [
            "",
            self.style.SUCCESS("Patchbay is ready."),
            f"  API    {origin}/api/v1   (base_url for OpenAI clients)",
            f"  Admin  {origin}/admin/",
        ]
        if password is not None:
            lines.append(
                f"         log in as {settings.ADMIN_USERNAME!r} with the password {password!r} "
                "(shown this once: change it in the admin)"
            )
        table = lookup.refresh()
        for provider in table.providers:
            if not provider.is_enabled:
                state = "switched off"
            elif provider.kind == "demo":
                state = "on: the model `demo` answers without any key"
            elif provider.credentials:
                state = "has a key"
            elif not provider.requires_key:
                state = "needs no key"
            else:
                state = f"no key yet: set {KINDS[provider.kind].key_variable or 'one in the admin'}"
            lines.append(f"  {provider.name:<10} {state}")
        mode = current_access().mode
        lines.append(
            "  Access     any token is accepted"
            if mode is AccessMode.ANY_BEARER
            else "  Access     only keys that you issue are accepted (in the admin, or `manage.py issue_key`)"
        )
        lines.append("")
        self._say("\n".join(lines))

    def _say(self, text: str) -> None:
        # A full disk behind the output is no reason not to serve.
        with contextlib.suppress(OSError):
            self.stdout.write(text)
            self.stdout.flush()

    def _serve(self, listener: socket.socket) -> None:
        # Workers import the application by name from where this command was started.
        os.environ["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(settings.BASE_DIR), os.environ.get("PYTHONPATH", "")])
        )
        if settings.WEB_CONCURRENCY > 1:
            # libuv else takes all connections that wait, and one worker would have every client that
            # came at the same time; so it lets the others have their turn in between.
            os.environ.setdefault("UV_TCP_SINGLE_ACCEPT", "1")
            supervisor = Supervisor(
                listener,
                workers=settings.WEB_CONCURRENCY,
                patience=settings.DRAIN_DELAY + settings.SHUTDOWN_GRACE,
                on_end=metrics.forget_states,
            )
            with metrics.shared_directory() if settings.METRICS else contextlib.nullcontext():
                is_served = supervisor.run() == 0
        else:
            raise_file_limit()
            config = uvicorn.Config(**server_config(host=settings.HOST, port=settings.PORT))
            server = GracefulServer(config, drain_delay=settings.DRAIN_DELAY)
            sys.path.insert(0, str(Path(settings.BASE_DIR)))
            server.run(sockets=[listener])
            is_served = server.started
        if not is_served:
            raise CommandError("The server could not start; the lines above say why.")
