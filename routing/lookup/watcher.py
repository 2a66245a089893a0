"""Keeps the table in force up to date for as long as the process lives.

One daemon thread with a database connection of its own: it compares the version several
times a second, and tells the database every few seconds that this worker is alive. A
database that goes away changes nothing for requests; the thread goes on trying.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.utils import timezone

from routing.lookup import snapshot
from routing.models import Worker

logger = logging.getLogger("patchbay.config")

HEARTBEAT_SECONDS: Final = 5.0
STALE_SECONDS: Final = 60.0
# Longer than any healthy answer, shorter than anybody's patience.
_STATEMENT_SECONDS: Final = 5
# Between two heartbeats that only tell of cooldowns: in an outage they come and go all the time.
_LEAST_SECONDS: Final = 1.0
# In a row that is written every few seconds. Whoever has more at rest has one cause for all of them.
_MOST_COOLDOWNS: Final = 200

DescribeCooldowns = Callable[[], list[dict[str, Any]]]
"""What rests in this process now, one JSON object each. Called in the watcher's thread."""


class Watcher:
    """`start()`, then `stop()`. One per process."""

    def __init__(
        self, *, using: str = DEFAULT_DB_ALIAS, describe_cooldowns: DescribeCooldowns | None = None
    ) -> None:
        self.worker_id: Final = uuid.uuid4()
        self._using = using
        self._describe_cooldowns = describe_cooldowns
        self._wake = threading.Event()
        self._loaded = threading.Event()
        self._is_stopping = False
        self._is_lost = False
        self._started_at = timezone.now()
        self._next_heartbeat = 0.0
        self._next_early_heartbeat = 0.0
        self._announced: tuple[int, list[dict[str, Any]]] | None = None
        self._is_connection_ready = False
        self._thread = threading.Thread(target=self._run, name="patchbay-config-watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait_loaded(self, timeout: float | None = None) -> bool:
        """Wait until this watcher has read the configuration once. False: not within `timeout` seconds."""
        return self._loaded.wait(timeout)

    def kick(self) -> None:
        """Compare the version now rather than at the next turn."""
        self._wake.set()

    def stop(self) -> None:
        """Remove this worker's row and end. A database that hangs delays this by a second at most."""
        self._is_stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=1.0)

    def status(self) -> snapshot.Status:
        return snapshot.status()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                self._turn()
                self._wake.wait(settings.CONFIG_POLL_INTERVAL)
                self._wake.clear()
            self._leave()
        finally:
            connections[self._using].close()

    def _turn(self) -> None:
        """One look at the database. Never raises: whatever is wrong, the next turn tries again."""
        try:
            self._prepare_connection()
            table = snapshot.refresh(using=self._using)
        except DatabaseError as error:
            self._lose(error)
            return
        except Exception:
            # Not a database that is away, but ours to repair: said each time, at the heartbeat's pace.
            if time.monotonic() >= self._next_heartbeat:
                self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
                logger.exception("The configuration could not be read.")
            return
        self._loaded.set()
        if self._is_lost:
            self._is_lost = False
            logger.warning("The database answers again.", extra={"fields": {"config_version": table.version}})
        self._beat(table.version)

    def _prepare_connection(self) -> None:
        connection = connections[self._using]
        if connection.connection is not None and self._is_connection_ready:
            return
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                # A heartbeat gives way to a long write rather than keep the thread from looking.
                cursor.execute("PRAGMA busy_timeout = 200")
            else:
                cursor.execute(f"SET statement_timeout = '{_STATEMENT_SECONDS}s'")
        self._is_connection_ready = True

    def _lose(self, error: DatabaseError) -> None:
        snapshot.note_database(is_ok=False)
        self._is_connection_ready = False
        connections[self._using].close()
        if self._is_lost:
            return
        self._is_lost = True
        version = snapshot.status().version
        consequence = (
            "There is no configuration to serve from yet."
            if version is None
            else f"Requests go on by configuration version {version}; changes wait."
        )
        logger.error(
            "The database does not answer. %s", consequence, extra={"fields": {"error": _first_line(error)}}
        )

    def _beat(self, version: int) -> None:
        """Say which version this worker runs and what rests in it: at each change, else every few seconds."""
        now = time.monotonic()
        cooldowns = self._cooldowns(is_due=now >= self._next_heartbeat)
        if now < self._next_heartbeat and self._announced is not None:
            is_same_version = self._announced[0] == version
            if is_same_version and (self._announced[1] == cooldowns or now < self._next_early_heartbeat):
                return
        seen_at = timezone.now()
        try:
            Worker.objects.using(self._using).update_or_create(
                id=self.worker_id,
                defaults={"version": version, "seen_at": seen_at, "cooldowns": cooldowns},
                create_defaults={
                    "hostname": socket.gethostname(),
                    "pid": os.getpid(),
                    "started_at": self._started_at,
                    "version": version,
                    "seen_at": seen_at,
                    "cooldowns": cooldowns,
                },
            )
            Worker.objects.using(self._using).filter(
                seen_at__lt=seen_at - timedelta(seconds=STALE_SECONDS)
            ).delete()
        except DatabaseError as error:
            # The table in force is right all the same. SQLite: somebody writes for long.
            logger.debug("No heartbeat: %s", _first_line(error))
            if connections[self._using].vendor != "sqlite":
                self._is_connection_ready = False
                connections[self._using].close()
            return
        self._announced = (version, cooldowns)
        self._next_heartbeat = now + HEARTBEAT_SECONDS
        self._next_early_heartbeat = now + _LEAST_SECONDS

    def _cooldowns(self, *, is_due: bool) -> list[dict[str, Any]]:
        if self._describe_cooldowns is None:
            return []
        try:
            return self._describe_cooldowns()[:_MOST_COOLDOWNS]
        except Exception:
            # To say nothing of cooldowns is better than to be taken for dead.
            if is_due:
                logger.exception("The cooldowns of this worker could not be described.")
            return []

    def _leave(self) -> None:
        try:
            Worker.objects.using(self._using).filter(id=self.worker_id).delete()
        except DatabaseError as error:
            logger.debug("The worker's row stays until it is stale: %s", _first_line(error))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
