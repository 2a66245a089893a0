"""The configuration as one process holds it, and the way from one state to the next.

What the log of changes names is read again and nothing else: a key that was revoked is one
row, whatever lies beside it, and it does not wait for a catalog that is being read.
Everything is read where the log does not reach.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, Self

from django.db import connections

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

_TEND_EVERY: Final = 0.25


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


def next_state(
    using: str,
    before: State,
    publish: Callable[[State], object],
    *,
    force: bool = False,
    tend_every: float = _TEND_EVERY,
) -> State:
    """What follows `before`, from which requests are served meanwhile. With `force`, all is read.

    Keys do not wait for the catalog: while that is read, `publish` gets the catalog as it
    was with the keys as they are, every `tend_every` seconds if there is a change.
    """
    with beside_requests() as pace:
        changed = None if force else _read_keys(using, before, before.public_ids, pace)
        if changed is None:
            return _read_all(using, pace)
        state = _with_keys(before, changed.keys, version=changed.stamp.version)
        if not changed.is_catalog_changed:
            return replace(state, stamp=changed.stamp)
        state = _with_keys(before, changed.keys, version=before.table.version)
        if state.keys is not before.keys:
            publish(state)
        found = _read_catalog(using, state, changed.stamp, publish, pace, tend_every)
        return found if found is not None else _read_all(using, pace)


def _read_all(using: str, pause: Pause) -> State:
    with one_moment(using):
        stamp = read_version(using)
        rows = read_catalog(using, pause)
        pepper, teams, stored = read_pepper(using), read_teams(using), read_all_keys(using, pause)
    keys = build_keys(stored, encrypted_pepper=pepper, teams=teams, public_ids=rows.public_ids, pause=pause)
    catalog = build_catalog(rows, pause)
    return State(stamp, _table(stamp, catalog, keys, pause), catalog, keys, rows.public_ids)


@dataclass(frozen=True, slots=True)
class _ChangedKeys:
    stamp: VersionStamp
    keys: Keys
    is_catalog_changed: bool


def _read_keys(using: str, before: State, public_ids: Mapping[int, str], pause: Pause) -> _ChangedKeys | None:
    """The keys as they are now, of those of `before` and what changed since its stamp.

    None where all must be read: the log does not reach, says so, or does not add up.
    """
    keys = before.keys
    with one_moment(using):
        stamp = read_version(using)
        changes = read_changes(using, since=before.stamp, until=stamp)
        if changes is None or changes.all_keys:
            return None
        ids = _changed_keys(using, before, changes, public_ids)
        if ids is None:
            return None
        if not ids and not changes.teams:
            return _ChangedKeys(stamp, keys, changes.catalog)
        teams = read_teams(using) if changes.teams else keys.ring.teams
        stored = read_some_keys(using, ids, pause)
        count = count_keys(using)
    keys = amend_keys(keys, stored, ids=ids, teams=teams, public_ids=public_ids, pause=pause)
    if keys.ring.key_count != count:
        return None  # Somebody wrote around the triggers.
    return _ChangedKeys(stamp, keys, changes.catalog)


def _read_catalog(
    using: str,
    before: State,
    seen: VersionStamp,
    publish: Callable[[State], object],
    pace: Pause,
    tend_every: float,
) -> State | None:
    """The catalog anew, and the keys as they are at its end. None where all must be read."""
    with _Tending(using, before, seen, publish, pace, tend_every) as tending:
        with one_moment(using):
            stamp = read_version(using)
            rows = read_catalog(using, tending.pause)
        catalog = build_catalog(rows, tending.pause)
        public_ids = rows.public_ids
        table = _table(stamp, catalog, tending.state.keys, tending.pause)
    changed = _read_keys(using, tending.state, public_ids, pace)
    if changed is None:
        return None
    # Keys may be younger than the stamp says: what changed after it is read once more.
    state = State(stamp, table, catalog, tending.state.keys, public_ids)
    return _with_keys(state, changed.keys, version=stamp.version)


class _Tending:
    """Keeps the keys in force up to date while the catalog is read.

    In a thread of its own, as this one's connection sees one moment for as long as it reads.
    Inside somebody's transaction nobody else sees what is read, and nothing is tended.
    """

    def __init__(
        self,
        using: str,
        state: State,
        seen: VersionStamp,
        publish: Callable[[State], object],
        pace: Pause,
        every: float,
    ) -> None:
        self.state = state
        self._using = using
        self._seen = seen
        self._publish = publish
        self._pace = pace
        self._every = every
        self._next = time.monotonic() + every
        self._is_possible = not connections[using].in_atomic_block
        self._helper: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._helper is not None:
            self._helper.submit(self._hang_up).result()
            self._helper.shutdown()

    def pause(self) -> None:
        self._pace()
        if self._is_possible and time.monotonic() >= self._next:
            self._tend()
            self._next = time.monotonic() + self._every

    def _tend(self) -> None:
        if self._helper is None:
            self._helper = ThreadPoolExecutor(1, "patchbay-config-keys")
        changed = self._helper.submit(self._read).result()
        if changed is None:
            return
        self._seen = changed.stamp
        if changed.keys is not self.state.keys:
            self.state = _with_keys(self.state, changed.keys, version=self.state.table.version)
            self._publish(self.state)

    def _hang_up(self) -> None:
        connections[self._using].close()

    def _read(self) -> _ChangedKeys | None:
        if read_version(self._using) == self._seen:
            return None
        return _read_keys(self._using, self.state, self.state.public_ids, self._pace)


def _with_keys(state: State, keys: Keys, *, version: int) -> State:
    table = state.table.with_keys(
        keys.ring, version=version, built_at=time.time(), problems=state.catalog.problems + keys.problems
    )
    return replace(state, table=table, keys=keys)


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
