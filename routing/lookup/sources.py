"""Reads secrets from where they lie: encrypted in a row, in the environment, in a file."""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings

from routing import crypto
from routing.domain.headers import problem_with_header_value, problem_with_key
from routing.domain.references import (
    InvalidReference,
    Place,
    Reference,
    looks_like_reference,
    parse_reference,
)
from routing.domain.secrets import Secret

_MAX_FILE_BYTES = 16 * 1024


class UnusableSecret(Exception):
    """There is no secret to be had. The message says why, for the operator, without any of it."""


def read_key(*, encrypted: str, reference: str) -> Secret:
    """The key of a credential row. Raises `UnusableSecret`."""
    secret = _decrypt(encrypted) if encrypted else _read(reference)
    if problem := problem_with_key(secret):
        raise UnusableSecret(f"is not usable: {problem}")
    return Secret(secret)


def read_header(*, encrypted: str, value: str) -> Secret | str:
    """The value of a header row: a Secret unless its text may be seen. Raises `UnusableSecret`."""
    if not encrypted and not looks_like_reference(value):
        return value
    secret = _decrypt(encrypted) if encrypted else _read(value)
    if problem := problem_with_header_value(secret):
        raise UnusableSecret(f"is not usable: {problem}")
    return Secret(secret)


def _decrypt(encrypted: str) -> str:
    try:
        return crypto.decrypt(encrypted)
    except (crypto.UndecryptableError, crypto.EncryptionKeyError) as error:
        raise UnusableSecret(str(error).rstrip(".")) from None


def _read(text: str) -> str:
    try:
        reference = parse_reference(text)
    except InvalidReference as error:
        raise UnusableSecret(f"has an unusable reference: {error}") from None
    if reference.place is Place.ENVIRONMENT:
        value = os.environ.get(reference.target, "").strip()
        if not value:
            raise UnusableSecret(f"refers to {reference}, and that variable is not set")
        return value
    return _read_file(reference)


def _read_file(reference: Reference) -> str:
    path = Path(reference.target)
    try:
        real = path.resolve(strict=True)
        # The launcher keeps the installation's own keys there.
        if real.is_relative_to(Path(settings.DATA_DIR).resolve()):
            raise UnusableSecret(f"refers to {reference}, which is among the installation's own files")
        parse_reference(f"file:{real}")
        if not real.is_file():
            raise UnusableSecret(f"refers to {reference}, which is not a file")
        if real.stat().st_size > _MAX_FILE_BYTES:
            raise UnusableSecret(f"refers to {reference}, which is too large to be a key")
        return real.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise UnusableSecret(f"refers to {reference}, and there is no such file") from None
    except InvalidReference as error:
        raise UnusableSecret(f"has an unusable reference: {error}") from None
    except (OSError, UnicodeError) as error:
        raise UnusableSecret(
            f"refers to {reference}, which cannot be read ({type(error).__name__})"
        ) from None
