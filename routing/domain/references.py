"""References to secrets that live outside the database: `env:NAME` and `file:/path`.

Owns their spelling and what they may not point at. Reading them is done elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final


class Place(StrEnum):
    ENVIRONMENT = "env"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Reference:
    place: Place
    target: str

    def __str__(self) -> str:
        return f"{self.place}:{self.target}"


# Whoever edits providers in the admin decides where a key is sent. That must not hand out
# the secrets of the installation itself.
_OWN_SECRETS: Final = re.compile(r"(SECRET_KEY|ENCRYPTION_KEYS|DATABASE_URL|METRICS_TOKEN)(_FILE)?")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SYSTEM_FOLDERS: Final = ("/proc", "/sys", "/dev")


class InvalidReference(ValueError):
    """The text is no usable reference. The message is a sentence for the operator."""


def looks_like_reference(text: str) -> bool:
    return text.strip().startswith(("env:", "file:"))


def parse_reference(text: str) -> Reference:
    """The reference that `text` spells. Raises `InvalidReference`."""
    place, separator, target = text.strip().partition(":")
    target = target.strip()
    if not separator or place not in (Place.ENVIRONMENT, Place.FILE) or not target:
        raise InvalidReference("A reference reads env:NAME (a variable) or file:/path (a file).")
    if place == Place.ENVIRONMENT:
        if not _NAME.fullmatch(target):
            raise InvalidReference(f"{target!r} cannot be the name of an environment variable.")
        if _OWN_SECRETS.fullmatch(target.upper()):
            raise InvalidReference(f"{target} belongs to this installation and is never sent to a provider.")
        return Reference(Place.ENVIRONMENT, target)
    path = PurePosixPath(target)
    if not path.is_absolute() or ".." in path.parts:
        raise InvalidReference("The path of a file starts with / and has no .. in it.")
    if path.as_posix().startswith(tuple(f"{folder}/" for folder in _SYSTEM_FOLDERS)):
        raise InvalidReference(f"Files under {', '.join(_SYSTEM_FOLDERS)} are never sent to a provider.")
    return Reference(Place.FILE, str(path))
