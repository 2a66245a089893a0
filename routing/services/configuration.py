"""Writes to models, providers and their keys."""

from __future__ import annotations

from django.db import transaction

from routing.models import Alias, Credential, Deployment, Provider, ServedModel


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
