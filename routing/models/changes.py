"""What each version of the configuration changed."""

from __future__ import annotations

from django.db import models


class ConfigChange(models.Model):
    """A line of the log that the triggers write, and keep short (triggers.py).

    `row_id` names the key or the team concerned, so that a worker reads that one again and
    not all of them. Without it, any row of the table may have changed. `*` as the table
    stands for all of them, and no table at all says only that there was this version.
    """

    version = models.BigIntegerField(db_index=True)
    changed_at = models.DateTimeField()
    table_name = models.CharField(max_length=63)
    row_id = models.BigIntegerField(null=True)

    def __str__(self) -> str:
        return f"version {self.version}: {self.table_name} {self.row_id or ''}".rstrip()
