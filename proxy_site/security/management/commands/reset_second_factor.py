"""`manage.py reset_second_factor NAME`: for somebody who lost phone and backup codes."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from proxy_site.security.second_factor.devices import remove


class Command(BaseCommand):
    help = "Takes a person's second factor away, so that the password alone lets them in."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        user = get_user_model().objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user {username!r}.")
        if not remove(user):
            raise CommandError(f"{username!r} has no second factor.")
        self.stdout.write(f"{username!r} logs in with the password alone now, until a new one is set up.")
