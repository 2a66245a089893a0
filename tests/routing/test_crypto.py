"""Secrets at rest: encrypted by the first key, opened by any, and re-encrypted on demand."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from routing import crypto, services
from routing.models import Credential, Provider, ProviderHeader
from tests.factories import make_credential, make_provider

SECRET = "sk-very-secret-value"


def new_key() -> str:
    return Fernet.generate_key().decode()


def test_what_is_stored_is_not_the_secret(encryption_key: str) -> None:
    stored = crypto.encrypt(SECRET)
    assert SECRET not in stored
    assert crypto.decrypt(stored) == SECRET
    assert crypto.encrypt(SECRET) != stored


def test_the_first_key_encrypts_and_all_decrypt(settings: Any, encryption_key: str) -> None:
    old = crypto.encrypt(SECRET)
    newer = new_key()
    settings.ENCRYPTION_KEYS = [newer, encryption_key]
    assert crypto.decrypt(old) == SECRET
    settings.ENCRYPTION_KEYS = [newer]
    with pytest.raises(crypto.UndecryptableError):
        crypto.decrypt(old)


@pytest.mark.parametrize("keys", [[], ["passphrase"], ["", "x"], ["ünïcode"]])
def test_bad_keys_are_named_by_position_not_by_value(settings: Any, keys: list[str]) -> None:
    settings.ENCRYPTION_KEYS = keys
    with pytest.raises(crypto.EncryptionKeyError, match="generate_keys") as caught:
        crypto.encrypt(SECRET)
    assert "passphrase" not in str(caught.value)
    assert crypto.problem_with_keys() == str(caught.value)


@pytest.mark.parametrize("stored", ["", "garbage", "gAAAAA", "é"])
def test_garbage_is_undecryptable_and_nothing_else(stored: str) -> None:
    with pytest.raises(crypto.UndecryptableError):
        crypto.decrypt(stored)
    with pytest.raises(crypto.UndecryptableError):
        crypto.reencrypt(stored)


def test_generated_keys_work(settings: Any) -> None:
    out = StringIO()
    call_command("generate_keys", stdout=out)
    lines = dict(line.split("=", 1) for line in out.getvalue().strip().splitlines())
    assert set(lines) == {"SECRET_KEY", "ENCRYPTION_KEYS"}
    assert len(lines["SECRET_KEY"]) >= 50
    settings.ENCRYPTION_KEYS = [lines["ENCRYPTION_KEYS"]]
    assert crypto.decrypt(crypto.encrypt(SECRET)) == SECRET


@pytest.mark.django_db
def test_rotating_the_encryption_key(settings: Any, encryption_key: str) -> None:
    provider = make_provider()
    credential = make_credential(provider, SECRET)
    referring = make_credential(provider, reference="env:SOMEWHERE")
    header = ProviderHeader(provider=provider, name="x-secret")
    header.store("classified")
    header.save()
    newer = new_key()
    settings.ENCRYPTION_KEYS = [newer, encryption_key]
    out = StringIO()
    call_command("rotate_encryption_key", stdout=out)
    assert out.getvalue().startswith("2 secrets are now encrypted")
    settings.ENCRYPTION_KEYS = [newer]
    credential.refresh_from_db()
    header.refresh_from_db()
    referring.refresh_from_db()
    assert crypto.decrypt(credential.encrypted_secret) == SECRET
    assert crypto.decrypt(header.encrypted_value) == "classified"
    assert referring.encrypted_secret == ""


@pytest.mark.django_db
def test_rotation_names_what_no_key_opens_and_does_the_rest(settings: Any) -> None:
    provider = make_provider("p")
    lost = make_credential(provider, "sk-lost", "lost")
    settings.ENCRYPTION_KEYS = [new_key()]
    make_credential(provider, "sk-kept", "kept")
    with pytest.raises(CommandError, match="“lost” of the provider p") as caught:
        call_command("rotate_encryption_key", stdout=StringIO())
    assert "kept" not in str(caught.value)
    before = lost.encrypted_secret
    lost.refresh_from_db()
    assert lost.encrypted_secret == before


@pytest.mark.django_db
def test_rotation_without_keys_says_what_to_do(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = []
    with pytest.raises(CommandError, match="generate_keys"):
        call_command("rotate_encryption_key", stdout=StringIO())


@pytest.mark.django_db
def test_setting_and_replacing_a_credential() -> None:
    provider = Provider.objects.get(name="openai")
    first = services.set_credential(provider=provider, label="main", secret="sk-1")
    second = services.set_credential(provider=provider, label="Main", secret="sk-2")
    assert first.pk == second.pk
    assert crypto.decrypt(Credential.objects.get().encrypted_secret) == "sk-2"
    services.set_credential(provider=provider, label="main", reference="env:KEY")
    stored = Credential.objects.get()
    assert (stored.reference, stored.encrypted_secret, stored.secret_set_at) == ("env:KEY", "", None)
    services.rotate_credential(credential=stored, secret="sk-3")
    stored.refresh_from_db()
    assert crypto.decrypt(stored.encrypted_secret) == "sk-3"
    assert stored.reference == ""
    with pytest.raises(ValidationError):
        services.set_credential(provider=provider, label="x", secret="two words")
    with pytest.raises(ValueError, match="Either"):
        services.set_credential(provider=provider, label="x")
