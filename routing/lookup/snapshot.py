"""The one reference to the table in force, and how it is replaced."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import DEFAULT_DB_ALIAS

from routing.domain.table import RoutingTable
from routing.lookup.moment import read_version
from routing.lookup.state import State, next_state, read_state

logger = logging.getLogger("patchbay.config")


class NotLoaded(RuntimeError):
    """No configuration was read yet: the database has not answered since this process started."""

    def __init__(self) -> None:
        super().__init__(
            "no configuration has been loaded yet: call routing.lookup.refresh(), or start a Watcher"
        )


@dataclass(frozen=True, slots=True)
class Status:
    """`version` is None before the first load. `last_checked`: the last answer, in Unix seconds."""

    version: int | None
    is_database_ok: bool
    last_checked: float | None


_loaded: State | None = None
_last_checked: float | None = None
_is_database_ok = False
_subscribers: list[Callable[[RoutingTable], object]] = []
# Reading and swapping in one piece: a slow reader never puts an older table over a newer one.
_refreshing = threading.Lock()


def current() -> RoutingTable:
    """The table in force. Never waits, never reads a database. Raises `NotLoaded`."""
    loaded = _loaded
    if loaded is None:
        raise NotLoaded
    return loaded.table


def digest_key(secret: str) -> bytes:
    """`RoutingTable.digest_key` of the table in force. Raises `NotLoaded`."""
    return current().digest_key(secret)


def refresh(force: bool = False, *, using: str = DEFAULT_DB_ALIAS) -> RoutingTable:
    """Read the configuration if its version changed (or `force`), and put it in force.

    Database errors are the caller's; the table in force stays. Not for the event loop.
    """
    with _refreshing:
        loaded = _loaded
        if loaded is not None and not force and read_version(using) == loaded.stamp:
            note_database(is_ok=True)
            return loaded.table
        state = read_state(using) if loaded is None else next_state(using, loaded, _put_in_force, force=force)
        note_database(is_ok=True)
        _put_in_force(state)
        _report(state.table, loaded.table if loaded is not None else None)
        return state.table


def _put_in_force(state: State) -> None:
    global _loaded
    for callback in tuple(_subscribers):
        _tell(callback, state.table)
    _loaded = state


def subscribe(callback: Callable[[RoutingTable], object]) -> Callable[[], None]:
    """Call `callback` with each new table, just before requests see it; now too, if one is loaded.

    It runs in the thread that refreshes. What it raises is logged and keeps no table
    back. Returns what ends the subscription.
    """
    with _refreshing:
        _subscribers.append(callback)
        if _loaded is not None:
            _tell(callback, _loaded.table)

    def unsubscribe() -> None:
        if callback in _subscribers:
            _subscribers.remove(callback)

    return unsubscribe


def status() -> Status:
    loaded = _loaded
    return Status(
        version=loaded.table.version if loaded is not None else None,
        is_database_ok=_is_database_ok,
        last_checked=_last_checked,
    )


def note_database(*, is_ok: bool) -> bool:
    """Remember whether the database answers; returns what was known before."""
    global _is_database_ok, _last_checked
    before = _is_database_ok
    _is_database_ok = is_ok
    if is_ok:
        _last_checked = time.time()
    return before


def forget() -> None:
    """Back to the state of a process that just started, but for the subscribers. For tests."""
    global _loaded, _last_checked, _is_database_ok
    with _refreshing:
        _loaded, _last_checked, _is_database_ok = None, None, False


def _tell(callback: Callable[[RoutingTable], object], table: RoutingTable) -> None:
    try:
        callback(table)
    except Exception:
        logger.exception("A subscriber failed on configuration version %d.", table.version)


def _report(table: RoutingTable, before: RoutingTable | None) -> None:
    logger.info(
        "Configuration version %d is in force.",
        table.version,
        extra={"fields": {"models": len(table.models), "aliases": len(table.aliases)}},
    )
    known = set(before.problems) if before is not None else set()
    for problem in table.problems:
        if problem not in known:
            logger.error("%s", problem)
