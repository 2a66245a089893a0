"""Issuing, rotating and revoking keys: what is stored, what is found, and who is told the secret."""

from __future__ import annotations

import io
import re
import time
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import ProtectedError
from django.utils import timezone

from routing import crypto, lookup, services
from routing.domain.keys import KeyProblem, KeyRow
from routing.domain.limits import Limit
from routing.models import ApiKey, ApiKeyUse, ConfigVersion, KeyPepper, ServedModel
from tests.factories import make_key, make_model, make_team

pytestmark = pytest.mark.django_db


def found(secret: str) -> KeyRow | None:
    table = lookup.refresh()
    assert lookup.digest_key(secret) == table.digest_key(secret)
    return table.find_key(table.digest_key(secret))


def known(secret: str) -> KeyRow:
    row = found(secret)
    assert row is not None
    return row


def problem(secret: str) -> KeyProblem | None:
    return known(secret).problem(time.time())


def every_stored_value() -> str:
    """All that the database holds, in one text."""
    with connection.cursor() as cursor:
        text = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            text += [str(row) for row in cursor.fetchall()]
    return "\n".join(text)


def test_an_issued_key_is_found_with_all_that_it_may_do() -> None:
    owner = User.objects.create_user("ada")
    team = make_team("red", requests_per_minute=100)
    models = list(ServedModel.objects.filter(public_id__in=("gpt-4o", "gpt-4o-mini")))
    ends = timezone.now() + timedelta(days=1)
    key, secret = services.issue_key(
        owner=owner, team=team, note="notebook", models=models, expires_at=ends, requests_per_minute=5
    )
    row = known(secret)
    assert (row.id, row.prefix, row.owner, row.owner_id) == (key.pk, secret[:12], "ada", owner.pk)
    assert row.allowed == {"gpt-4o", "gpt-4o-mini"}
    assert row.expires_at == pytest.approx(ends.timestamp())
    assert row.limit == Limit(requests_per_minute=5)
    assert row.team is not None
    assert row.team.limit == Limit(requests_per_minute=100)
    assert [scope.name for scope in row.scopes] == [f"key:{key.pk}", f"team:{team.pk}"]
    assert row.problem(time.time()) is None
    assert row.problem(ends.timestamp()) is KeyProblem.EXPIRED


def test_secrets_are_long_and_differ() -> None:
    secrets = {services.issue_key()[1] for _ in range(20)}
    assert len(secrets) == 20
    # 30 characters beside the prefix, of 62 kinds: 178 bits.
    assert all(re.fullmatch(r"sk-pb-[A-Za-z0-9]{36}", secret) for secret in secrets)


def test_the_database_never_holds_the_secret_or_the_pepper() -> None:
    key, secret = services.issue_key()
    services.rotate_key(key=key, grace=timedelta(hours=1))
    stored = every_stored_value()
    assert key.prefix in stored or ApiKey.objects.get(pk=key.pk).prefix in stored
    assert secret not in stored
    assert secret[12:] not in stored
    pepper = crypto.decrypt(KeyPepper.objects.get().encrypted_pepper)
    assert pepper not in stored


def test_no_secret_is_logged_or_shown(caplog: Any) -> None:
    caplog.set_level("DEBUG")
    key, secret = services.issue_key(note="n")
    newer = services.rotate_key(key=key, grace=timedelta(hours=1))
    row = known(newer)
    services.revoke_key(key=key)
    lookup.refresh()
    for text in (caplog.text, repr(key), str(key), repr(row), repr(lookup.current())):
        assert secret[12:] not in text
        assert newer[12:] not in text


def test_one_character_less_is_another_key() -> None:
    _, secret = services.issue_key()
    for other in (secret[:-1], secret + "a", secret.swapcase(), secret[:12], ""):
        assert found(other) is None


def test_a_key_that_ends_is_refused() -> None:
    key, secret = services.issue_key()
    assert problem(secret) is None
    ApiKey.objects.filter(pk=key.pk).update(is_enabled=False)
    assert problem(secret) is KeyProblem.DISABLED
    assert services.revoke_key(key=key)
    assert problem(secret) is KeyProblem.REVOKED
    assert not services.revoke_key(key=key)
    key.delete()
    assert found(secret) is None


def test_a_disabled_team_takes_its_keys_along() -> None:
    team = make_team()
    _, secret = make_key(team=team)
    team.is_enabled = False
    team.save()
    assert problem(secret) is KeyProblem.TEAM_DISABLED


