"""A running worker follows the database, and outlives it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction
from django.utils import timezone

from routing import lookup
from routing.domain.table import RoutingTable
from routing.models import Alias, Worker, triggers
from tests.postgres_server import PostgresServer
from tests.routing.databases import registered

PATIENCE = 10.0


class Versions:
    """Every table that came into force, and a way to wait for one."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self.seen: list[int] = []

    def __call__(self, table: RoutingTable) -> None:
        with self._arrived:
            self.seen.append(table.version)
            self._arrived.notify_all()

    def wait_for(self, version: int) -> bool:
        with self._arrived:
            return self._arrived.wait_for(lambda: version in self.seen, PATIENCE)


@pytest.fixture
def versions() -> Iterator[Versions]:
    seen = Versions()
    end = lookup.subscribe(seen)
    yield seen
    end()


@pytest.fixture
def start(database: str) -> Iterator[Callable[..., lookup.Watcher]]:
    started: list[lookup.Watcher] = []

    def start_one(**options: Any) -> lookup.Watcher:
        watcher = lookup.Watcher(using=database, **options)
        watcher.start()
        started.append(watcher)
        return watcher

    yield start_one
    for watcher in started:
        watcher.stop()


def eventually(claim: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not claim():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.02)
    return True


def test_a_change_is_in_force_within_a_second(
    database: str, start: Callable[[], lookup.Watcher], versions: Versions
) -> None:
    watcher = start()
    assert watcher.wait_loaded(PATIENCE)
    Alias.objects.using(database).filter(name="gpt-5").update(note="live")
    committed = time.monotonic()
    wanted = lookup.current().version + 1
    assert versions.wait_for(wanted)
    assert time.monotonic() - committed < 1.0
    assert eventually(lambda: lookup.current().version == wanted)


def test_a_kick_does_not_wait_for_the_next_turn(
    database: str, settings: Any, start: Callable[[], lookup.Watcher], versions: Versions
) -> None:
    settings.CONFIG_POLL_INTERVAL = 3600
    watcher = start()
    assert watcher.wait_loaded(PATIENCE)
    wanted = lookup.current().version + 1
    triggers.bump(database)
    watcher.kick()
    assert versions.wait_for(wanted)


def test_the_worker_says_what_rests_in_it_as_soon_as_it_does(
    database: str,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    start: Callable[..., lookup.Watcher],
) -> None:
    settings.CONFIG_POLL_INTERVAL = 0.02
    monkeypatch.setattr("routing.lookup.watcher.HEARTBEAT_SECONDS", 3600.0)
    resting: list[dict[str, Any]] = []
    watcher = start(describe_cooldowns=lambda: list(resting))
    workers = Worker.objects.using(database).filter(pk=watcher.worker_id)
    assert eventually(lambda: workers.exists())
    assert workers.get().cooldowns == []
    resting.append({"deployment": 1, "credential": "red", "reason": "quota", "until": "2026-01-01T00:00:00Z"})
    assert eventually(lambda: workers.get().cooldowns == resting), "at the change"
    resting.clear()
    assert eventually(lambda: workers.get().cooldowns == [])


