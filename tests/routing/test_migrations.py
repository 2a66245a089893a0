"""A new installation starts with exactly the documented rows, and every upgrade path works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, migrations, models
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.test import override_settings

from routing.models import Alias, Deployment, Provider, ServedModel, triggers
from tests.routing.databases import registered, sqlite_database

MODELS = """
gpt-4o             | openai    | gpt-4o                     | GPT-4o
gpt-4o-mini        | openai    | gpt-4o-mini                | GPT-4o Mini
gpt-4.1            | openai    | gpt-4.1                    | GPT-4.1 family
gpt-4.1-mini       | openai    | gpt-4.1-mini               | GPT-4.1 family
gpt-4.1-nano       | openai    | gpt-4.1-nano               | GPT-4.1 family
gpt-5-nano         | openai    | gpt-5-nano                 | GPT-5 Nano
claude-opus-4      | anthropic | claude-opus-4-5            | Most capable
claude-sonnet-4    | anthropic | claude-sonnet-4-5          | Balanced
claude-3-5-sonnet  | anthropic | claude-3-5-sonnet-20241022 | Previous gen
claude-3-5-haiku   | anthropic | claude-3-5-haiku-20241022  | Fast & cheap
claude-haiku-3-5   | anthropic | claude-3-5-haiku-20241022  | Alias
claude-3-opus      | anthropic | claude-3-opus-20240229     | Legacy
"""

ALIASES = {
    "gpt-5": "gpt-4o",
    "gpt-5-turbo": "gpt-4o",
    "gpt-4": "gpt-4o",
    "gpt-4-turbo": "gpt-4o",
    "claude-4.6-sonnet": "claude-sonnet-4",
    "claude-4-sonnet": "claude-sonnet-4",
    "claude-sonnet-4-5": "claude-sonnet-4",
    "claude-4-opus": "claude-opus-4",
    "claude-4.6-opus": "claude-opus-4",
    "claude-3-sonnet": "claude-3-5-sonnet",
    "gemini-2.5-pro": "gpt-4o",
    "gemini-1.5-pro": "gpt-4o",
}


def test_the_seeded_models_are_the_documented_ones(database: str) -> None:
    seeded = [
        (row.model.public_id, row.provider.name, row.upstream_id, row.model.description)
        for row in Deployment.objects.using(database).select_related("model", "provider").order_by("model_id")
    ]
    wanted = [tuple(cell.strip() for cell in line.split("|")) for line in MODELS.strip().splitlines()]
    assert seeded == wanted
    assert ServedModel.objects.using(database).count() == len(wanted)
    assert not ServedModel.objects.using(database).exclude(
        is_enabled=True, is_listed=True, allows_streaming=True
    )


def test_the_seeded_aliases_are_the_documented_ones(database: str) -> None:
    aliases = Alias.objects.using(database).select_related("model")
    assert {alias.name: alias.model.public_id for alias in aliases} == ALIASES
    assert {alias.name: alias.note for alias in aliases if alias.note} == {
        "gemini-2.5-pro": "fallback",
        "gemini-1.5-pro": "fallback",
    }
    assert not aliases.filter(is_listed=True)


def test_the_seeded_providers_take_the_environment(database: str) -> None:
    providers = Provider.objects.using(database).order_by("id")
    assert [(row.name, row.kind, row.uses_environment, row.base_url) for row in providers] == [
        ("openai", "openai", True, ""),
        ("anthropic", "anthropic", True, ""),
    ]


def test_migrating_again_leaves_an_operator_s_edits(database: str) -> None:
    Alias.objects.using(database).filter(name="gpt-5").delete()
    ServedModel.objects.using(database).filter(public_id="gpt-4o").update(description="ours", is_listed=False)
    call_command("migrate", database=database, verbosity=0, interactive=False)
    assert not Alias.objects.using(database).filter(name="gpt-5").exists()
    assert ServedModel.objects.using(database).get(public_id="gpt-4o").description == "ours"


def test_the_migrations_are_one_line() -> None:
    loader = MigrationLoader(None)
    names = sorted(name for app, name in loader.disk_migrations if app == "routing")
    previous: str | None = None
    for name in names:
        ours = [
            parent[1]
            for parent in loader.disk_migrations["routing", name].dependencies
            if parent[0] == "routing"
        ]
        assert ours == ([previous] if previous else [])
        previous = name
    assert not any("auto" in name for name in names), "name migrations after what they do"


def test_the_models_have_no_change_without_a_migration() -> None:
    call_command("makemigrations", "routing", check=True, dry_run=True, verbosity=0)


def test_all_can_be_undone_and_done_again(database: str) -> None:
    call_command("migrate", "routing", "zero", database=database, verbosity=0, interactive=False)
    assert "routing_alias" not in connections[database].introspection.table_names()
    call_command("migrate", database=database, verbosity=0, interactive=False)
    assert triggers.missing_triggers(database) == []
    assert ServedModel.objects.using(database).count() == 12


@pytest.mark.parametrize("table", ["alias", "servedmodel", "configversion"])
def test_a_migration_that_rebuilds_a_table_leaves_the_triggers(
    tmp_path: Path, django_db_setup: None, django_db_blocker: Any, table: str
) -> None:
    """SQLite rebuilds a table to alter a column: triggers vanish with it, or forbid the renaming."""

    class Rebuild(migrations.Migration):
        operations = [
            migrations.AlterField(
                table,
                "version" if table == "configversion" else "created_at",
                models.TextField(default="1") if table == "configversion" else models.TextField(null=True),
            )
        ]

    with django_db_blocker.unblock(), registered("rebuilt", sqlite_database(tmp_path)) as alias:
        connection = connections[alias]
        executor = MigrationExecutor(connection)
        state: ProjectState = executor.loader.project_state([("routing", "0002_seed")])
        rebuild = Rebuild("0003_rebuild", "routing")
        triggers.before_migrate(using=alias, plan=[(rebuild, False)])
        with connection.schema_editor(atomic=True) as editor:
            rebuild.apply(state, editor)
        assert triggers.missing_triggers(alias) != []
        triggers.after_migrate(using=alias)
        assert triggers.missing_triggers(alias) == []


def test_keys_are_not_needed_to_migrate(
    tmp_path: Path, django_db_setup: None, django_db_blocker: Any
) -> None:
    with (
        override_settings(ENCRYPTION_KEYS=[]),
        django_db_blocker.unblock(),
        registered("keyless", sqlite_database(tmp_path)) as alias,
    ):
        assert ServedModel.objects.using(alias).count() == 12