def test_a_team_with_keys_stays() -> None:
    team = make_team()
    make_key(team=team)
    with pytest.raises(ProtectedError):
        team.delete()


def test_an_owner_may_go_and_the_key_stays() -> None:
    owner = User.objects.create_user("leaver")
    _, secret = make_key(owner=owner)
    owner.delete()
    lookup.refresh(force=True)
    assert (known(secret).owner, known(secret).owner_id) == ("", None)


def test_old_and_new_secret_both_work_during_the_grace() -> None:
    key, old = services.issue_key()
    new = services.rotate_key(key=key, grace=timedelta(hours=1))
    assert known(old).id == known(new).id == key.pk
    assert (known(old).is_replaced, known(new).is_replaced) == (True, False)
    assert problem(old) is None
    assert problem(new) is None
    assert known(old).problem(time.time() + 3601) is KeyProblem.REPLACED
    assert known(new).problem(time.time() + 3601) is None


def test_without_a_grace_the_old_secret_ends_at_once() -> None:
    key, old = services.issue_key()
    new = services.rotate_key(key=key)
    assert found(old) is None
    assert problem(new) is None


def test_a_grace_does_not_outlast_the_key() -> None:
    key, old = make_key(expires_at=timezone.now() + timedelta(minutes=1))
    services.rotate_key(key=key, grace=timedelta(days=1))
    assert known(old).problem(time.time() + 61) is KeyProblem.EXPIRED


def test_only_the_last_secret_has_a_grace() -> None:
    key, first = services.issue_key()
    second = services.rotate_key(key=key, grace=timedelta(hours=1))
    third = services.rotate_key(key=key, grace=timedelta(hours=1))
    assert found(first) is None
    assert problem(second) is None
    assert problem(third) is None


def test_revoking_ends_a_secret_in_its_grace_too() -> None:
    key, old = services.issue_key()
    new = services.rotate_key(key=key, grace=timedelta(hours=1))
    services.revoke_key(key=key)
    assert found(old) is None
    assert problem(new) is KeyProblem.REVOKED


def test_a_revoked_key_is_not_rotated() -> None:
    key, _ = services.issue_key()
    services.revoke_key(key=key)
    with pytest.raises(ValueError, match="revoked"):
        services.rotate_key(key=key)


def test_a_negative_grace_is_refused() -> None:
    key, _ = services.issue_key()
    with pytest.raises(ValueError, match="negative"):
        services.rotate_key(key=key, grace=timedelta(seconds=-1))


@pytest.mark.parametrize("fields", [{"requests_per_minute": 0}, {"max_concurrent": -1}, {"note": "x" * 201}])
def test_nonsense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        services.issue_key(**fields)
    assert not ApiKey.objects.exists()


def test_a_key_whose_models_are_deleted_may_use_nothing() -> None:
    model = make_model("only-one")
    _, secret = services.issue_key(models=[model])
    assert known(secret).allowed == {"only-one"}
    model.delete()
    assert known(secret).allowed == frozenset()
    assert lookup.current().listed(known(secret)) == ()


def test_a_scope_follows_a_renamed_model() -> None:
    model = make_model("before")
    _, secret = services.issue_key(models=[model])
    ServedModel.objects.filter(pk=model.pk).update(public_id="after")
    assert known(secret).allowed == {"after"}


def test_limits_of_a_model_are_in_the_table() -> None:
    ServedModel.objects.filter(public_id="gpt-4o").update(tokens_per_minute=7)
    resolution = lookup.refresh().resolve("gpt-4o")
    assert resolution is not None
    assert resolution.model.limit == Limit(tokens_per_minute=7)


def test_rotating_the_encryption_key_leaves_keys_valid(settings: Any, encryption_key: str) -> None:
    _, secret = services.issue_key()
    newer = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [newer, encryption_key]
    assert services.reencrypt_secrets().count == 1
    settings.ENCRYPTION_KEYS = [newer]
    lookup.forget()
    assert problem(secret) is None
    assert services.issue_key()


def test_a_lost_encryption_key_is_said_and_overcome(settings: Any) -> None:
    key, secret = services.issue_key()
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    lookup.forget()
    assert found(secret) is None
    assert any("issued API keys are refused" in text for text in lookup.current().problems)
    with pytest.raises(services.PepperError, match="replace_key_pepper"):
        services.issue_key()
    with pytest.raises(CommandError, match="--yes"):
        call_command("replace_key_pepper")
    out = StringIO()
    call_command("replace_key_pepper", "--yes", stdout=out)
    assert out.getvalue().startswith("1 keys are revoked")
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert lookup.refresh().problems == ()
    _, newer = services.issue_key()
    assert problem(newer) is None


