"""Which version of the configuration is in force, and which processes run it."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.utils import timezone


class ConfigVersion(models.Model):
    """One row. Database triggers count it up in the transaction that changes anything (triggers.py).

    A version is told apart by number and time together: numbers start again when a
    database is emptied.
    """

    version = models.BigIntegerField(default=1)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=1), name="routing_configversion_single_row")
        ]

    def __str__(self) -> str:
        return f"version {self.version}"


class Worker(models.Model):
    """A process that routes by the configuration. It writes its row itself, every few seconds."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    hostname = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    version = models.BigIntegerField()
    seen_at = models.DateTimeField(db_index=True)
    # What rests there now: deployment, credential, reason, until.
    cooldowns = models.JSONField(default=list, db_default=models.Value([], models.JSONField()))

    class Meta:
        ordering = ("hostname", "started_at", "pid")

    def __str__(self) -> str:
        return f"{self.hostname}:{self.pid}"
