"""What requests feel of changes in a large catalog, and how soon a revoked key is refused."""

from __future__ import annotations

import http.client
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.candidates import Candidate, request_bytes
from benchmarks.scenarios import Scenario, measure

# Not as fast as it goes: a queue that is always full would hide what a pause adds.
STEADY = Scenario("steady", connections=4, rounds=400, interval_ms=10)
_TRIES = 6
_EVERY = 0.8

_CHANGES = {
    "quiet": "",
    # A model's row: every worker builds its catalog anew.
    "catalog changes": "UPDATE routing_servedmodel SET description = 'changed' WHERE id = "
    "(SELECT max(id) FROM routing_servedmodel)",
    "key changes": "UPDATE routing_apikey SET note = 'changed' WHERE id = "
    "(SELECT min(id) FROM routing_apikey)",
}


def measure_rebuilds(candidate: Candidate, database: Path, folder: Path, key: str) -> dict[str, Any]:
    """The latencies of a steady load, left alone and with a change every 0.8 s; then `key` is revoked."""
    found: dict[str, Any] = {}
    for name, statement in _CHANGES.items():
        with _changing(database, statement):
            figures = measure(STEADY, candidate, folder)
        found[name] = {
            "p50_ms": figures["total"]["p50_ms"],
            "p99_ms": figures["total"]["p99_ms"],
            "max_ms": figures["total"]["max_ms"],
            "cpu_ms_per_request": figures["cpu_ms_per_request"],
            "errors": figures["errors"] + figures["stuck"],
        }
    times = [_revoke(replace(candidate, key=key), database) for _ in range(_TRIES)]
    found["revocation"] = {
        "median_ms": statistics.median(times) * 1e3,
        "max_ms": max(times) * 1e3,
        "tries": _TRIES,
    }
    return found


@contextmanager
def _changing(database: Path, statement: str) -> Iterator[None]:
    done = threading.Event()

    def change() -> None:
        while not done.wait(_EVERY):
            _write(database, statement)

    thread = threading.Thread(target=change)
    if statement:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if statement:
            thread.join()


def _write(database: Path, statement: str, *values: str | None) -> None:
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        connection.execute(statement, values)


def _revoke(candidate: Candidate, database: Path) -> float:
    """Seconds from the commit of a revocation to the first refusal."""
    revoke = "UPDATE routing_apikey SET revoked_at = ? WHERE prefix = ?"
    prefix = candidate.key[:12]
    _write(database, revoke, None, prefix)
    _wait(lambda: _status(candidate) == 200)
    _write(database, revoke, "2026-01-01 00:00:00", prefix)
    began = time.perf_counter()
    _wait(lambda: _status(candidate) == 401)
    return time.perf_counter() - began


def _wait(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not claim():
        if time.monotonic() > deadline:
            raise SystemExit("A change of a key was not in force after 10 seconds.")
        time.sleep(0.005)


def _status(candidate: Candidate) -> int:
    headers, body = request_bytes(candidate, prompt="Hello.", is_stream=False)
    with closing(http.client.HTTPConnection("127.0.0.1", candidate.port, timeout=10)) as connection:
        connection.request("POST", candidate.path, body, headers)
        return connection.getresponse().status
