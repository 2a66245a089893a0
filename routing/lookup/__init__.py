"""The routing table in force in this process.

`current()` is a plain reference and what requests use. Everything else here keeps that
reference up to date: `refresh()` reads the database once, `Watcher` does so for as long
as the process lives. Nothing connects to a database before one of them is called.
"""

from __future__ import annotations

from routing.lookup.snapshot import (
    NotLoaded,
    Status,
    current,
    digest_key,
    forget,
    refresh,
    status,
    subscribe,
)
from routing.lookup.watcher import Watcher

__all__ = [
    "NotLoaded",
    "Status",
    "Watcher",
    "current",
    "digest_key",
    "forget",
    "refresh",
    "status",
    "subscribe",
]
