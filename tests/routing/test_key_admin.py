"""The operators' pages of keys and teams: a secret is on one page, once, and nowhere else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core import signing
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from routing import crypto, lookup, services
from routing.admin import key_secrets
from routing.models import ApiKey, ApiKeyUse, ServedModel, Team
from tests.factories import make_key, make_team
from tests.routing.test_admin import edit, form_of, last_log, messages_of, url_of
from tests.routing.test_keys import every_stored_value, found, problem

pytestmark = pytest.mark.django_db

SECRET_PAGE = "/admin/routing/apikey/secret/"


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("operator"))
    return client


def secret_in(page: Any) -> str:
    (entry,) = page.context["keys"]
    return str(entry["secret"])


def issue(client: Client, **changes: Any) -> Any:
    """The page that shows the new key."""
    return edit(client, url_of(ApiKey, "add"), changes, follow=True)


def ask(client: Client, action: str, keys: list[ApiKey]) -> Any:
    """Choose `action` for `keys` in the list; returns the page that asks back."""
    data = {"action": action, "_selected_action": [key.pk for key in keys]}
    return client.post(url_of(ApiKey), data, follow=True)


def answer(client: Client, page: Any, **data: Any) -> Any:
    return client.post(page.request["PATH_INFO"] + "?" + page.request["QUERY_STRING"], data, follow=True)


def every_page(client: Client, key: ApiKey) -> str:
    urls = (
        reverse("admin:index"),
        url_of(ApiKey),
        url_of(ApiKey, "change", key.pk),
        url_of(ApiKey, "history", key.pk),
        url_of(ApiKey, "delete", key.pk),
        url_of(LogEntry),
        url_of(Team),
        reverse("admin:routing_apikey_rotate_many") + f"?ids={key.pk}",
        reverse("admin:routing_apikey_revoke_many") + f"?ids={key.pk}",
        SECRET_PAGE,
    )
    return "".join(client.get(url, follow=True).content.decode() for url in urls)


def test_a_new_key_is_shown_once_and_works(operator: Client) -> None:
    page = issue(operator, note="for the notebook", requests_per_minute=60)
    assert page.status_code == 200
    assert page.request["PATH_INFO"] == SECRET_PAGE
    assert "no-store" in page["Cache-Control"]
    secret = secret_in(page)
    assert page.content.decode().count(secret) == 1
    assert 'data-copies="secret-' in page.content.decode()
    key = ApiKey.objects.get()
    assert (key.note, key.requests_per_minute, key.prefix) == ("for the notebook", 60, secret[:12])
    assert problem(secret) is None
    again = operator.get(SECRET_PAGE, follow=True)
    assert "shown once" in messages_of(again)
    assert secret not in again.content.decode()
    assert secret not in every_page(operator, key)


def test_a_new_key_is_in_force_before_its_page_is_shown(operator: Client) -> None:
    lookup.refresh()
    secret = secret_in(issue(operator))
    table = lookup.current()
    assert table.find_key(table.digest_key(secret)) is not None


def test_a_secret_is_in_no_session_table_or_url(operator: Client, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    first = operator.post(url_of(ApiKey, "add"), form_of(operator.get(url_of(ApiKey, "add"))))
    assert first["Location"] == SECRET_PAGE
    cookie = first.cookies[key_secrets.COOKIE]
    assert cookie["httponly"]
    assert (cookie["samesite"], cookie["path"], cookie["max-age"]) == ("Strict", SECRET_PAGE, 120)
    between = every_stored_value() + str([session.get_decoded() for session in Session.objects.all()])
    page = operator.get(SECRET_PAGE)
    secret = secret_in(page)
    after = every_stored_value() + str([session.get_decoded() for session in Session.objects.all()])
    for text in (between, after, cookie.value, str(first.headers), caplog.text):
        assert secret not in text
        assert secret[12:] not in text
    assert page.cookies[key_secrets.COOKIE]["max-age"] == 0
    assert "added" in str(LogEntry.objects.get().change_message)


def test_a_secret_is_for_the_operator_who_made_it(operator: Client) -> None:
    operator.post(url_of(ApiKey, "add"), form_of(operator.get(url_of(ApiKey, "add"))))
    other = Client()
    other.force_login(User.objects.create_superuser("other"))
    other.cookies[key_secrets.COOKIE] = operator.cookies[key_secrets.COOKIE].value
    page = other.get(SECRET_PAGE, follow=True)
    assert "shown once" in messages_of(page)


@pytest.mark.parametrize("value", ["", "rubbish", crypto.generate_key(), signing.dumps({"a": 1})])
def test_a_made_up_cookie_shows_nothing(operator: Client, value: str) -> None:
    operator.cookies[key_secrets.COOKIE] = value
    assert "shown once" in messages_of(operator.get(SECRET_PAGE, follow=True))


def test_a_secret_that_nobody_looked_at_in_time_is_gone(operator: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(key_secrets, "SECONDS", -1)
    operator.post(url_of(ApiKey, "add"), form_of(operator.get(url_of(ApiKey, "add"))))
    monkeypatch.undo()
    operator.cookies[key_secrets.COOKIE]["max-age"] = ""
    assert "shown once" in messages_of(operator.get(SECRET_PAGE, follow=True))


def test_save_and_continue_shows_the_secret_all_the_same(operator: Client) -> None:
    for button in ("_continue", "_addanother", "_save"):
        assert secret_in(issue(operator, **{button: "1"}))


def test_a_key_that_cannot_be_issued_says_why(operator: Client, settings: Any) -> None:
    services.issue_key()
    settings.ENCRYPTION_KEYS = [crypto.generate_key()]
    page = issue(operator)
    assert "replace_key_pepper" in messages_of(page)
    assert ApiKey.objects.count() == 1


def test_choosing_models_restricts_the_key(operator: Client) -> None:
    model = ServedModel.objects.get(public_id="gpt-4o")
    secret = secret_in(issue(operator, allowed_models=[model.pk]))
    row = found(secret)
    assert row is not None
    assert row.allowed == {"gpt-4o"}
    key = ApiKey.objects.get()
    assert key.is_restricted
    url = url_of(ApiKey, "change", key.pk)
    form = form_of(operator.get(url))
    assert "Choose at least one" in operator.post(url, form | {"allowed_models": []}).content.decode()
    form.pop("is_restricted")
    assert operator.post(url, form).status_code == 302
    row = found(secret)
    assert row is not None
    assert row.allowed is None
    assert last_log() == "Changed Only chosen models (on → off)."
    edit(operator, url, {"allowed_models": [model.pk]})
    assert last_log() == "Changed Allowed models (none → gpt-4o)."


def test_a_restricted_key_without_models_is_not_saved_as_free_by_accident(operator: Client) -> None:
    key, _ = services.issue_key(models=[ServedModel.objects.create(public_id="gone")])
    ServedModel.objects.get(public_id="gone").delete()
    assert "Its models were deleted" in operator.get(url_of(ApiKey)).content.decode()
    page = edit(operator, url_of(ApiKey, "change", key.pk), {"note": "x"})
    assert "Choose at least one" in page.content.decode()


def test_an_expiry_in_the_past_is_refused_and_an_old_one_stays(operator: Client) -> None:
    page = issue(operator, expires_at_0="2020-01-01", expires_at_1="00:00")
    assert "This time is over" in page.content.decode()
    key, _ = make_key(expires_at=timezone.now() - timedelta(days=1))
    url = url_of(ApiKey, "change", key.pk)
    old = timezone.localtime(key.expires_at)
    data = {"note": "late", "expires_at_0": f"{old:%Y-%m-%d}", "expires_at_1": f"{old:%H:%M:%S}"}
    ApiKey.objects.filter(pk=key.pk).update(expires_at=old.replace(microsecond=0))
    assert edit(operator, url, data).status_code == 302


def test_the_list_tells_the_state_of_each_key(operator: Client) -> None:
    now = timezone.now()
    make_key(note="alive")
    make_key(note="ending", expires_at=now + timedelta(days=2))
    make_key(note="ended", expires_at=now - timedelta(days=2))
    make_key(note="off", is_enabled=False)
    make_key(note="teamless", team=make_team(is_enabled=False))
    rotated, _ = make_key(note="rotated", owner=User.objects.create_user("left", is_active=False))
    services.rotate_key(key=rotated, grace=timedelta(hours=1))
    revoked, _ = make_key(note="over")
    services.revoke_key(key=revoked)
    services.record_use({rotated.pk: now.timestamp() - 7200})
    page = operator.get(url_of(ApiKey)).content.decode()
    for text in (
        "active", "expires in", "expired", "disabled", "team disabled", "in grace", "revoked",
        "owner inactive", "2\xa0hours ago", "never",
    ):  # fmt: skip
        assert text in page, text
    counts = {
        state: operator.get(url_of(ApiKey), {"state": state}).context["cl"].result_count
        for state in ("active", "expiring", "expired", "grace", "disabled", "revoked", "unused", "nonsense")
    }
    assert counts == {
        "active": 3,
        "expiring": 1,
        "expired": 1,
        "grace": 1,
        "disabled": 2,
        "revoked": 1,
        "unused": 2,
        "nonsense": 7,
    }


def test_the_list_does_not_ask_more_for_more_keys(
    operator: Client, django_assert_max_num_queries: Any
) -> None:
    team = make_team()
    for number in range(20):
        key, _ = services.issue_key(
            owner=User.objects.create_user(f"u{number}"), team=team, models=ServedModel.objects.all()[:3]
        )
        ApiKeyUse.objects.create(key=key, last_used_at=timezone.now())
    operator.get(url_of(ApiKey))
    with django_assert_max_num_queries(15):
        assert operator.get(url_of(ApiKey)).status_code == 200
    with django_assert_max_num_queries(20):
        page = operator.get(url_of(Team, "change", team.pk))
    assert page.status_code == 200
    assert key.prefix in page.content.decode()


def test_a_pasted_secret_finds_its_key(operator: Client) -> None:
    key, secret = make_key()
    make_key()
    page = operator.get(url_of(ApiKey), {"q": secret})
    assert [row.pk for row in page.context["cl"].result_list] == [key.pk]


def test_rotating_with_a_grace(operator: Client) -> None:
    key, old = make_key(note="rotate me")
    page = operator.get(url_of(ApiKey, "rotate", key.pk), follow=True)
    assert "rotate me" in page.content.decode()
    shown = answer(operator, page, grace="3600")
    new = secret_in(shown)
    assert "The secret before works until" in shown.content.decode()
    assert new != old
    assert problem(old) is None
    assert problem(new) is None
    assert "secret (replaced, the one before works until" in last_log()
    assert new not in every_page(operator, key)
    assert "in grace" in operator.get(url_of(ApiKey)).content.decode()


def test_rotating_without_a_grace(operator: Client) -> None:
    key, old = make_key()
    page = operator.get(url_of(ApiKey, "rotate", key.pk), follow=True)
    assert answer(operator, page, grace="7").context["form"].errors
    assert problem(old) is None
    answer(operator, page, grace="0")
    assert found(old) is None


def test_many_are_rotated_and_shown_together(operator: Client) -> None:
    keys = [make_key() for _ in range(key_secrets.AT_ONCE)]
    page = ask(operator, "rotate_chosen", [key for key, _ in keys])
    shown = answer(operator, page, grace="0")
    fresh = [entry["secret"] for entry in shown.context["keys"]]
    assert len(set(fresh)) == len(keys)
    assert all(problem(secret) is None for secret in fresh)
    more = [key for key, _ in keys] + [make_key()[0]]
    assert "at most 25" in messages_of(ask(operator, "rotate_chosen", more))


def test_revoking_one_and_many(operator: Client) -> None:
    (first, secret), (second, _), (third, _) = (make_key() for _ in range(3))
    page = operator.get(url_of(ApiKey, "revoke", first.pk), follow=True)
    assert problem(secret) is None
    assert "1 key is revoked." in messages_of(answer(operator, page))
    assert problem(secret) == "revoked"
    assert last_log() == "Changed revoked."
    page = ask(operator, "revoke_chosen", [first, second, third])
    assert "Revoke 2 keys?" in page.content.decode()
    assert "2 keys are revoked." in messages_of(answer(operator, page))
    assert not ApiKey.objects.filter(revoked_at=None).exists()
    assert "can be changed any more" in messages_of(answer(operator, page))


def test_a_revoked_key_is_only_looked_at(operator: Client) -> None:
    key, _ = make_key(note="over")
    services.revoke_key(key=key)
    page = operator.get(url_of(ApiKey, "change", key.pk))
    assert page.status_code == 200
    assert 'name="note"' not in page.content.decode()
    assert "/rotate" not in page.content.decode()
    assert operator.post(url_of(ApiKey, "change", key.pk), {"note": "x"}).status_code == 403
    ask(operator, "enable", [key])
    key.refresh_from_db()
    assert (key.note, key.revoked_at is None) == ("over", False)


def test_keys_are_disabled_and_enabled(operator: Client) -> None:
    key, secret = make_key()
    assert "1 key is now disabled." in messages_of(ask(operator, "disable", [key]))
    assert problem(secret) == "disabled"
    assert last_log() == "Changed enabled (on → off)."
    ask(operator, "enable", [key])
    assert problem(secret) is None


def test_a_get_changes_nothing(operator: Client) -> None:
    key, secret = make_key()
    for name in ("rotate_many", "revoke_many"):
        operator.get(reverse(f"admin:routing_apikey_{name}") + f"?ids={key.pk}")
    assert problem(secret) is None


def test_rotating_and_revoking_need_the_form_s_token(operator: Client) -> None:
    key, secret = make_key()
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="operator"))
    for name in ("rotate_many", "revoke_many"):
        url = reverse(f"admin:routing_apikey_{name}") + f"?ids={key.pk}"
        assert strict.post(url, {"grace": "0"}).status_code == 403
    assert problem(secret) is None


def test_a_team_is_made_and_switched_off(operator: Client) -> None:
    assert edit(operator, url_of(Team, "add"), {"name": "Red", "requests_per_minute": 9}).status_code == 302
    team = Team.objects.get()
    _, secret = make_key(team=team)
    page = operator.post(url_of(Team), {"action": "disable", "_selected_action": [team.pk]}, follow=True)
    assert "1 team is now disabled." in messages_of(page)
    assert problem(secret) == "team_disabled"
    assert "already" in edit(operator, url_of(Team, "add"), {"name": " red "}).content.decode()
    refused = operator.post(url_of(Team, "delete", team.pk), {"post": "yes"})
    assert refused.status_code == 200
    assert Team.objects.exists()
