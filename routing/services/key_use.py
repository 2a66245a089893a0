"""Notes when keys were last used: in batches, off the request path, outside the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import DEFAULT_DB_ALIAS, IntegrityError, transaction

from routing.models import ApiKey, ApiKeyUse

# Whoever asks when a key was last used asks for days, not for seconds.
_AT_MOST_EVERY: Final = timedelta(minutes=1)
# SQLite takes a limited number of parameters a statement.
_BATCH: Final = 500


def record_use(used: Mapping[int, float], *, using: str = DEFAULT_DB_ALIAS) -> int:
    """Store for each key id when it was last used (Unix seconds); returns how many rows were written.

    A key of which the database knows a use less than a minute older is left alone, one
    that is gone is skipped. The configuration's version does not move. Raises
    `DatabaseError`.
    """
    written = 0
    ids = sorted(used)
    for start in range(0, len(ids), _BATCH):
        batch = {key_id: datetime.fromtimestamp(used[key_id], UTC) for key_id in ids[start : start + _BATCH]}
        try:
            written += _record(batch, using)
        except IntegrityError:
            # A key went between our look and our write: look again.
            written += _record(batch, using)
    return written


def _record(used: Mapping[int, datetime], using: str) -> int:
    with transaction.atomic(using=using):
        existing = ApiKey.objects.using(using).filter(pk__in=used).values_list("pk", "use__last_used_at")
        due = [
            ApiKeyUse(key_id=key_id, last_used_at=used[key_id])
            for key_id, last in existing
            if last is None or used[key_id] - last >= _AT_MOST_EVERY
        ]
        ApiKeyUse.objects.using(using).bulk_create(
            due, update_conflicts=True, unique_fields=["key"], update_fields=["last_used_at"]
        )
    return len(due)
