"""What the configuration's log says between two versions: which parts must be read again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from routing.lookup.moment import VersionStamp
from routing.models import ConfigChange, triggers

LINES_AT_MOST: Final = 2_000
"""With more of them, reading everything is quicker."""

_KEY_TABLES: Final = frozenset({*triggers.ROW_COLUMNS, "routing_keypepper"})


class Line(Protocol):
    """A line of the log (`routing.models.ConfigChange`)."""

    version: int
    changed_at: datetime
    table_name: str
    row_id: int | None


@dataclass(frozen=True, slots=True)
class Changes:
    """`catalog`: anything in it. `all_keys`: it is not known which. `keys` and `teams` are ids."""

    catalog: bool = False
    all_keys: bool = False
    keys: frozenset[int] = frozenset()
    teams: frozenset[int] = frozenset()


def read_changes(using: str, *, since: VersionStamp, until: VersionStamp) -> Changes | None:
    """What has changed. None where the log does not lead from one stamp to the other."""
    lines = ConfigChange.objects.using(using).filter(version__gte=since.version).order_by("id")
    return sum_up(list(lines[: LINES_AT_MOST + 1]), since=since, until=until)


def sum_up(lines: Iterable[Line], *, since: VersionStamp, until: VersionStamp) -> Changes | None:
    """The changes in `lines`, which begin with `since`.

    A log that was pruned, emptied, restored or written around holds another moment for a
    version, or none: then nothing in it is relied upon, and there is no answer.
    """
    moments: dict[int, datetime] = {}
    catalog = all_keys = False
    rows: dict[str, set[int]] = {table: set() for table in triggers.ROW_COLUMNS}
    count = 0
    for line in lines:
        count += 1
        if moments.setdefault(line.version, line.changed_at) != line.changed_at:
            return None
        if line.version == since.version or not line.table_name:
            continue
        if line.table_name == triggers.EVERY_TABLE:
            return None
        if line.table_name not in _KEY_TABLES:
            catalog = True
        elif line.row_id is None:
            all_keys = True
        else:
            rows[line.table_name].add(line.row_id)
    is_whole = (
        count <= LINES_AT_MOST
        and moments.get(since.version) == since.changed_at
        and moments.get(until.version) == until.changed_at
        and len(moments) == until.version - since.version + 1
    )
    if not is_whole:
        return None
    return Changes(
        catalog=catalog,
        all_keys=all_keys,
        keys=frozenset(rows["routing_apikey"] | rows["routing_apikey_allowed_models"]),
        teams=frozenset(rows["routing_team"]),
    )
