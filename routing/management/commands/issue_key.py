"""Issues a client API key. The secret goes to standard output, alone, and nowhere else."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from routing import services
from routing.models import Alias, ServedModel, Team

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([mhdw])")


class Command(BaseCommand):
    help = (
        "Issue an API key for a client. Standard output gets the secret and nothing else; "
        "it is not stored and cannot be shown again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--owner", default="", help="username of who answers for the key")
        parser.add_argument("--team", default="", help="name of the team whose limits it shares")
        parser.add_argument(
            "--model",
            action="append",
            default=[],
            metavar="ID",
            help="model id that it may use; repeat for more. Without any: all models",
        )
        parser.add_argument("--note", default="", help="what it is for")
        parser.add_argument("--expires-in", metavar="TIME", help="such as 90d, 12h, 30m, 4w. Default: never")
        parser.add_argument("--rpm", type=int, metavar="N", help="requests per minute")
        parser.add_argument("--tpm", type=int, metavar="N", help="tokens per minute")
        parser.add_argument("--concurrent", type=int, metavar="N", help="requests at the same time")

    def handle(self, *args: Any, **options: Any) -> None:
        expires_in = options["expires_in"]
        try:
            key, secret = services.issue_key(
                owner=_find_owner(options["owner"]),
                team=_find_team(options["team"]),
                models=[_find_model(name) for name in options["model"]],
                note=options["note"],
                expires_at=timezone.now() + parse_duration(expires_in) if expires_in else None,
                requests_per_minute=options["rpm"],
                tokens_per_minute=options["tpm"],
                max_concurrent=options["concurrent"],
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        except services.PepperError as error:
            raise CommandError(str(error)) from None
        self.stderr.write(f"Key {key} is issued. Its secret is shown this once:")
        self.stdout.write(secret)


def parse_duration(text: str) -> timedelta:
    """`90d`, `12h`, `30m`, `4w`. Raises `CommandError`."""
    matched = _DURATION.fullmatch(text.strip().lower())
    if matched is None:
        raise CommandError(f"{text!r} is no time. Write a number and m, h, d or w, such as 90d.")
    return timedelta(**{_UNITS[matched[2]]: int(matched[1])})


def _find_owner(username: str) -> User | None:
    if not username:
        return None
    owner = User.objects.filter(username=username).first()
    if owner is None:
        raise CommandError(f"There is no user {username!r}. Add the user in the admin first.")
    return owner


def _find_team(name: str) -> Team | None:
    if not name:
        return None
    team = Team.objects.filter(name__iexact=name).first()
    if team is None:
        raise CommandError(f"There is no team {name!r}. Add it in the admin first.")
    return team


def _find_model(name: str) -> ServedModel:
    model = ServedModel.objects.filter(public_id__iexact=name).first()
    if model is not None:
        return model
    alias = Alias.objects.select_related("model").filter(name__iexact=name).first()
    if alias is not None:
        raise CommandError(f"{name} is an alias: say --model {alias.model.public_id}; it covers the alias.")
    raise CommandError(f"There is no model {name!r}.")