def test_cooldowns_that_cannot_be_told_do_not_stop_the_heartbeat(
    database: str, start: Callable[..., lookup.Watcher], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> list[dict[str, Any]]:
        raise ValueError("not my day")

    watcher = start(describe_cooldowns=fail)
    workers = Worker.objects.using(database).filter(pk=watcher.worker_id)
    assert eventually(lambda: workers.exists())
    assert watcher.is_alive
    assert "could not be described" in caplog.text


def test_the_worker_says_which_version_it_runs(
    database: str, start: Callable[[], lookup.Watcher], versions: Versions
) -> None:
    watcher = start()
    assert watcher.wait_loaded(PATIENCE)
    workers = Worker.objects.using(database).filter(pk=watcher.worker_id)
    assert eventually(lambda: workers.exists())
    wanted = lookup.current().version + 1
    triggers.bump(database)
    assert versions.wait_for(wanted)
    assert eventually(lambda: workers.get().version == wanted), "at the change, not at the next heartbeat"
    watcher.stop()
    assert not watcher.is_alive
    assert not workers.exists()


def test_rows_of_workers_that_died_are_removed(database: str, start: Callable[[], lookup.Watcher]) -> None:
    now = timezone.now()
    dead, alive = (
        Worker.objects.using(database).create(
            hostname="h", pid=pid, started_at=now, version=1, seen_at=now - timedelta(seconds=age)
        )
        for pid, age in ((1, 61), (2, 30))
    )
    watcher = start()
    assert eventually(lambda: not Worker.objects.using(database).filter(pk=dead.pk).exists())
    assert Worker.objects.using(database).filter(pk=alive.pk).exists()
    watcher.stop()


def test_stopping_is_quick_and_also_works_unstarted(
    database: str, start: Callable[[], lookup.Watcher]
) -> None:
    watcher = start()
    assert watcher.wait_loaded(PATIENCE)
    before = time.monotonic()
    watcher.stop()
    assert time.monotonic() - before < 1.0
    assert not watcher.is_alive
    lookup.Watcher(using=database).stop()


def test_a_long_write_does_not_keep_it_from_looking(
    database: str, start: Callable[[], lookup.Watcher], versions: Versions
) -> None:
    """SQLite has one writer: a heartbeat that waited for it would delay the next look."""
    watcher = start()
    assert watcher.wait_loaded(PATIENCE)
    checked = lookup.status().last_checked
    assert checked is not None
    with transaction.atomic(using=database):
        Alias.objects.using(database).filter(name="gpt-5").update(note="slow")
        assert eventually(lambda: (lookup.status().last_checked or 0) > checked + 0.5)
    assert lookup.status().is_database_ok


def test_a_database_that_was_not_migrated_is_waited_for(
    postgres_server: PostgresServer, django_db_setup: None, django_db_blocker: Any, caplog: Any
) -> None:
    with django_db_blocker.unblock():
        config = postgres_server.create_database("empty_at_first")
        connections.settings["late"] = connections.settings["default"] | config
        watcher = lookup.Watcher(using="late")
        watcher.start()
        try:
            assert eventually(lambda: "does not answer" in caplog.text)
            assert not watcher.wait_loaded(0)
            with registered("late", config):
                assert watcher.wait_loaded(PATIENCE)
                assert len(lookup.current().models) == 13
                watcher.stop()
        finally:
            watcher.stop()


def test_a_database_that_goes_away_and_comes_back(
    tmp_path: Path, django_db_setup: None, django_db_blocker: Any, caplog: Any, versions: Versions
) -> None:
    caplog.set_level("INFO", logger="patchbay.config")
    server = PostgresServer(tmp_path)
    server.start()
    with django_db_blocker.unblock():
        try:
            with registered("fragile", server.create_database("fragile")) as alias:
                watcher = lookup.Watcher(using=alias)
                watcher.start()
                assert watcher.wait_loaded(PATIENCE)
                table = lookup.current()
                connections[alias].close()

                server.stop()
                assert eventually(lambda: not lookup.status().is_database_ok)
                lost_at = lookup.status().last_checked
                assert lookup.current() is table, "the last table goes on serving"
                assert lookup.status().version == table.version
                # Several turns later it has still been said once.
                assert not watcher._thread.join(1.0)
                assert caplog.text.count("does not answer") == 1
                assert f"configuration version {table.version}" in caplog.text

                server.start()
                assert eventually(lambda: lookup.status().is_database_ok)
                assert eventually(lambda: caplog.text.count("answers again") == 1)
                assert (lookup.status().last_checked or 0) > (lost_at or 0)
                triggers.bump(alias)
                assert versions.wait_for(table.version + 1)
                assert eventually(
                    lambda: (
                        Worker.objects.using(alias)
                        .filter(pk=watcher.worker_id, version=table.version + 1)
                        .exists()
                    )
                )
                watcher.stop()
                assert not watcher.is_alive
        finally:
            server.stop()
