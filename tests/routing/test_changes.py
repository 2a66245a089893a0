"""What changed is read again and nothing else; what comes of it is what reading everything gives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.utils import timezone

from routing import lookup
from routing.domain.keys import KeyRow
from routing.domain.table import RoutingTable
from routing.lookup.changes import LINES_AT_MOST, Changes, sum_up
from routing.lookup.moment import VersionStamp
from routing.lookup.state import State, next_state, read_state
from routing.models import ApiKey, ConfigChange, KeyPepper, ServedModel, Team, triggers
from tests.routing.test_versions import WRITES, run_sql

KEYS = 40


def stored_keys(table: RoutingTable) -> dict[bytes, KeyRow | None]:
    ring = table.keys
    return {digest: ring.find(digest) for digest in ring._rows}


def contents(table: RoutingTable) -> Any:
    """Everything that requests can see."""
    return (
        table.version,
        table.models,
        table.aliases,
        table.providers,
        table.problems,
        table.listed(),
        stored_keys(table),
    )


@pytest.fixture
def keys(database: str, settings: Any) -> list[ApiKey]:
    """Keys of all kinds: with a team, a scope, a replaced secret."""
    teams = Team.objects.using(database).bulk_create([Team(name="north"), Team(name="south")])
    model = ServedModel.objects.using(database).get(public_id="gpt-4o")
    KeyPepper.objects.using(database).create(pk=1, encrypted_pepper=make_pepper(settings))
    made = ApiKey.objects.using(database).bulk_create(
        ApiKey(
            prefix=f"sk-pb-{number:06}",
            digest=f"{number + 0xABC000:064x}",
            previous_digest=f"{number + 0xDEF000:064x}" if number % 7 == 0 else "",
            previous_valid_until=timezone.now() + timedelta(hours=1) if number % 7 == 0 else None,
            team=teams[number % 2] if number % 3 == 0 else None,
        )
        for number in range(KEYS)
    )
    for key in made[:5]:
        key.allowed_models.add(model)
    return made


def make_pepper(settings: Any) -> str:
    import base64

    from routing import crypto

    return crypto.encrypt(base64.b64encode(b"p" * 32).decode())


@contextmanager
def statements(database: str) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with connections[database].execute_wrapper(note):
        yield seen


def revoke(database: str) -> None:
    ApiKey.objects.using(database).filter(prefix="sk-pb-000003").update(revoked_at=timezone.now())


def delete_key(database: str) -> None:
    ApiKey.objects.using(database).get(prefix="sk-pb-000000").delete()


def delete_by_sql(database: str) -> None:
    run_sql(database, "DELETE FROM routing_apikey WHERE prefix = 'sk-pb-000039'")


def rotate(database: str) -> None:
    ApiKey.objects.using(database).filter(prefix="sk-pb-000004").update(
        digest="f" * 64, previous_digest=f"{4 + 0xABC000:064x}", previous_valid_until=timezone.now()
    )


def replace_secret(database: str) -> None:
    """No grace: the old secret is gone."""
    ApiKey.objects.using(database).filter(prefix="sk-pb-000005").update(digest="e" * 64)


def end_grace(database: str) -> None:
    ApiKey.objects.using(database).filter(prefix="sk-pb-000007").update(
        previous_digest="", previous_valid_until=None
    )


def rename_team(database: str) -> None:
    Team.objects.using(database).filter(name="north").update(name="west")


def disable_team(database: str) -> None:
    Team.objects.using(database).filter(name="south").update(is_enabled=False)


def give_scope(database: str) -> None:
    key = ApiKey.objects.using(database).get(prefix="sk-pb-000020")
    key.allowed_models.set(ServedModel.objects.using(database).filter(public_id__startswith="claude"))


def take_scope(database: str) -> None:
    ApiKey.objects.using(database).get(prefix="sk-pb-000001").allowed_models.clear()


def rename_model(database: str) -> None:
    ServedModel.objects.using(database).filter(public_id="gpt-4o").update(public_id="gpt-4o-renamed")


def delete_model(database: str) -> None:
    model = ServedModel.objects.using(database).get(public_id="gpt-4o")
    model.aliases.all().delete()
    model.delete()


def move_key(database: str) -> None:
    """A key takes another id: what SQL can, and nobody does."""
    run_sql(database, "UPDATE routing_apikey SET id = 99999 WHERE prefix = 'sk-pb-000030'")


def swap_secrets(database: str) -> None:
    for prefix, digest in (
        ("000008", "a" * 64),
        ("000009", f"{8 + 0xABC000:064x}"),
        ("000008", f"{9 + 0xABC000:064x}"),
    ):
        ApiKey.objects.using(database).filter(prefix=f"sk-pb-{prefix}").update(digest=digest)


def change_all(database: str) -> None:
    ApiKey.objects.using(database).update(requests_per_minute=5)


def replace_pepper(database: str) -> None:
    KeyPepper.objects.using(database).update(encrypted_pepper="unreadable")


def change_both_sides(database: str) -> None:
    with transaction.atomic(using=database):
        revoke(database)
        ServedModel.objects.using(database).filter(public_id="gpt-4.1").update(is_listed=False)


KEY_WRITES: list[Callable[[str], None]] = [
    revoke,
    delete_key,
    delete_by_sql,
    rotate,
    replace_secret,
    end_grace,
    rename_team,
    disable_team,
    give_scope,
    take_scope,
    rename_model,
    delete_model,
    move_key,
    swap_secrets,
    change_all,
    replace_pepper,
    change_both_sides,
]


@pytest.mark.parametrize("write", WRITES + KEY_WRITES, ids=lambda write: write.__name__)
def test_the_next_table_is_what_reading_everything_gives(
    database: str, keys: list[ApiKey], write: Callable[[str], None]
) -> None:
    before = contents(lookup.refresh(using=database))
    write(database)
    assert contents(lookup.refresh(using=database)) == contents(read_state(database).table)
    assert contents(lookup.current()) != before


def test_a_row_that_replaces_another_leaves_nothing_of_it(database: str, keys: list[ApiKey]) -> None:
    """SQLite's REPLACE removes the row in its way without a trigger; PostgreSQL has none."""
    lookup.refresh(using=database)
    columns = "digest, previous_digest, note, is_restricted, is_enabled, secret_set_at, created_at"
    insert = "INSERT"
    if connections[database].vendor == "sqlite":
        insert = "REPLACE"
    else:
        run_sql(database, "UPDATE routing_apikey SET digest = 'moved' WHERE prefix = 'sk-pb-000007'")
    run_sql(
        database,
        f"{insert} INTO routing_apikey (prefix, {columns}) SELECT 'sk-pb-thief0', '{7 + 0xABC000:064x}', '', note, "
        "is_restricted, is_enabled, secret_set_at, created_at FROM routing_apikey "
        "WHERE prefix = 'sk-pb-000007'",
    )
    assert contents(lookup.refresh(using=database)) == contents(read_state(database).table)


