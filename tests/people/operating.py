"""Whoever has a shell on the proxy's machine: management commands in the settings of a server under test."""

from __future__ import annotations

import subprocess
import sys

from tests.live_server import ROOT, LiveServer


def manage(server: LiveServer, *arguments: str, fails: bool = False) -> str:
    """Run `manage.py` beside the server; returns what it printed."""
    ended = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=server.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode != 0) == fails, ended.stderr
    return ended.stdout + ended.stderr


def make_operator(server: LiveServer, username: str, password: str) -> None:
    """Somebody who may do everything in the admin."""
    manage(
        server,
        "shell",
        "--no-imports",
        "--command",
        "from django.contrib.auth.models import User;"
        f"User.objects.create_superuser({username!r}, password={password!r})",
    )