def test_a_damaged_pepper_is_a_problem_and_no_crash() -> None:
    _, secret = services.issue_key()
    KeyPepper.objects.update(encrypted_pepper=crypto.encrypt("not a pepper"))
    assert found(secret) is None
    assert lookup.current().problems
    assert lookup.current().resolve("gpt-4o") is not None


def test_without_encryption_keys_none_is_issued(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = []
    with pytest.raises(services.PepperError, match="ENCRYPTION_KEYS"):
        services.issue_key()


# Use.


def test_use_is_noted_at_most_once_a_minute_and_moves_no_version() -> None:
    keys = [make_key()[0] for _ in range(3)]
    version = ConfigVersion.objects.get().version
    start = 1_700_000_000.0
    assert services.record_use({key.pk: start for key in keys}) == 3
    assert services.record_use({keys[0].pk: start + 59, keys[1].pk: start + 60}) == 1
    assert services.record_use({keys[0].pk: start - 500}) == 0
    assert [
        ApiKeyUse.objects.get(key=key).last_used_at - datetime.fromtimestamp(start, UTC) for key in keys
    ] == [timedelta(0), timedelta(minutes=1), timedelta(0)]
    assert ConfigVersion.objects.get().version == version


def test_use_of_a_key_that_is_gone_is_skipped(django_assert_num_queries: Any) -> None:
    key, _ = make_key()
    assert services.record_use({key.pk: 1.0, 999_999: 1.0}) == 1
    assert services.record_use({}) == 0


def test_use_of_many_keys_takes_few_queries(django_assert_max_num_queries: Any) -> None:
    made = ApiKey.objects.bulk_create(
        ApiKey(prefix="sk-pb-abcdef", digest=f"{number:064x}") for number in range(1200)
    )
    with django_assert_max_num_queries(20):
        assert services.record_use({key.pk: 1.0 for key in made}) == 1200


# Commands.


def issue(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("issue_key", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_command_prints_the_secret_and_nothing_else() -> None:
    User.objects.create_user("ada")
    team = make_team("Red")
    out, err = issue(
        "--owner", "ada", "--team", "red", "--model", "GPT-4o", "--note", "ci", "--expires-in", "90d",
        "--rpm", "5", "--tpm", "6", "--concurrent", "7",
    )  # fmt: skip
    assert re.fullmatch(r"sk-pb-[A-Za-z0-9]{36}\n", out)
    assert out.strip() not in err
    row = known(out.strip())
    assert (row.owner, row.allowed, row.limit) == ("ada", {"gpt-4o"}, Limit(5, 6, 7))
    assert row.team is not None
    assert row.team.id == team.pk
    assert row.expires_at == pytest.approx(time.time() + 90 * 86400, abs=60)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--owner", "nobody"), "no user"),
        (("--team", "none"), "no team"),
        (("--model", "gpt-9"), "no model"),
        (("--model", "gpt-5"), "--model gpt-4o"),
        (("--expires-in", "soon"), "90d"),
        (("--expires-in", "0d"), "90d"),
        (("--rpm", "0"), "greater than or equal to 1"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        issue(*arguments)
    assert not ApiKey.objects.exists()


def test_a_key_is_revoked_by_prefix_number_or_secret(monkeypatch: Any) -> None:
    keys = [make_key() for _ in range(3)]
    monkeypatch.setattr("sys.stdin", io.StringIO(keys[2][1] + "\n"))
    for text in (f"{keys[0][0].prefix}…", str(keys[1][0].pk), "-"):
        out = StringIO()
        call_command("revoke_key", text, stdout=out)
        assert "is revoked" in out.getvalue()
    assert [problem(secret) for _, secret in keys] == [KeyProblem.REVOKED] * 3
    out = StringIO()
    call_command("revoke_key", keys[0][0].prefix, stdout=out)
    assert "already" in out.getvalue()


def test_revoking_asks_back_rather_than_guessing(monkeypatch: Any) -> None:
    first, _ = make_key()
    second, _ = make_key(prefix=first.prefix)
    with pytest.raises(CommandError, match=f"{second.pk}, {first.pk}"):
        call_command("revoke_key", first.prefix)
    monkeypatch.setattr("sys.stdin", io.StringIO("sk-pb-unknown\n"))
    for text in ("sk-pb-nobody", "99999", "-", "some words"):
        with pytest.raises(CommandError):
            call_command("revoke_key", text)
    assert not ApiKey.objects.exclude(revoked_at=None).exists()
