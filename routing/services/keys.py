"""Issues, rotates and revokes client keys. A secret leaves here once, as a return value."""

from __future__ import annotations

import base64
import secrets
import string
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from routing import crypto
from routing.domain.keys import PEPPER_BYTES, SECRET_START, digest_secret, prefix_of
from routing.lookup.keys import UnusablePepper, decrypt_pepper
from routing.models import ApiKey, KeyPepper, ServedModel, Team

# 36 characters of base62, six of which are shown as the prefix: 178 bits stay unknown.
_RANDOM_LENGTH: Final = 36
_ALPHABET: Final = string.ascii_letters + string.digits


class PepperError(Exception):
    """No key can be issued: the pepper cannot be stored or read. The message is for the operator."""


@transaction.atomic
def issue_key(
    *,
    owner: User | None = None,
    team: Team | None = None,
    note: str = "",
    models: Collection[ServedModel] = (),
    expires_at: datetime | None = None,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    max_concurrent: int | None = None,
) -> tuple[ApiKey, str]:
    """A new key, and its secret, which nobody can find out again. No `models`: all of them.

    Raises `ValidationError` or `PepperError`.
    """
    key = ApiKey(
        owner=owner,
        team=team,
        note=note,
        is_restricted=bool(models),
        expires_at=expires_at,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        max_concurrent=max_concurrent,
    )
    secret = issue_secret(key)
    key.full_clean()
    key.save()
    key.allowed_models.set(models)
    return key, secret


def issue_secret(key: ApiKey) -> str:
    """Put a new secret into the row, in place of any, and return it. Does not save. Raises `PepperError`."""
    secret = SECRET_START + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    key.prefix = prefix_of(secret)
    key.digest = digest_secret(secret, _pepper()).hex()
    key.secret_set_at = timezone.now()
    return secret


@transaction.atomic
def rotate_key(*, key: ApiKey, grace: timedelta = timedelta(0)) -> str:
    """Give `key` a new secret and return it. The one before works until `grace` is over.

    Of several earlier secrets only the last has a grace. Expiry and limits stay as they
    are. Raises `ValueError` for a revoked key, and `PepperError`.
    """
    if grace < timedelta(0):
        raise ValueError("A grace period is not negative.")
    key = ApiKey.objects.select_for_update(of=("self",)).get(pk=key.pk)
    if key.revoked_at is not None:
        raise ValueError(f"The key {key} is revoked. Issue a new one.")
    if grace:
        key.previous_digest, key.previous_valid_until = key.digest, timezone.now() + grace
    else:
        key.previous_digest, key.previous_valid_until = "", None
    secret = issue_secret(key)
    key.save(update_fields=["prefix", "digest", "previous_digest", "previous_valid_until", "secret_set_at"])
    return secret


@transaction.atomic
def revoke_key(*, key: ApiKey) -> bool:
    """End `key` for good, a secret in its grace included. False: it was revoked already."""
    changed = ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(
        revoked_at=timezone.now(), previous_digest="", previous_valid_until=None
    )
    return bool(changed)


@transaction.atomic
def replace_pepper() -> int:
    """Start again after the encryption keys were lost: every key there is is revoked, new ones can be issued.

    Returns how many were revoked.
    """
    revoked = ApiKey.objects.filter(revoked_at=None).update(
        revoked_at=timezone.now(), previous_digest="", previous_valid_until=None
    )
    KeyPepper.objects.all().delete()
    _pepper()
    return revoked


def _pepper() -> bytes:
    """The pepper of this installation, made on first use."""
    try:
        row, _ = KeyPepper.objects.get_or_create(
            pk=1, defaults={"encrypted_pepper": _encrypt(secrets.token_bytes(PEPPER_BYTES))}
        )
        return decrypt_pepper(row.encrypted_pepper)
    except crypto.EncryptionKeyError as error:
        raise PepperError(str(error)) from None
    except UnusablePepper as problem:
        raise PepperError(
            f"The value that the digests of API keys depend on {problem}. If the encryption key is lost for "
            "good, `python manage.py replace_key_pepper` starts anew; all keys issued so far end with it."
        ) from None


def _encrypt(pepper: bytes) -> str:
    return crypto.encrypt(base64.b64encode(pepper).decode("ascii"))
