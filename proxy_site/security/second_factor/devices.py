"""A person's authenticator and backup codes, as they are stored.

The database holds neither the authenticator's secret nor a backup code: both need
SECRET_KEY as well. A stolen backup of the database alone is no second factor.
"""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils.crypto import salted_hmac
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

BACKUP_CODES = 10
_SECRET_BYTES = 20
# Without letters and digits that look like others.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class Authenticator(TOTPDevice):  # type: ignore[misc]
    """A TOTP device whose secret is derived from the stored key and SECRET_KEY."""

    class Meta:
        proxy = True
        verbose_name = "authenticator"

    @property
    def bin_key(self) -> bytes:
        mixed = salted_hmac("patchbay.authenticator", self.key, algorithm="sha256").digest()
        return mixed[:_SECRET_BYTES]


def find_authenticator(user: AbstractBaseUser) -> Authenticator | None:
    found: Authenticator | None = Authenticator.objects.filter(user=user, confirmed=True).first()
    return found


def begin(user: AbstractBaseUser) -> Authenticator:
    """An authenticator that is not in force yet; the same one until it is confirmed."""
    device: Authenticator | None = Authenticator.objects.filter(user=user, confirmed=False).first()
    if device is None:
        device = Authenticator.objects.create(user=user, name="authenticator app", confirmed=False)
    return device


def confirm(user: AbstractBaseUser, code: str) -> tuple[Authenticator, list[str]] | None:
    """Put the begun authenticator in force if `code` is its current one; returns codes to show once."""
    with transaction.atomic():
        device = Authenticator.objects.select_for_update().filter(user=user, confirmed=False).first()
        if device is None or not device.verify_token(_digits(code)):
            return None
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        return device, renew_backup_codes(user)


def renew_backup_codes(user: AbstractBaseUser) -> list[str]:
    """New backup codes in place of all old ones. Nobody can read them again."""
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(10)) for _ in range(BACKUP_CODES)]
    with transaction.atomic():
        StaticDevice.objects.filter(user=user).delete()
        device = StaticDevice.objects.create(user=user, name="backup codes", confirmed=True)
        for code in codes:
            device.token_set.create(token=_digest(code))
    return [f"{code[:5]}-{code[5:]}" for code in codes]


def verify(user: AbstractBaseUser, code: str) -> Any:
    """The device that takes `code`, or None. A backup code is used up; a wrong try slows the next one down.

    A code of six digits is meant for the app, anything else is a backup code: trying both
    would count a slip with one as an attack on the other.
    """
    with transaction.atomic():
        device: Any
        if len(_digits(code)) == 6 and _digits(code).isdecimal():
            device = Authenticator.objects.select_for_update().filter(user=user, confirmed=True).first()
            given = _digits(code)
        else:
            device = StaticDevice.objects.select_for_update().filter(user=user, confirmed=True).first()
            given = _digest(code)
        return device if device is not None and device.verify_token(given) else None


def is_slowed_down(user: AbstractBaseUser) -> bool:
    """Whether the last tries were wrong, so that for some seconds not even a right code is taken."""
    devices = [
        Authenticator.objects.filter(user=user).first(),
        StaticDevice.objects.filter(user=user).first(),
    ]
    return any(device is not None and not device.verify_is_allowed()[0] for device in devices)


def count_backup_codes(user: AbstractBaseUser) -> int:
    return sum(device.token_set.count() for device in StaticDevice.objects.filter(user=user))


def remove(user: AbstractBaseUser) -> bool:
    """Take the second factor away; whether there was one."""
    with transaction.atomic():
        StaticDevice.objects.filter(user=user).delete()
        removed, _ = TOTPDevice.objects.filter(user=user).delete()
    return bool(removed)


def _digits(code: str) -> str:
    return code.replace(" ", "").strip()


def _digest(code: str) -> str:
    """What is stored for a backup code: 64 bits of a keyed digest, as long as the column takes."""
    plain = "".join(character for character in code.lower() if character.isalnum())
    return salted_hmac("patchbay.backup-code", plain, algorithm="sha256").hexdigest()[:16]
