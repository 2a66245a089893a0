"""Fixtures of the routing tests: keys, a fresh snapshot, real databases of both vendors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.fernet import Fernet

from routing import lookup
from tests.routing.databases import PostgresServer, put_back, read_rows, registered, sqlite_database


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
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path_factory.mktemp("pg"))
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
