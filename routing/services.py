"""Writes to the routing data, for the admin and the commands alike.

Each is one transaction, checks what it is given, and names the fields that it changes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.db import transaction

from routing import crypto
from routing.models import Alias, Credential, Deployment, Provider, ProviderHeader, ServedModel

logger = logging.getLogger("patchbay.config")


@transaction.atomic
def set_credential(
    *, provider: Provider, label: str, secret: str = "", reference: str = "", is_enabled: bool = True
) -> Credential:
    """Give `provider` a key under `label`, in place of the one of that label if there is one.

    Exactly one of `secret` and `reference` is given. Raises `ValidationError`.
    """
    if bool(secret) == bool(reference):
        raise ValueError("Either a secret or a reference.")
    credential = Credential.objects.select_for_update().filter(provider=provider, label__iexact=label).first()
    if credential is None:
        credential = Credential(provider=provider, label=label)
    credential.is_enabled = is_enabled
    if secret:
        credential.store(secret)
    else:
        credential.refer(reference)
    credential.full_clean()
    credential.save()
    return credential


def rotate_credential(*, credential: Credential, secret: str) -> None:
    """Put a new key in the place of the old one. Raises `ValidationError`."""
    credential.store(secret)
    credential.full_clean()
    credential.save(update_fields=["reference", "encrypted_secret", "secret_set_at"])


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
    return Reencryption(count, tuple(unreadable))


@transaction.atomic
def delete_model(*, model: ServedModel, aliases_to: ServedModel | None) -> None:
    """Delete `model` with its deployments. Its aliases move to `aliases_to`, or go with it (None)."""
    aliases = Alias.objects.filter(model=model)
    if aliases_to is None:
        aliases.delete()
    else:
        aliases.update(model=aliases_to)
    model.delete()


@transaction.atomic
def delete_provider(*, provider: Provider) -> None:
    """Delete `provider` with its keys and its deployments. The models stay, perhaps served by nobody."""
    Deployment.objects.filter(provider=provider).delete()
    provider.delete()