def test_one_key_is_read_and_not_the_others(database: str, keys: list[ApiKey]) -> None:
    before = lookup.refresh(using=database)
    revoked, other = bytes.fromhex(f"{3 + 0xABC000:064x}"), bytes.fromhex(f"{4 + 0xABC000:064x}")
    used = before.find_key(other)
    revoke(database)
    with statements(database) as seen:
        table = lookup.refresh(using=database)
    assert not [sql for sql in seen if '"routing_servedmodel"' in sql and "allowed_models" not in sql]
    reads = [sql for sql in seen if '"routing_apikey"' in sql and "COUNT" not in sql]
    assert reads
    assert all("WHERE" in sql for sql in reads), "some keys, not all of them"
    assert len(seen) < 10
    assert table.models is before.models
    assert table.resolve("gpt-4o") is before.resolve("gpt-4o")
    assert table.listed() is before.listed()
    row = table.find_key(revoked)
    assert row is not None
    assert row.is_revoked
    assert table.find_key(other) is used


def test_a_change_of_the_catalog_reads_no_key(database: str, keys: list[ApiKey]) -> None:
    before = lookup.refresh(using=database)
    ServedModel.objects.using(database).filter(public_id="gpt-4.1").update(is_listed=False)
    with statements(database) as seen:
        table = lookup.refresh(using=database)
    assert not [sql for sql in seen if "routing_apikey" in sql]
    assert table.keys is before.keys


