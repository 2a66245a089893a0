"""One state of the database: what tells it from others, and how several queries see the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.db import OperationalError, connections, transaction
from django.db.models import Model, QuerySet

from routing.lookup.pace import Pause, paced
from routing.models import ConfigVersion

_ROWS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class VersionStamp:
    """What tells one state of the configuration from another."""

    version: int
    changed_at: datetime


class NotMigrated(OperationalError):
    """There are tables and no version: the first migration is under way, or was cut off."""

    def __init__(self) -> None:
        super().__init__("the configuration has no version yet: `python manage.py migrate` has not ended")


def read_version(using: str) -> VersionStamp:
    """The version that is committed now. One indexed row. Raises `DatabaseError`."""
    row = ConfigVersion.objects.using(using).values_list("version", "changed_at").filter(id=1).first()
    if row is None:
        raise NotMigrated
    return VersionStamp(*row)


@contextmanager
def one_moment(using: str) -> Iterator[None]:
    """All reads inside see the same state, and none waits for a writer."""
    connection = connections[using]
    if connection.in_atomic_block:
        yield  # Somebody's transaction: it sees what it has written, and we with it.
    elif connection.vendor == "sqlite":
        # atomic() would take the write lock (transaction_mode is IMMEDIATE).
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")
    else:
        with transaction.atomic(using=using):
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield


AnyModel = TypeVar("AnyModel", bound=Model)
Row = TypeVar("Row")


def read_rows(rows: QuerySet[AnyModel, Row], pause: Pause) -> list[Row]:
    """What a query finds, fetched a few hundred rows at a time."""
    return list(paced(rows.iterator(chunk_size=_ROWS_AT_ONCE), pause))
