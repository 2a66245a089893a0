"""The groups of a new installation: what each may do in the admin, and what it may not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from routing.models import Alias, ApiKey, Credential, Deployment, Provider, ProviderHeader, ServedModel, Team
from tests.factories import make_credential, make_key, make_team
from tests.routing.test_admin import edit, form_of, url_of

pytestmark = pytest.mark.django_db

ROLES = ("Viewer", "Operator", "Key manager", "Owner")
KEY = "sk-live-never-show-0123456789"


@pytest.fixture
def provider() -> Provider:
    provider = Provider.objects.get(name="openai")
    make_credential(provider, KEY, label="the main credential")
    ProviderHeader.objects.create(provider=provider, name="x-inner-header", value="inner value")
    return provider


@pytest.fixture
def login() -> Callable[[str], Client]:
    def of(role: str) -> Client:
        user = User.objects.create_user(f"person-{role}", password="a long pass phrase", is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user)
        return client

    return of


def status(client: Client, url: str) -> int:
    return client.get(url).status_code


# Who may look at which list, and who may add.
PAGES: tuple[tuple[type, str, str], ...] = (
    (ServedModel, "Viewer Operator Owner Key manager", "Operator Owner"),
    (Alias, "Viewer Operator Owner", "Operator Owner"),
    (Provider, "Viewer Operator Owner", "Owner"),
    (ApiKey, "Viewer Owner Key manager", "Owner Key manager"),
    (Team, "Viewer Owner Key manager", "Owner Key manager"),
    (User, "Viewer Owner Key manager", "Owner"),
    (Group, "Viewer Owner", "Owner"),
    (LogEntry, "Viewer Owner", ""),
)


@pytest.mark.parametrize(
    ("model", "lookers", "adders"), PAGES, ids=lambda value: getattr(value, "__name__", "")
)
@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_its_pages_and_no_others(
    login: Callable[[str], Client], role: str, model: type, lookers: str, adders: str
) -> None:
    client = login(role)
    assert status(client, url_of(model)) == (200 if role in lookers else 403)
    assert status(client, url_of(model, "add")) == (200 if role in adders else 403)


@pytest.mark.parametrize("role", ROLES)
def test_each_role_has_a_start_page_and_links_only_to_what_it_may_see(
    login: Callable[[str], Client], role: str, provider: Provider
) -> None:
    client = login(role)
    page = client.get(reverse("admin:index"))
    assert page.status_code == 200
    text = page.content.decode()
    for model, lookers, _ in PAGES:
        assert (f'href="{url_of(model)}"' in text) == (role in lookers), model
    assert KEY not in text


def test_a_viewer_changes_nothing(login: Callable[[str], Client], provider: Provider) -> None:
    viewer = login("Viewer")
    key, _ = make_key()
    team = make_team()
    alias = Alias.objects.get(name="gpt-5")
    for row in (alias, alias.model, provider, key, team, User.objects.get(), Group.objects.all()[0]):
        page = url_of(type(row), "change", row.pk)
        assert status(viewer, page) == 200, row
        assert viewer.post(page, {}).status_code == 403, row
        assert viewer.post(url_of(type(row), "delete", row.pk), {"post": "yes"}).status_code == 403, row
    for name in ("rotate_many", "revoke_many"):
        url = reverse(f"admin:routing_apikey_{name}") + f"?ids={key.pk}"
        assert viewer.get(url).status_code == 403
        assert viewer.post(url, {"grace": "0"}).status_code == 403
    for name in ("rotate", "revoke"):
        assert status(viewer, url_of(ApiKey, name, key.pk)) == 403
    for model in (ApiKey, ServedModel, Alias):
        chosen = model.objects.order_by("pk")[0]  # type: ignore[attr-defined]
        for action in ("delete_selected", "disable", "unlist", "revoke_chosen", "rotate_chosen"):
            viewer.post(url_of(model), {"action": action, "_selected_action": [chosen.pk], "post": "yes"})
    key.refresh_from_db()
    assert (key.is_enabled, key.revoked_at) == (True, None)
    assert ServedModel.objects.filter(is_listed=True).count() == 12
    assert LogEntry.objects.count() == 0


def test_passwords_are_not_shown_to_who_looks_at_users(login: Callable[[str], Client]) -> None:
    viewer = login("Viewer")
    user = User.objects.get(username="person-Viewer")
    page = viewer.get(url_of(User, "change", user.pk)).content.decode()
    assert user.password not in page
    assert user.password.rsplit("$", 1)[1] not in page


@pytest.mark.parametrize("role", ["Viewer", "Operator", "Key manager"])
def test_credentials_are_for_owners(login: Callable[[str], Client], role: str, provider: Provider) -> None:
    client = login(role)
    page = client.get(url_of(Provider, "change", provider.pk))
    text = page.content.decode()
    if role == "Key manager":
        assert page.status_code == 403
    else:
        assert page.status_code == 200
        assert not page.context["inline_admin_formsets"]
    for secret in (KEY, "the main credential", "x-inner-header", "inner value", "credentials-0"):
        assert secret not in text
    data = {
        "name": "openai",
        "kind": "openai",
        "credentials-TOTAL_FORMS": "1",
        "credentials-INITIAL_FORMS": "0",
        "credentials-0-label": "mine",
        "credentials-0-key": "sk-mine",
    }
    assert client.post(url_of(Provider, "change", provider.pk), data).status_code == 403
    assert Credential.objects.count() == 1


def test_an_owner_stores_a_credential_and_never_sees_it_again(
    login: Callable[[str], Client], provider: Provider
) -> None:
    owner = login("Owner")
    url = url_of(Provider, "change", provider.pk)
    changes = {"credentials-0-key": "sk-replaced-0123456789"}
    assert edit(owner, url, changes).status_code == 302
    assert "sk-replaced-0123456789" not in owner.get(url).content.decode()
    assert Credential.objects.get().secret_set_at is not None


def test_an_operator_runs_the_catalog_and_touches_no_key(
    login: Callable[[str], Client], provider: Provider
) -> None:
    operator = login("Operator")
    model = ServedModel.objects.get(public_id="gpt-4o")
    url = url_of(ServedModel, "change", model.pk)
    changes = {"description": "ours", "requests_per_minute": 7}
    assert edit(operator, url, changes).status_code == 302
    model.refresh_from_db()
    assert (model.description, model.requests_per_minute) == ("ours", 7)
    added = {
        "public_id": "new-model",
        "deployments-TOTAL_FORMS": 1,
        "deployments-0-provider": provider.pk,
        "deployments-0-upstream_id": "gpt-4.1",
        "deployments-0-priority": 0,
        "deployments-0-weight": 1,
        "deployments-0-capabilities": "{}",
    }
    assert edit(operator, url_of(ServedModel, "add"), added).status_code == 302
    assert Deployment.objects.filter(model__public_id="new-model").exists()
    key, _ = make_key()
    for page in ("change", "delete", "history", "rotate", "revoke"):
        assert status(operator, url_of(ApiKey, page, key.pk)) == 403, page
    assert operator.post(url_of(ApiKey, "add"), {}).status_code == 403


def test_a_key_manager_gives_out_keys_and_changes_no_model(login: Callable[[str], Client]) -> None:
    manager = login("Key manager")
    ada = User.objects.create_user("ada")
    model = ServedModel.objects.get(public_id="gpt-4o")
    changes = {"owner": ada.pk, "allowed_models": [model.pk], "team": make_team().pk}
    page = edit(manager, url_of(ApiKey, "add"), changes, follow=True)
    assert page.context["keys"][0]["secret"].startswith("sk-pb-")
    assert ApiKey.objects.get().owner == ada
    for field, name in (("owner", "ada"), ("allowed_models", "gpt-4o")):
        found = manager.get(
            reverse("admin:autocomplete"),
            {"app_label": "routing", "model_name": "apikey", "field_name": field, "term": name},
        )
        assert found.json()["results"], field
    assert manager.post(url_of(ServedModel, "change", model.pk), {}).status_code == 403
    assert manager.post(url_of(User, "change", ada.pk), {"is_superuser": "on"}).status_code == 403
    ada.refresh_from_db()
    assert not ada.is_superuser


def test_an_owner_adds_people(login: Callable[[str], Client]) -> None:
    owner = login("Owner")
    data = {"username": "new", "usable_password": "true"}
    data |= {"password1": "a long pass phrase 1", "password2": "a long pass phrase 1"}
    assert owner.post(url_of(User, "add"), form_of(owner.get(url_of(User, "add"))) | data).status_code == 302
    assert User.objects.filter(username="new").exists()


def test_being_in_a_group_is_not_enough_to_log_in() -> None:
    user = User.objects.create_user("outsider")
    user.groups.add(Group.objects.get(name="Owner"))
    client = Client()
    client.force_login(user)
    assert status(client, reverse("admin:index")) == 302


def test_every_permission_that_was_seeded_is_one_that_django_knows() -> None:
    names = {
        (permission.content_type.app_label, permission.codename): permission.name
        for permission in Permission.objects.select_related("content_type")
    }
    assert len(names) == Permission.objects.count()
    assert names["routing", "view_apikey"] == "Can view API key"
    for permission in Permission.objects.filter(group__isnull=False).select_related("content_type"):
        assert permission.content_type.model_class() is not None


def test_migrating_again_leaves_what_operators_made_of_the_groups() -> None:
    Group.objects.get(name="Viewer").delete()
    Group.objects.get(name="Operator").permissions.clear()
    call_command("migrate", database=connection.alias, verbosity=0, interactive=False)
    assert not Group.objects.filter(name="Viewer").exists()
    assert not Group.objects.get(name="Operator").permissions.exists()


def test_the_roles_are_the_documented_ones() -> None:
    assert set(Group.objects.values_list("name", flat=True)) == set(ROLES)


def test_an_owner_cannot_become_a_superuser(login: Callable[[str], Client]) -> None:
    client = login("Owner")
    owner = User.objects.get(username="person-Owner")
    page = reverse("admin:auth_user_change", args=(owner.pk,))
    content = client.get(page).content.decode()
    assert 'name="is_active"' in content
    assert 'name="is_superuser"' not in content
    client.post(page, {"username": owner.username, "is_active": "on", "is_staff": "on", "is_superuser": "on"})
    owner.refresh_from_db()
    assert not owner.is_superuser


def test_an_owner_cannot_take_over_a_superuser(login: Callable[[str], Client]) -> None:
    root = User.objects.create_superuser("root", password="another long pass phrase")
    client = login("Owner")
    assert (
        client.post(
            reverse("admin:auth_user_password_change", args=(root.pk,)),
            {"password1": "taken over by force", "password2": "taken over by force"},
        ).status_code
        == 403
    )
    assert client.post(reverse("admin:auth_user_delete", args=(root.pk,)), {"post": "yes"}).status_code == 403
    root.refresh_from_db()
    assert root.check_password("another long pass phrase")
