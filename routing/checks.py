"""System checks of the routing data, with hints.

Those that look into the database run where databases are checked: `check --database
default`, and at `migrate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from routing import crypto
from routing.models import triggers


@register(Tags.security)
def check_encryption_keys(app_configs: Any, **_: object) -> list[CheckMessage]:
    from django.conf import settings

    # Without any key the proxy works with the environment's credentials alone.
    if settings.ENCRYPTION_KEYS and (problem := crypto.problem_with_keys()):
        return [
            Error(
                problem,
                hint="Each key is what `generate_keys` prints, separated by commas.",
                id="routing.E001",
            )
        ]
    return []


@register(Tags.database)
def check_rows(app_configs: Any, databases: Sequence[str] | None = None, **_: object) -> list[CheckMessage]:
    """Rows that cannot do what they are for. Silent before the tables are as this code knows them."""
    found: list[CheckMessage] = []
    for using in databases or ():
        if _is_migrated(using):
            found += _check_triggers(using)
            found += _check_secrets(using)
            found += _check_models(using)
    return found


def _is_migrated(using: str) -> bool:
    # `migrate` runs these checks first, when a column may still be missing.
    loader = MigrationLoader(connections[using])
    return all(key in loader.applied_migrations for key in loader.disk_migrations if key[0] == "routing")


def _check_triggers(using: str) -> list[CheckMessage]:
    missing = triggers.missing_triggers(using)
    if not missing:
        return []
    return [
        Error(
            f"{len(missing)} database triggers are missing, so changes may go unnoticed by running workers: "
            f"{', '.join(missing)}.",
            hint="Run `python manage.py migrate`: it puts them back, also when there is nothing to migrate.",
            id="routing.E002",
        )
    ]


def _check_secrets(using: str) -> list[CheckMessage]:
    from routing.lookup.state import read_state

    table = read_state(using).table
    return [
        Warning(problem, hint="The provider works without it, with its other keys if any.", id="routing.W001")
        for problem in table.problems
    ]


def _check_models(using: str) -> list[CheckMessage]:
    from routing.models import ServedModel

    served = ServedModel.objects.using(using).filter(
        deployments__is_enabled=True, deployments__provider__is_enabled=True
    )
    orphans = ServedModel.objects.using(using).filter(is_enabled=True).exclude(pk__in=served.values("pk"))
    return [
        Warning(
            f"The model {model.public_id} is enabled, and no provider serves it.",
            hint="Add or enable a deployment, or disable the model.",
            id="routing.W002",
        )
        for model in orphans
    ]
