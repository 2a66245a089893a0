"""Remembers which keys were used, for a thread that writes it down now and then."""

from __future__ import annotations

import logging
import threading
from typing import Final

from django.db import DatabaseError, connections

from routing.services import record_use

logger = logging.getLogger("patchbay.keys")

WRITE_SECONDS: Final = 30.0

_used: dict[int, float] = {}


def note(key_id: int, now: float) -> None:
    """A request came with this key at `now` (Unix seconds). Costs the request one assignment."""
    _used[key_id] = now


class Writer:
    """A daemon thread that stores what was noted, every WRITE_SECONDS and once more when it stops."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="patchbay-key-use", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        try:
            while not self._stop.wait(WRITE_SECONDS):
                flush()
            flush()
        finally:
            connections.close_all()


def flush() -> None:
    """Store what was noted since the last time. Without a database it is kept for the next time."""
    taken: dict[int, float] = {}
    while _used:
        key_id, when = _used.popitem()
        taken[key_id] = when
    if not taken:
        return
    try:
        record_use(taken)
    except DatabaseError:
        logger.warning("The last use of keys could not be stored yet: the database does not answer.")
        connections.close_all()
        for key_id, when in taken.items():
            _used.setdefault(key_id, when)
