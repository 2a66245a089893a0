"""Starts client keys anew after the encryption keys were lost."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routing import services


class Command(BaseCommand):
    help = (
        "Make a new value for the digests of API keys to depend on. Every key issued so far is revoked. "
        "Only for when the encryption key is lost, or the database and the encryption key leaked together."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="revoke every key")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["yes"]:
            raise CommandError("This revokes every API key. Say --yes if that is what you want.")
        try:
            revoked = services.replace_pepper()
        except services.PepperError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{revoked} keys are revoked. New ones can be issued.")
