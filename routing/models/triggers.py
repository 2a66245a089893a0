"""The database itself counts the configuration's version up, whoever writes and however.

`save()`, bulk writes, `.update()`, raw SQL and a database shell all pass through these
triggers, in the transaction of the change itself. They also refuse an alias that
shadows a model, which no unique constraint can say.

SQLite drops a table's triggers when a migration rebuilds the table, and fails to rebuild
a table that another one's trigger names. So they go before migrations and come back
after them.

Each count also leaves a line that says what it was about (changes.py), for workers that
would rather read one key again than fifty thousand. The log prunes itself: a worker that
was away for longer reads everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

VERSION_TABLE: Final = "routing_configversion"
LOG_TABLE: Final = "routing_configchange"
LOG_LINES: Final = 10_000
EVERY_TABLE: Final = "*"
WATCHED_TABLES: Final = (
    "routing_provider",
    "routing_credential",
    "routing_providerheader",
    "routing_servedmodel",
    "routing_deployment",
    "routing_alias",
    "routing_fallbackmodel",
    "routing_team",
    "routing_apikey",
    "routing_apikey_allowed_models",
    "routing_keypepper",
)
# Of these the log names the rows, by this column.
ROW_COLUMNS: Final = {
    "routing_team": "id",
    "routing_apikey": "id",
    "routing_apikey_allowed_models": "apikey_id",
}
_NAME_TABLES: Final = ("routing_servedmodel", "routing_alias")
_SHADOWED: Final = (
    "SELECT 1 FROM routing_alias AS a JOIN routing_servedmodel AS m ON lower(a.name) = lower(m.public_id)"
)
_SHADOW_MESSAGE: Final = "A name is either a model or an alias"


def install(using: str) -> None:
    """Create the triggers, in place of any that are there."""
    connection = connections[using]
    with transaction.atomic(using=using), connection.cursor() as cursor:
        for statement in _removals(connection) + _creations(connection):
            cursor.execute(statement)


def remove(using: str) -> None:
    connection = connections[using]
    with transaction.atomic(using=using), connection.cursor() as cursor:
        for statement in _removals(connection):
            cursor.execute(statement)


def bump(using: str) -> None:
    """Count the version up, as if anything might have changed, and make its row if there is none."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(_BUMP[connection.vendor])
        if _has_log(connection):
            cursor.execute(_log_line(f"'{EVERY_TABLE}'"))


def missing_triggers(using: str) -> list[str]:
    """The names of triggers that should be there and are not."""
    connection = connections[using]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        else:
            # Only of the schema that unqualified names mean: another installation may be beside us.
            cursor.execute(
                "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
                "WHERE NOT tgisinternal AND pg_table_is_visible(pg_class.oid)"
            )
        present = {row[0] for row in cursor.fetchall()}
    return [name for name in _trigger_names(connection.vendor) if name not in present]


def before_migrate(*, using: str, plan: Sequence[tuple[Any, bool]] = (), **_: object) -> None:
    concerns_us = any(migration.app_label == "routing" for migration, _ in plan)
    if connections[using].vendor == "sqlite" and concerns_us:
        remove(using)


def after_migrate(*, using: str, **_: object) -> None:
    connection = connections[using]
    tables = _present_tables(connection)
    if tables:
        install(using)
        bump(using)
    elif connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for function in ("routing_bump_version", "routing_note_row", "routing_refuse_shadow"):
                cursor.execute(f"DROP FUNCTION IF EXISTS {function}()")


def _present_tables(connection: BaseDatabaseWrapper) -> list[str]:
    """The watched tables that there are: not all of them where migrations stopped half-way."""
    present = set(connection.introspection.table_names())
    if VERSION_TABLE not in present or not set(_NAME_TABLES) <= present:
        return []
    return [table for table in WATCHED_TABLES if table in present]


def _has_log(connection: BaseDatabaseWrapper) -> bool:
    return LOG_TABLE in connection.introspection.table_names()


# The row may be missing after a flush. The time tells a fresh count from the one before.
_BUMP: Final = {
    "sqlite": (
        f"INSERT INTO {VERSION_TABLE} (id, version, changed_at) "
        "VALUES (1, 1, strftime('%Y-%m-%d %H:%M:%f', 'now')) "
        "ON CONFLICT (id) DO UPDATE SET version = version + 1, changed_at = excluded.changed_at"
    ),
    "postgresql": (
        f"INSERT INTO {VERSION_TABLE} AS current (id, version, changed_at) VALUES (1, 1, clock_timestamp()) "
        "ON CONFLICT (id) DO UPDATE SET version = current.version + 1, changed_at = excluded.changed_at"
    ),
}

_PRUNE: Final = f"DELETE FROM {LOG_TABLE} WHERE id <= (SELECT max(id) FROM {LOG_TABLE}) - {LOG_LINES}"


def _log_line(table: str, row: str = "NULL") -> str:
    """SQL: one more line about the version that was just counted."""
    return (
        f"INSERT INTO {LOG_TABLE} (version, changed_at, table_name, row_id) "
        f"SELECT version, changed_at, {table}, {row} FROM {VERSION_TABLE}"
    )


_SQLITE_EVENTS: Final = ("insert", "update", "delete")


def _trigger_names(vendor: str) -> list[str]:
    if vendor == "sqlite":
        names = [f"{table}_bump_{event}" for table in WATCHED_TABLES for event in _SQLITE_EVENTS]
        return names + [f"{table}_shadow_{event}" for table in _NAME_TABLES for event in ("insert", "update")]
    names = [f"{table}_{suffix}" for table in WATCHED_TABLES for suffix in ("bump", "bump_truncate")]
    names += [f"{table}_note" for table in ROW_COLUMNS]
    return names + [f"{table}_shadow" for table in _NAME_TABLES]


