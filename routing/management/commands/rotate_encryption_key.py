"""Encrypts the stored secrets anew with the first of ENCRYPTION_KEYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from routing import crypto, services


class Command(BaseCommand):
    help = (
        "Encrypt all stored secrets with the first key of ENCRYPTION_KEYS. "
        "After it has succeeded, the other keys of the list can be removed."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if problem := crypto.problem_with_keys():
            raise CommandError(problem)
        result = services.reencrypt_secrets()
        noun = "secret is" if result.count == 1 else "secrets are"
        self.stdout.write(f"{result.count} {noun} now encrypted with the first key of ENCRYPTION_KEYS.")
        if result.unreadable:
            raise CommandError(
                "None of ENCRYPTION_KEYS opens "
                + "; ".join(result.unreadable)
                + ". Put the key back that they were encrypted with and run this again, or enter them anew."
            )
