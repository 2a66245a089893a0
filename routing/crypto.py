"""Encryption of the secrets that the database holds.

ENCRYPTION_KEYS lists Fernet keys: the first encrypts, all of them decrypt, so that a key
can be replaced while the proxy runs. Only real keys (32 random bytes) are accepted, no
passphrases: docs/decisions/0010-encryption-keys.md.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class EncryptionKeyError(Exception):
    """ENCRYPTION_KEYS is missing or malformed. The message is for the operator."""


class UndecryptableError(Exception):
    """None of the keys opens what is stored."""

    def __init__(self) -> None:
        super().__init__(
            "cannot be decrypted: none of ENCRYPTION_KEYS fits. "
            "Put the earlier key back, or enter the secret again"
        )


def generate_key() -> str:
    return Fernet.generate_key().decode("ascii")


def encrypt(text: str) -> str:
    """`text` under the first key. Raises `EncryptionKeyError`."""
    return _fernet().encrypt(text.encode("utf-8")).decode("ascii")


def decrypt(stored: str) -> str:
    """What `stored` holds. Raises `EncryptionKeyError` or `UndecryptableError`."""
    try:
        return _fernet().decrypt(stored).decode("utf-8")
    except (InvalidToken, UnicodeError, ValueError, TypeError):
        raise UndecryptableError from None


def reencrypt(stored: str) -> str:
    """The same secret under the first key. Raises like `decrypt`."""
    try:
        return _fernet().rotate(stored).decode("ascii")
    except (InvalidToken, UnicodeError, ValueError, TypeError):
        raise UndecryptableError from None


def problem_with_keys() -> str | None:
    """Why nothing can be encrypted, as a sentence for the operator, or None."""
    try:
        _fernet()
    except EncryptionKeyError as problem:
        return str(problem)
    return None


def _fernet() -> MultiFernet:
    return _build(tuple(settings.ENCRYPTION_KEYS))


@lru_cache(maxsize=4)
def _build(keys: tuple[str, ...]) -> MultiFernet:
    if not keys:
        raise EncryptionKeyError(
            "ENCRYPTION_KEYS is not set, so no secret can be stored or read. "
            "`python manage.py generate_keys` prints a new key."
        )
    fernets: list[Fernet] = []
    for position, key in enumerate(keys, start=1):
        try:
            fernets.append(Fernet(key.strip()))
        except (ValueError, TypeError):
            raise EncryptionKeyError(
                f"Key number {position} of ENCRYPTION_KEYS is not a key: "
                "32 random bytes in base64 are needed. "
                "`python manage.py generate_keys` prints a new one."
            ) from None
    return MultiFernet(fernets)
