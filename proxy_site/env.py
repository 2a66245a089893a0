"""Typed reading of settings from the environment, `.env` and secret files.

Every setting is read here by name, so that `READ` lists them all and the documentation
can be held against it. `NAME_FILE` holds the path of a file with the value of `NAME`,
as container secrets come.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar, cast

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

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


def whole(name: str, default: int, *, minimum: int = 0) -> int:
    value = text(name)
    if not value:
        return default
    try:
        parsed = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None
    if parsed < minimum:
        raise ImproperlyConfigured(f"{name} must be a whole number from {minimum} up, not {value!r}.")
    return parsed


def choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    value = text(name, default).lower()
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(c for c in choices if c)}, not {value!r}.")
    return value


def listing(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """Values separated by commas."""
    return [item.strip() for item in text(name).split(",") if item.strip()] or list(default)


def folder(name: str, default: Path) -> Path:
    return Path(text(name, str(default))).expanduser().resolve()


def key_from_file(path: Path) -> str:
    """The secret in `path`, or nothing. The file is the launcher's, mode 0600."""
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def is_set(name: str) -> bool:
    return bool(os.environ.get(name, "").strip() or os.environ.get(f"{name}_FILE", "").strip())
