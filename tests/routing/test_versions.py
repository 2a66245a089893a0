"""Whoever writes, however they write: the version moves in the same transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.core import serializers
from django.core.management import call_command
from django.db import IntegrityError, connections, transaction
from django.db.models import F
from django.utils import timezone

from routing.lookup.moment import read_version
from routing.models import (
    Alias,
    ApiKey,
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
    triggers,
)
from tests.factories import (
    make_alias,
    make_credential,
    make_deployment,
    make_fallback,
    make_model,
    make_provider,
)

SEEDED_TABLES = ("routing_provider", "routing_servedmodel", "routing_deployment", "routing_alias")


def version_of(database: str) -> Any:
    return read_version(database)


def run_sql(database: str, *statements: str) -> None:
    with connections[database].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def save_new(database: str) -> None:
    make_model(using=database)


def save_existing(database: str) -> None:
    alias = Alias.objects.using(database).get(name="gpt-5")
    alias.note = "changed"
    alias.save()


def save_some_fields(database: str) -> None:
    alias = Alias.objects.using(database).get(name="gpt-5")
    alias.note = "changed"
    alias.save(update_fields=["note"])


def delete_row(database: str) -> None:
    Alias.objects.using(database).get(name="gpt-5").delete()


def delete_many(database: str) -> None:
    Alias.objects.using(database).filter(name__startswith="gpt").delete()


def delete_by_cascade(database: str) -> None:
    Provider.objects.using(database).get(name="openai").deployments.first().model.deployments.all().delete()


def update_many(database: str) -> None:
    ServedModel.objects.using(database).update(is_listed=False)


def bulk_create(database: str) -> None:
    model = ServedModel.objects.using(database).get(public_id="gpt-4o")
    Alias.objects.using(database).bulk_create([Alias(name="b1", model=model), Alias(name="b2", model=model)])


def bulk_update(database: str) -> None:
    aliases = list(Alias.objects.using(database).all())
    for alias in aliases:
        alias.note = "bulk"
    Alias.objects.using(database).bulk_update(aliases, ["note"])


def upsert(database: str) -> None:
    model = ServedModel.objects.using(database).get(public_id="gpt-4o")
    Alias.objects.using(database).update_or_create(name="gpt-5", defaults={"model": model, "note": "upsert"})


def import_fixture(database: str) -> None:
    model = ServedModel.objects.using(database).get(public_id="gpt-4o")
    document = serializers.serialize("json", [Alias(pk=9001, name="imported", model=model)])
    for row in serializers.deserialize("json", document, using=database):
        row.save(using=database)


def raw_insert(database: str) -> None:
    run_sql(
        database,
        "INSERT INTO routing_alias (name, model_id, is_listed, note, created_at) "
        "SELECT 'raw', id, false, '', created_at FROM routing_servedmodel WHERE public_id = 'gpt-4o'",
    )


def raw_update(database: str) -> None:
    run_sql(database, "UPDATE routing_deployment SET weight = 5")


def raw_delete(database: str) -> None:
    run_sql(database, "DELETE FROM routing_alias")


def write_provider(database: str) -> None:
    make_provider(using=database)


def write_credential(database: str) -> None:
    make_credential(Provider.objects.using(database).get(name="openai"))


def write_header(database: str) -> None:
    provider = Provider.objects.using(database).get(name="openai")
    ProviderHeader.objects.using(database).create(provider=provider, name="x-team", value="a")


def write_deployment(database: str) -> None:
    make_deployment(make_model(using=database))


def change_credential(database: str) -> None:
    credential = make_credential(Provider.objects.using(database).get(name="openai"))
    Credential.objects.using(database).filter(pk=credential.pk).update(is_enabled=False)


def change_deployment(database: str) -> None:
    Deployment.objects.using(database).update(priority=1)


def write_fallback(database: str) -> None:
    models = ServedModel.objects.using(database)
    make_fallback(models.get(public_id="gpt-4o"), models.get(public_id="claude-opus-4"))


def reorder_fallbacks(database: str) -> None:
    write_fallback(database)
    FallbackModel.objects.using(database).update(position=7)


def share_by_latency(database: str) -> None:
    ServedModel.objects.using(database).filter(public_id="gpt-4o").update(balancing="latency")


def time_deployment(database: str) -> None:
    Deployment.objects.using(database).update(idle_timeout=5)


def end_cooldown(database: str) -> None:
    Deployment.objects.using(database).update(cooldown_resets=F("cooldown_resets") + 1)


def make_restricted_key(database: str) -> ApiKey:
    team = Team.objects.using(database).create(name="red")
    KeyPepper.objects.using(database).update_or_create(pk=1, defaults={"encrypted_pepper": "x"})
    key = ApiKey.objects.using(database).create(prefix="sk-pb-abcdef", digest="0" * 64, team=team)
    key.allowed_models.add(ServedModel.objects.using(database).get(public_id="gpt-4o"))
    return key


def write_key(database: str) -> None:
    ApiKey.objects.using(database).create(prefix="sk-pb-abcdef", digest="1" * 64)


def write_team(database: str) -> None:
    Team.objects.using(database).create(name="blue")


def restrict_key(database: str) -> None:
    make_restricted_key(database).allowed_models.clear()


def migrate_command(database: str) -> None:
    call_command("migrate", database=database, verbosity=0, interactive=False)


WRITES: list[Callable[[str], None]] = [
    save_new,
    save_existing,
    save_some_fields,
    delete_row,
    delete_many,
    delete_by_cascade,
    update_many,
    bulk_create,
    bulk_update,
    upsert,
    import_fixture,
    raw_insert,
    raw_update,
    raw_delete,
    write_provider,
    write_credential,
    write_header,
    write_deployment,
    change_credential,
    change_deployment,
    write_fallback,
    reorder_fallbacks,
    share_by_latency,
    time_deployment,
    end_cooldown,
    write_key,
    write_team,
    restrict_key,
    migrate_command,
]


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_every_way_of_writing_moves_the_version(database: str, write: Callable[[str], None]) -> None:
    before = version_of(database)
    write(database)
    after = version_of(database)
    assert after.version > before.version
    assert after.changed_at > before.changed_at


def test_each_table_moves_it_by_every_kind_of_statement(database: str) -> None:
    make_credential(Provider.objects.using(database).get(name="openai"))
    write_header(database)
    make_restricted_key(database)
    write_fallback(database)
    for table in triggers.WATCHED_TABLES:
        before = version_of(database).version
        run_sql(database, f"UPDATE {table} SET id = id")
        assert version_of(database).version > before, table
    for table in reversed(triggers.WATCHED_TABLES):
        before = version_of(database).version
        run_sql(database, f"DELETE FROM {table}")
        assert version_of(database).version > before, table


def test_a_write_that_is_rolled_back_moves_nothing(database: str) -> None:
    before = version_of(database)
    with transaction.atomic(using=database):
        make_model(using=database)
        transaction.set_rollback(True, using=database)
    assert version_of(database) == before


def test_the_version_is_not_seen_before_the_change_is(database: str) -> None:
    before = version_of(database)
    # A second connection, as another process has.
    other = connections.create_connection(database)
    try:
        with transaction.atomic(using=database):
            make_alias("early", ServedModel.objects.using(database).get(public_id="gpt-4o"))
            with other.cursor() as cursor:
                cursor.execute("SELECT version FROM routing_configversion")
                assert cursor.fetchone()[0] == before.version
        with other.cursor() as cursor:
            cursor.execute("SELECT version FROM routing_configversion")
            assert cursor.fetchone()[0] > before.version
            cursor.execute("SELECT count(*) FROM routing_alias WHERE name = 'early'")
            assert cursor.fetchone()[0] == 1
    finally:
        other.close()


def test_a_shell_on_the_database_counts_too(database: str, postgres_server: Any) -> None:
    before = version_of(database)
    statement = "UPDATE routing_alias SET note = 'from a shell' WHERE name = 'gpt-5';"
    config = connections.settings[database]
    if connections[database].vendor == "sqlite":
        with closing(sqlite3.connect(Path(config["NAME"]))) as shell, shell:
            shell.execute(statement)
        shell.close()
    else:
        postgres_server.run_psql(config["NAME"], statement)
    assert version_of(database).version > before.version
    assert Alias.objects.using(database).get(name="gpt-5").note == "from a shell"


def test_heartbeats_do_not_move_it(database: str) -> None:
    before = version_of(database)
    now = timezone.now()
    worker = Worker.objects.using(database).create(
        hostname="h", pid=1, started_at=now, version=1, seen_at=now
    )
    Worker.objects.using(database).filter(pk=worker.pk).update(version=2, cooldowns=[{"deployment": 1}])
    worker.delete()
    assert version_of(database) == before


def test_an_emptied_database_is_another_state(database: str) -> None:
    before = version_of(database)
    call_command("flush", database=database, verbosity=0, interactive=False)
    after = version_of(database)
    assert after != before
    assert ConfigVersion.objects.using(database).count() == 1
    assert not ServedModel.objects.using(database).exists()


def test_emptying_a_table_moves_it(database: str) -> None:
    # SQLite has no TRUNCATE: it calls a DELETE of everything that, and must not take the short cut.
    statement = {"postgresql": "TRUNCATE {} CASCADE", "sqlite": "DELETE FROM {}"}[
        connections[database].vendor
    ]
    for table in reversed(triggers.WATCHED_TABLES):
        if connections[database].vendor == "sqlite" and table not in SEEDED_TABLES:
            continue  # Empty already: nothing is deleted.
        before = version_of(database)
        run_sql(database, statement.format(table))
        assert version_of(database) != before


@pytest.mark.parametrize("spelling", ["gpt-4o", "GPT-4O"])
def test_the_database_refuses_an_alias_that_shadows_a_model(database: str, spelling: str) -> None:
    model = ServedModel.objects.using(database).get(public_id="gpt-4.1")
    with pytest.raises(IntegrityError), transaction.atomic(using=database):
        Alias.objects.using(database).create(name=spelling, model=model)
    with pytest.raises(IntegrityError), transaction.atomic(using=database):
        Alias.objects.using(database).filter(name="gpt-5").update(name=spelling)


def test_the_database_refuses_a_model_that_takes_an_alias_s_name(database: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic(using=database):
        make_model("GPT-5", using=database)
    with pytest.raises(IntegrityError), transaction.atomic(using=database):
        ServedModel.objects.using(database).filter(public_id="gpt-4.1").update(public_id="gpt-5")


def test_the_database_refuses_names_that_differ_in_case_or_have_spaces(database: str) -> None:
    model = ServedModel.objects.using(database).get(public_id="gpt-4.1")
    for write in (
        lambda: make_alias("GPT-5-Turbo", model),
        lambda: make_alias("a b", model),
        lambda: make_alias(" ", model),
        lambda: make_model("Gpt-4o", using=database),
        lambda: make_model("a b", using=database),
        lambda: make_provider("OpenAI", using=database),
    ):
        with pytest.raises(IntegrityError), transaction.atomic(using=database):
            write()


def test_installing_again_changes_nothing(database: str) -> None:
    triggers.install(database)
    triggers.install(database)
    assert triggers.missing_triggers(database) == []
    before = version_of(database).version
    save_existing(database)
    assert version_of(database).version == before + 1


def test_what_is_missing_is_named(database: str) -> None:
    triggers.remove(database)
    assert "routing_alias_bump" in " ".join(triggers.missing_triggers(database))
    before = version_of(database)
    save_existing(database)
    assert version_of(database) == before
    call_command("migrate", database=database, verbosity=0, interactive=False)
    assert triggers.missing_triggers(database) == []
    assert version_of(database).version > before.version
