"""The configuration as one process holds it, and the way from one state to the next.

What the log of changes names is read again and nothing else: a key that was revoked is one
row, whatever lies beside it. Everything is read where the log does not reach.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from routing.domain.table import RoutingTable
from routing.lookup.building import Catalog, build_catalog, read_catalog
from routing.lookup.changes import LINES_AT_MOST, Changes, read_changes
from routing.lookup.keys import (
    Keys,
    amend_keys,
    build_keys,
    count_keys,
    find_keys_of_models,
    find_keys_of_teams,
    read_all_keys,
    read_pepper,
    read_some_keys,
    read_teams,
)
from routing.lookup.moment import VersionStamp, one_moment, read_version
from routing.lookup.pace import Pause, beside_requests, hurry


@dataclass(frozen=True, slots=True)
class State:
    """A table, and what is needed to make the next one of it. `public_ids` are the models' by row id."""

    stamp: VersionStamp
    table: RoutingTable
    catalog: Catalog
    keys: Keys
    public_ids: Mapping[int, str]


def read_state(using: str) -> State:
    """All of it as it is committed now, by a fixed number of queries. Raises `DatabaseError`."""
    return _read_all(using, hurry)


def next_state(using: str, before: State, *, force: bool = False) -> State:
    """What follows `before`, from which requests are served meanwhile. With `force`, all is read."""
    with beside_requests() as pace:
        found = None if force else _read_changed(using, before, pace)
        return found if found is not None else _read_all(using, pace)


def _read_all(using: str, pause: Pause) -> State:
    with one_moment(using):
        stamp = read_version(using)
        rows = read_catalog(using, pause)
        pepper, teams, stored = read_pepper(using), read_teams(using), read_all_keys(using, pause)
    keys = build_keys(stored, encrypted_pepper=pepper, teams=teams, public_ids=rows.public_ids, pause=pause)
    catalog = build_catalog(rows, pause)
    return State(stamp, _table(stamp, catalog, keys, pause), catalog, keys, rows.public_ids)


def _read_changed(using: str, before: State, pause: Pause) -> State | None:
    """None where all must be read: the log does not reach, says so, or does not add up."""
    with one_moment(using):
        stamp = read_version(using)
        changes = read_changes(using, since=before.stamp, until=stamp)
        if changes is None or changes.all_keys:
            return None
        rows = read_catalog(using, pause) if changes.catalog else None
        public_ids = rows.public_ids if rows is not None else before.public_ids
        ids = _changed_keys(using, before, changes, public_ids)
        if ids is None:
            return None
        teams = read_teams(using) if changes.teams else before.keys.ring.teams
        stored = read_some_keys(using, ids, pause)
        count = count_keys(using) if ids else before.keys.ring.key_count
    keys = before.keys
    if ids or changes.teams:
        keys = amend_keys(keys, stored, ids=ids, teams=teams, public_ids=public_ids, pause=pause)
        if keys.ring.key_count != count:
            return None  # Somebody wrote around the triggers.
    if rows is not None:
        catalog = build_catalog(rows, pause)
        return State(stamp, _table(stamp, catalog, keys, pause), catalog, keys, public_ids)
    table = before.table.with_keys(
        keys.ring,
        version=stamp.version,
        built_at=time.time(),
        problems=before.catalog.problems + keys.problems,
    )
    return State(stamp, table, before.catalog, keys, public_ids)


def _changed_keys(
    using: str, before: State, changes: Changes, public_ids: Mapping[int, str]
) -> set[int] | None:
    """The keys to read again. None: too many of them."""
    ids = set(changes.keys)
    if changes.teams:
        ids |= find_keys_of_teams(using, changes.teams, LINES_AT_MOST)
    if public_ids is not before.public_ids:
        # A scope names models by their public ids, which an operator may change.
        renamed = {row_id for row_id, _ in public_ids.items() ^ before.public_ids.items()}
        renamed &= before.public_ids.keys()
        if len(renamed) > LINES_AT_MOST:
            return None
        ids |= find_keys_of_models(using, renamed, LINES_AT_MOST)
    return ids if len(ids) < LINES_AT_MOST else None


def _table(stamp: VersionStamp, catalog: Catalog, keys: Keys, pause: Pause) -> RoutingTable:
    return RoutingTable(
        version=stamp.version,
        models=catalog.models,
        aliases=catalog.aliases,
        providers=catalog.providers,
        built_at=time.time(),
        problems=catalog.problems + keys.problems,
        keys=keys.ring,
        pause=pause,
    )
