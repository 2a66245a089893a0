"""Prints a new SECRET_KEY and a new encryption key, for `.env` or a secret store. Keeps neither."""

from __future__ import annotations

import secrets
from typing import Any

from django.core.management.base import BaseCommand

from routing import crypto


class Command(BaseCommand):
    help = (
        "Print a new pair of keys, as lines for .env. To replace an encryption key, put the new one "
        "in front (ENCRYPTION_KEYS=new,old), restart, and run rotate_encryption_key."
    )
    requires_system_checks: tuple[str, ...] = ()

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"SECRET_KEY={secrets.token_urlsafe(48)}")
        self.stdout.write(f"ENCRYPTION_KEYS={crypto.generate_key()}")
