"""Fixtures of the routing tests: keys, a fresh snapshot, real databases of both vendors."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from routing import lookup
from tests.postgres_server import PostgresServer
from tests.routing.databases import put_back, read_rows, registered, sqlite_database


@pytest.fixture(autouse=True)
def fresh_snapshot() -> Iterator[None]:
    lookup.forget()
    yield
    lookup.forget()


@pytest.fixture(autouse=True)
def encryption_key(settings: Any) -> str:
    key = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [key]
    return key


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    # Not below pytest's own folder: every other pytest that starts closes that to all but its
    # user, and the server, which runs as somebody else where we are root, stops at the next look.
    with tempfile.TemporaryDirectory(prefix="patchbay-pg-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def migrated_database(
    request: pytest.FixtureRequest,
    django_db_setup: None,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    vendor: str = request.param
    with django_db_blocker.unblock():
        if vendor == "sqlite":
            config = sqlite_database(tmp_path_factory.mktemp("sqlite"))
        else:
            config = request.getfixturevalue("postgres_server").create_database("routing_tests")
        with registered(f"real_{vendor}", config) as alias:
            yield alias


@pytest.fixture
def database(migrated_database: str, django_db_blocker: Any) -> Iterator[str]:
    """The alias of a real, committed database: each test runs on SQLite and on PostgreSQL."""
    with django_db_blocker.unblock():
        rows = read_rows(migrated_database)
        yield migrated_database
        put_back(migrated_database, rows)
