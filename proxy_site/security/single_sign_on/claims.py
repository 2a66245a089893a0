"""What an identity provider says about a person, and whether that lets them in. No I/O, no database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured

# As Django's User has them.
_USERNAME_LENGTH = 150
_NAME_LENGTH = 150


class Refused(Exception):
    """The person may not come in; the text is for them to read."""


@dataclass(frozen=True, slots=True)
class Person:
    subject: str
    email: str
    first_name: str
    last_name: str
    groups: frozenset[str]
    """Our groups, by name."""


@dataclass(frozen=True, slots=True)
class Rules:
    groups_claim: str
    group_map: Mapping[str, frozenset[str]]
    allowed_domains: frozenset[str]

    def admit(self, claims: Mapping[str, Any]) -> Person:
        """The person that the claims describe; raises `Refused` where they may not come in."""
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject or len(subject) > 255:
            raise Refused("The sign-in service did not say who you are.")
        email = claims.get("email")
        if not isinstance(email, str) or "@" not in email:
            raise Refused("The sign-in service did not pass on an e-mail address for you.")
        email = email.strip().lower()
        if len(email) > _USERNAME_LENGTH:
            raise Refused("Your e-mail address is too long for an account here.")
        # Some providers send the word instead of the value.
        if claims.get("email_verified") not in (True, "true"):
            raise Refused("Your e-mail address is not verified at the sign-in service.")
        if self.allowed_domains and email.rpartition("@")[2] not in self.allowed_domains:
            raise Refused("Addresses of your e-mail domain may not sign in here.")
        groups: frozenset[str] = frozenset().union(
            *(self.group_map.get(name, frozenset()) for name in read_groups(claims, self.groups_claim))
        )
        if not groups:
            raise NoGroup(subject)
        return Person(
            subject=subject,
            email=email,
            first_name=_name(claims.get("given_name")),
            last_name=_name(claims.get("family_name")),
            groups=groups,
        )


class NoGroup(Refused):
    """None of the person's groups means anything here. An account from before loses its access."""

    def __init__(self, subject: str) -> None:
        super().__init__(
            "You are in none of the groups that may use this proxy's admin. "
            "Ask whoever runs it to add you to one."
        )
        self.subject = subject


def read_groups(claims: Mapping[str, Any], path: str) -> list[str]:
    """The person's groups at the provider: a list or one name, under a claim or a dotted path of claims.

    A claim whose own name has the dots in it (`https://example.com/groups`) is found first.
    """
    value: Any = claims.get(path)
    if value is None:
        value = claims
        for step in path.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return [value]
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def parse_group_map(entries: Iterable[str]) -> dict[str, frozenset[str]]:
    """`theirs=Ours` pairs of OIDC_GROUP_MAP; a name on either side may come several times."""
    found: dict[str, frozenset[str]] = {}
    for entry in entries:
        # A group at the provider may have an equals sign in its name (an LDAP path); ours has none.
        theirs, _, ours = (part.strip() for part in entry.rpartition("="))
        if not theirs or not ours:
            raise ImproperlyConfigured(
                f"OIDC_GROUP_MAP must look like their-admins=Owner,their-staff=Viewer; {entry!r} does not."
            )
        found[theirs] = found.get(theirs, frozenset()) | {ours}
    return found


def parse_domains(texts: Sequence[str]) -> frozenset[str]:
    return frozenset(text.lower().removeprefix("@") for text in texts)


def _name(value: object) -> str:
    return value.strip()[:_NAME_LENGTH] if isinstance(value, str) else ""
