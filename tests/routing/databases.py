"""Real databases beside the one that pytest-django makes: migrated, committed to, put back after each test.

Threads and several connections see what is committed there, which a test's own
transaction would hide.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connections, transaction

from routing.models import (
    Alias,
    ApiKey,
    ApiKeyUse,
    ConfigVersion,
    Credential,
    Deployment,
    FallbackModel,
    KeyPepper,
    Provider,
    ProviderHeader,
    ServedModel,
    Team,
    Worker,
)

_MODELS = (
    Provider,
    Credential,
    ProviderHeader,
    ServedModel,
    Deployment,
    Alias,
    FallbackModel,
    KeyPepper,
    Team,
    ApiKey,
    ApiKey.allowed_models.through,
    ApiKeyUse,
    Worker,
    ConfigVersion,
)


def sqlite_database(folder: Path) -> dict[str, Any]:
    default = connections.settings["default"]
    options = default["OPTIONS"] if "sqlite3" in default["ENGINE"] else {"transaction_mode": "IMMEDIATE"}
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(folder / "test.sqlite3"),
        "USER": "",
        "HOST": "",
        "OPTIONS": copy.deepcopy(options),
    }


@contextmanager
def registered(alias: str, config: dict[str, Any]) -> Iterator[str]:
    """Django knows the database as `alias`, with all migrations applied."""
    connections.settings[alias] = copy.deepcopy(connections.settings["default"]) | config
    call_command("migrate", database=alias, verbosity=0, interactive=False)
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


def read_rows(alias: str) -> dict[Any, list[dict[str, Any]]]:
    return {model: list(model._default_manager.using(alias).values()) for model in _MODELS}


def put_back(alias: str, rows: dict[Any, list[dict[str, Any]]]) -> None:
    """The rows as they were; the version goes on, as it does when an operator undoes something."""
    with transaction.atomic(using=alias):
        for model in reversed(_MODELS[:-1]):
            model._default_manager.using(alias)._raw_delete(alias)  # type: ignore[attr-defined]
        for model in _MODELS[:-1]:
            model._default_manager.using(alias).bulk_create(model(**row) for row in rows[model])
        # A flush sets the counters of primary keys back to 1.
        with connections[alias].cursor() as cursor:
            for statement in connections[alias].ops.sequence_reset_sql(no_style(), _MODELS[:-2]):
                cursor.execute(statement)
