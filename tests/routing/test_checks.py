"""Misconfiguration is told with an id and a hint."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.checks import run_checks

from routing import checks
from routing.models import Provider, ServedModel, triggers
from tests.factories import make_credential


def found(using: str) -> dict[str, str]:
    return {str(message.id): str(message.msg) for message in checks.check_rows(None, databases=[using])}


def test_a_seeded_database_is_in_order(database: str) -> None:
    assert found(database) == {}


def test_no_database_is_asked_without_leave() -> None:
    # Without the `db` fixture, pytest-django refuses every query.
    assert [message for message in run_checks() if str(message.id).startswith("routing.")] == []


def test_an_unusable_encryption_key(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = ["passphrase"]
    (message,) = checks.check_encryption_keys(None)
    assert message.id == "routing.E001"
    assert message.hint


def test_missing_triggers(database: str) -> None:
    triggers.remove(database)
    assert "routing.E002" in found(database)
    triggers.install(database)


def test_a_key_that_cannot_be_decrypted(database: str, settings: Any) -> None:
    make_credential(Provider.objects.using(database).get(name="openai"), "sk-1", "old")
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert "“old”" in found(database)["routing.W001"]


def test_a_model_that_nobody_serves(database: str) -> None:
    ServedModel.objects.using(database).get(public_id="gpt-4o").deployments.update(is_enabled=False)
    assert "gpt-4o" in found(database)["routing.W002"]
    ServedModel.objects.using(database).filter(public_id="gpt-4o").update(is_enabled=False)
    assert found(database) == {}


@pytest.mark.django_db
def test_each_message_has_a_hint() -> None:
    Provider.objects.update(is_enabled=False)
    messages = checks.check_rows(None, databases=["default"])
    assert len(messages) == ServedModel.objects.count()
    assert all(message.hint for message in messages)
