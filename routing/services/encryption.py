"""Moves every stored secret to the encryption key in force."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from routing import crypto
from routing.models import Credential, KeyPepper, ProviderHeader


@dataclass(frozen=True, slots=True)
class Reencryption:
    """How many secrets are under the first key now, and which could not be read at all."""

    count: int
    unreadable: tuple[str, ...]


@transaction.atomic
def reencrypt_secrets() -> Reencryption:
    """Encrypt every stored secret anew with the first of ENCRYPTION_KEYS.

    A secret that no key opens stays as it is: an earlier key may still turn up.
    """
    count = 0
    unreadable: list[str] = []
    credentials = Credential.objects.select_for_update(of=("self",)).exclude(encrypted_secret="")
    for credential in credentials.select_related("provider"):
        try:
            credential.encrypted_secret = crypto.reencrypt(credential.encrypted_secret)
        except crypto.UndecryptableError:
            unreadable.append(f"the key “{credential.label}” of the provider {credential.provider.name}")
            continue
        credential.save(update_fields=["encrypted_secret"])
        count += 1
    headers = ProviderHeader.objects.select_for_update(of=("self",)).exclude(encrypted_value="")
    for header in headers.select_related("provider"):
        try:
            header.encrypted_value = crypto.reencrypt(header.encrypted_value)
        except crypto.UndecryptableError:
            unreadable.append(f"the header {header.name} of the provider {header.provider.name}")
            continue
        header.save(update_fields=["encrypted_value"])
        count += 1
    # The pepper itself stays the same, and with it every issued key.
    for pepper in KeyPepper.objects.select_for_update():
        try:
            pepper.encrypted_pepper = crypto.reencrypt(pepper.encrypted_pepper)
        except crypto.UndecryptableError:
            unreadable.append("the value that the digests of API keys depend on")
            continue
        pepper.save(update_fields=["encrypted_pepper"])
        count += 1
    return Reencryption(count, tuple(unreadable))