def test_a_revoked_key_does_not_wait_for_the_catalog(database: str, keys: list[ApiKey]) -> None:
    lookup.refresh(using=database)
    before = read_state(database)
    ServedModel.objects.using(database).filter(public_id="gpt-4.1").update(public_id="gpt-4.1-new")
    revoked: list[str] = []

    def revoke_once(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if 'FROM "routing_servedmodel"' in sql and not revoked:
            revoked.append(sql)
            thread = threading.Thread(target=elsewhere, args=(revoke, database))
            thread.start()
            thread.join()
        return result

    published: list[State] = []
    with connections[database].execute_wrapper(revoke_once):
        last = next_state(database, before, published.append, tend_every=0)
    assert revoked
    (state,) = published
    row = state.table.find_key(bytes.fromhex(f"{3 + 0xABC000:064x}"))
    assert row is not None
    assert row.is_revoked
    assert state.table.models is before.table.models
    assert state.stamp == before.stamp
    assert last.table.find_model("gpt-4.1-new") is not None
    assert stored_keys(last.table) == stored_keys(read_state(database).table)
    # What came after the catalog was read is looked at once more.
    final = next_state(database, last, published.append)
    assert contents(final.table) == contents(read_state(database).table)


def elsewhere(write: Callable[[str], None], database: str) -> None:
    """As another process does."""
    write(database)
    connections[database].close()


def test_what_nobody_changed_costs_no_rows(database: str, keys: list[ApiKey]) -> None:
    lookup.refresh(using=database)
    ApiKey.objects.using(database).filter(pk=-1).update(note="nobody's")
    with statements(database) as seen:
        lookup.refresh(using=database)
    assert not [sql for sql in seen if '"routing_apikey"' in sql]


def test_the_log_stays_short(database: str) -> None:
    with connections[database].cursor() as cursor:
        cursor.execute(
            "INSERT INTO routing_configchange (id, version, changed_at, table_name) "
            "SELECT coalesce(max(id), 0) + %s, 0, %s, '' FROM routing_configchange",
            [triggers.LOG_LINES, timezone.now()],
        )
    # What was written by hand has moved no counter of PostgreSQL's.
    for _ in range(3):
        ServedModel.objects.using(database).filter(public_id="gpt-4.1").update(is_listed=False)
    ids = ConfigChange.objects.using(database).values_list("id", flat=True)
    assert max(ids) - min(ids) <= triggers.LOG_LINES


def test_a_log_that_was_pruned_too_far_is_not_relied_upon(database: str, keys: list[ApiKey]) -> None:
    lookup.refresh(using=database)
    revoke(database)
    delete_key(database)
    ConfigChange.objects.using(database).filter(version__lt=lookup.current().version + 2).delete()
    assert contents(lookup.refresh(using=database)) == contents(read_state(database).table)


def test_what_was_written_around_the_triggers_is_noticed_by_the_count(
    database: str, keys: list[ApiKey]
) -> None:
    lookup.refresh(using=database)
    triggers.remove(database)
    delete_key(database)
    triggers.install(database)
    revoke(database)
    assert contents(lookup.refresh(using=database)) == contents(read_state(database).table)


def test_a_database_that_was_put_back_is_read_anew(database: str, keys: list[ApiKey]) -> None:
    """The same version number, another history."""
    stale = lookup.refresh(using=database)
    revoke(database)
    lookup.refresh(using=database)
    with transaction.atomic(using=database):
        run_sql(
            database,
            "UPDATE routing_apikey SET revoked_at = NULL",
            f"UPDATE routing_configversion SET version = {stale.version}",
            f"DELETE FROM routing_configchange WHERE version > {stale.version}",
        )
    delete_key(database)
    disable_team(database)
    assert contents(lookup.refresh(using=database)) == contents(read_state(database).table)


# The log by itself.

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def line(version: int, table: str = "", row: int | None = None, at: datetime | None = None) -> ConfigChange:
    return ConfigChange(
        version=version,
        changed_at=at or NOON + timedelta(seconds=version),
        table_name=table,
        row_id=row,
    )


def stamp(version: int) -> VersionStamp:
    return VersionStamp(version, NOON + timedelta(seconds=version))


@pytest.mark.parametrize(
    ("lines", "changes"),
    [
        ([line(5)], Changes()),
        ([line(5, "routing_alias"), line(6, "routing_apikey", 3)], Changes(keys=frozenset({3}))),
        (
            [line(5), line(6, "routing_apikey", 3), line(6, "routing_apikey", 4)],
            Changes(keys=frozenset({3, 4})),
        ),
        ([line(5), line(6, "routing_apikey_allowed_models", 9)], Changes(keys=frozenset({9}))),
        ([line(5), line(6, "routing_team", 2)], Changes(teams=frozenset({2}))),
        ([line(5), line(6, "routing_apikey")], Changes(all_keys=True)),
        ([line(5), line(6, "routing_keypepper")], Changes(all_keys=True)),
        ([line(5), line(6, "routing_alias"), line(7)], Changes(catalog=True)),
        ([line(5), line(6, "a_table_of_the_future")], Changes(catalog=True)),
        ([line(5), line(6, triggers.EVERY_TABLE)], None),
        ([], None),
        ([line(6)], None),
        ([line(5, at=NOON), line(6)], None),
        ([line(5), line(7)], None),
        ([line(5), line(6), line(6, at=NOON)], None),
        ([line(5), *(line(6, "routing_apikey", row) for row in range(LINES_AT_MOST))], None),
    ],
)
def test_what_a_log_says(lines: list[ConfigChange], changes: Changes | None) -> None:
    until = max((each.version for each in lines), default=6)
    assert sum_up(lines, since=stamp(5), until=stamp(until)) == changes
