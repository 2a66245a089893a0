"""Typed reading of settings from the environment, `.env` and secret files.

Every setting is read here by name, so that `READ` lists them all and the documentation
can be held against it. `NAME_FILE` holds the path of a file with the value of `NAME`,
as container secrets come.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

_DATABASE_SCHEMES = frozenset({"postgres", "postgresql", "psql", "pgsql", "sqlite"})

READ: set[str] = set()
"""The names of all settings that were asked for."""

T = TypeVar("T")
_environ = environ.FileAwareEnv()


def load_dotenv(path: Path) -> None:
    """Add what `path` sets to the environment. What is already set there wins."""
    if path.is_file():
        environ.Env.read_env(str(path), overwrite=False)


def text(name: str, default: str = "") -> str:
    """The value of `name` without white space around it; an empty value counts as unset."""
    READ.add(name)
    value = cast(str, _environ.str(name, default="")).strip()
    return value or default


def flag(name: str, default: bool) -> bool:
    value = text(name).lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be on or off, not {value!r}.")


def number(name: str, default: float, *, minimum: float = 0.0) -> float:
    """A number (seconds, mostly), not below `minimum`."""
    value = text(name)
    if not value:
        return default
    try:
        parsed = float(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number, not {value!r}.") from None
    if not minimum <= parsed < float("inf"):
        raise ImproperlyConfigured(f"{name} must be a number from {minimum:g} up, not {value!r}.")
    return parsed


def whole(name: str, default: int, *, minimum: int = 0, maximum: int | None = None) -> int:
    value = text(name)
    if not value:
        return default
    try:
        parsed = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None
    if parsed < minimum:
        raise ImproperlyConfigured(f"{name} must be a whole number from {minimum} up, not {value!r}.")
    if maximum is not None and parsed > maximum:
        raise ImproperlyConfigured(f"{name} must be a whole number up to {maximum}, not {value!r}.")
    return parsed


def choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    value = text(name, default).lower()
    if value not in choices:
        raise ImproperlyConfigured(
            f"{name} must be one of {', '.join(c for c in choices if c)}, not {value!r}."
        )
    return value


def listing(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """Values separated by commas."""
    return [item.strip() for item in text(name).split(",") if item.strip()] or list(default)


def time_zone(name: str, default: str) -> str:
    value = text(name, default)
    try:
        ZoneInfo(value)
    except (KeyError, OSError, ValueError):
        raise ImproperlyConfigured(
            f"{name} must be the name of a time zone, such as Europe/Berlin, not {value!r}."
        ) from None
    return value


def database(name: str) -> dict[str, Any] | None:
    """Django's settings for the database at a URL, or None where none is named.

    The URL holds a password: no message repeats it.
    """
    value = text(name)
    if not value:
        return None
    scheme = value.partition("://")[0].lower()
    if "://" not in value or scheme not in _DATABASE_SCHEMES:
        raise ImproperlyConfigured(
            f"{name} must look like postgres://user:password@host:5432/name or sqlite:////path/to/file."
        )
    try:
        return dict(environ.Env.db_url_config(value))
    except ValueError:
        raise ImproperlyConfigured(f"{name} cannot be read as a URL.") from None


def folder(name: str, default: Path) -> Path:
    return Path(text(name, str(default))).expanduser().resolve()


def key_from_file(path: Path, make: Callable[[], str]) -> str:
    """The key in `path`; on first use a new one is made and kept there, readable by its owner only.

    Of several processes that start at once, one writes the file and all read it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        for _ in range(100):
            if value := path.read_text(encoding="ascii").strip():
                return value
            time.sleep(0.01)  # Another process made the file and is about to write it.
        raise ImproperlyConfigured(f"{path} is empty. Delete it to have a new key made.") from None
    except OSError as error:
        raise ImproperlyConfigured(
            f"Cannot keep a key in {path}: {error.strerror}. Set DATA_DIR to a folder that can be written, "
            f"or give the keys in the environment: SECRET_KEY and ENCRYPTION_KEYS."
        ) from None
    value = make()
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(value + "\n")
    return value
