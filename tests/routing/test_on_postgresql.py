"""The tests of models, admin and commands hold on PostgreSQL as they do on SQLite.

What is about databases as such (versions, snapshot, watcher, migrations) runs on both by
itself; these modules use the database of pytest-django, so they run once more in a
process of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.postgres_server import PostgresServer

MODULES = (
    "test_models.py",
    "test_fallback_admin.py",
    "test_cooldown_admin.py",
    "test_admin.py",
    "test_crypto.py",
    "test_keys.py",
    "test_key_admin.py",
    "test_groups.py",
)


def test_models_admin_and_commands_hold_on_postgresql(
    postgres_server: PostgresServer, project_root: Path
) -> None:
    here = Path(__file__).parent
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--ds=tests.routing.postgresql_settings",
            *(str(here / module) for module in MODULES),
        ],
        cwd=project_root,
        env=os.environ | {"POSTGRESQL_UNDER_TEST": postgres_server.url},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "passed" in run.stdout