def _removals(connection: BaseDatabaseWrapper) -> list[str]:
    if connection.vendor == "sqlite":
        return [f"DROP TRIGGER IF EXISTS {name}" for name in _trigger_names("sqlite")]
    return [f"DROP TRIGGER IF EXISTS {name} ON {_table_of(name)}" for name in _trigger_names("postgresql")]


def _table_of(trigger: str) -> str:
    return max((table for table in WATCHED_TABLES if trigger.startswith(f"{table}_")), key=len)


def _creations(connection: BaseDatabaseWrapper) -> list[str]:
    tables = _present_tables(connection)
    has_log = _has_log(connection)  # Not where migrations stopped before it.
    if connection.vendor == "sqlite":
        return _sqlite_creations(tables, has_log=has_log)
    if connection.vendor == "postgresql":
        return _postgresql_creations(tables, has_log=has_log)
    raise RuntimeError(f"The configuration lives in SQLite or PostgreSQL, not in {connection.vendor}.")


def _sqlite_creations(tables: Sequence[str], *, has_log: bool) -> list[str]:
    bumps = [
        f"CREATE TRIGGER {table}_bump_{event} AFTER {event.upper()} ON {table} "
        f"BEGIN {_BUMP['sqlite']}; {_sqlite_log(table, event) if has_log else ''} END"
        for table in tables
        for event in _SQLITE_EVENTS
    ]
    guards = [
        f"CREATE TRIGGER {table}_shadow_{event} AFTER {event.upper()} ON {table} WHEN EXISTS ({_SHADOWED}) "
        f"BEGIN SELECT RAISE(ABORT, '{_SHADOW_MESSAGE}'); END"
        for table in _NAME_TABLES
        for event in ("insert", "update")
    ]
    return bumps + guards


def _sqlite_log(table: str, event: str) -> str:
    column = ROW_COLUMNS.get(table)
    lines = [_log_line(f"'{table}'")]
    if column is not None:
        before, after = _log_line(f"'{table}'", f"OLD.{column}"), _log_line(f"'{table}'", f"NEW.{column}")
        moved = f"{before} WHERE OLD.{column} <> NEW.{column}"
        lines = {"insert": [after], "update": [after, moved], "delete": [before]}[event]
    return "; ".join([*lines, _PRUNE]) + ";"


def _postgresql_creations(tables: Sequence[str], *, has_log: bool) -> list[str]:
    # The count goes up before the statement touches its rows: whoever comes second waits
    # there, holding nothing that the first could need, and the guard after the statement
    # sees all that was committed.
    named = "CASE WHEN TG_NARGS > 0 THEN '' ELSE TG_TABLE_NAME END"
    log = f"{_log_line(named)}; {_PRUNE};" if has_log else ""
    statements = [
        "CREATE OR REPLACE FUNCTION routing_bump_version() RETURNS trigger LANGUAGE plpgsql AS $$ "
        f"BEGIN {_BUMP['postgresql']}; {log} RETURN NULL; END $$",
        "CREATE OR REPLACE FUNCTION routing_refuse_shadow() RETURNS trigger LANGUAGE plpgsql AS $$ "
        f"BEGIN IF EXISTS ({_SHADOWED}) THEN "
        f"RAISE EXCEPTION '{_SHADOW_MESSAGE}' USING ERRCODE = 'unique_violation'; "
        "END IF; RETURN NULL; END $$",
    ]
    if has_log:
        statements.append(_POSTGRESQL_NOTE)
    for table in tables:
        # With an argument, the count leaves it to the notes which rows there were.
        argument = "'rows'" if has_log and table in ROW_COLUMNS else ""
        statements.append(
            f"CREATE TRIGGER {table}_bump BEFORE INSERT OR UPDATE OR DELETE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION routing_bump_version({argument})"
        )
        statements.append(
            f"CREATE TRIGGER {table}_bump_truncate AFTER TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION routing_bump_version()"
        )
        if has_log and table in ROW_COLUMNS:
            statements.append(
                f"CREATE TRIGGER {table}_note AFTER INSERT OR UPDATE OR DELETE ON {table} "
                f"FOR EACH ROW EXECUTE FUNCTION routing_note_row('{ROW_COLUMNS[table]}')"
            )
    for table in _NAME_TABLES:
        statements.append(
            f"CREATE TRIGGER {table}_shadow AFTER INSERT OR UPDATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION routing_refuse_shadow()"
        )
    return statements


_POSTGRESQL_NOTE: Final = (
    "CREATE OR REPLACE FUNCTION routing_note_row() RETURNS trigger LANGUAGE plpgsql AS $$ "
    "DECLARE before bigint; after bigint; BEGIN "
    "IF TG_OP <> 'INSERT' THEN before := (to_jsonb(OLD) ->> TG_ARGV[0])::bigint; END IF; "
    "IF TG_OP <> 'DELETE' THEN after := (to_jsonb(NEW) ->> TG_ARGV[0])::bigint; END IF; "
    f"IF after IS NOT NULL THEN {_log_line('TG_TABLE_NAME', 'after')}; END IF; "
    f"IF before IS DISTINCT FROM after AND before IS NOT NULL THEN {_log_line('TG_TABLE_NAME', 'before')}; "
    "END IF; RETURN NULL; END $$"
)
