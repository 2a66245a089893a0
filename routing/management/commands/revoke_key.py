"""Revokes a client API key, told by its prefix, its number, or the secret itself on standard input."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routing import lookup, services
from routing.domain.keys import is_ours, prefix_of
from routing.models import ApiKey


class Command(BaseCommand):
    help = (
        "Revoke an API key, for good. Every worker refuses it within a second. "
        "`-` reads the secret from standard input, so that it stays out of the shell's history."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="prefix as the admin shows it (sk-pb-AbC123), number, or -")

    def handle(self, *args: Any, **options: Any) -> None:
        key = _find(options["key"])
        if services.revoke_key(key=key):
            self.stdout.write(f"Key {key} is revoked.")
        else:
            self.stdout.write(f"Key {key} was revoked already.")


def _find(text: str) -> ApiKey:
    text = text.strip().removesuffix("…").removesuffix("...")
    if text == "-":
        return _find_secret(sys.stdin.readline().strip())
    if text.isdecimal():
        found = list(ApiKey.objects.filter(pk=int(text)))
    elif is_ours(text):
        found = list(ApiKey.objects.filter(prefix=prefix_of(text)))
    else:
        raise CommandError("Name the key by its prefix (sk-pb-…), by its number, or by - and the secret.")
    if not found:
        raise CommandError("There is no such key.")
    if len(found) > 1:
        numbers = ", ".join(str(key.pk) for key in found)
        raise CommandError(f"Several keys start like this. Name one by its number: {numbers}.")
    return found[0]


def _find_secret(secret: str) -> ApiKey:
    table = lookup.refresh()
    row = table.find_key(table.digest_key(secret))
    if row is None:
        raise CommandError("This is no secret of a key of ours.")
    return ApiKey.objects.get(pk=row.id)
