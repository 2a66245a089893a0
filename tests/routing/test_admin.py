"""The operators' pages: what they show, what they save, and what they never show."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.forms import ModelMultipleChoiceField
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from routing import crypto, lookup
from routing.models import Alias, Credential, Deployment, Provider, ProviderHeader, ServedModel, Worker
from tests.factories import make_alias, make_credential, make_deployment, make_model, make_provider

pytestmark = pytest.mark.django_db

KEY = "sk-live-never-show-0123456789"


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("operator"))
    return client


def url_of(model: type, page: str = "changelist", *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)  # type: ignore[attr-defined]


def form_of(page: Any) -> dict[str, Any]:
    """What a browser would send back from the page's form, untouched."""
    context = page.context
    forms = [context["adminform"].form] if "adminform" in context else []
    formsets = [inline.formset for inline in context.get("inline_admin_formsets", ())]
    if "cl" in context and context["cl"].formset is not None:
        formsets.append(context["cl"].formset)
    data: dict[str, Any] = {}
    for formset in formsets:
        forms += [formset.management_form, *formset.forms]
    for form in forms:
        for field in form:
            value = field.value()
            if value is None and isinstance(field.field, ModelMultipleChoiceField):
                continue
            if (
                field.field.widget.input_type == "password"
                if hasattr(field.field.widget, "input_type")
                else False
            ):
                value = ""
            if value is True:
                data[field.html_name] = "on"
            elif value is not False:
                data[field.html_name] = "" if value is None else value
    return data


def edit(client: Client, url: str, changes: dict[str, Any], **options: Any) -> Any:
    return client.post(url, form_of(client.get(url)) | changes, **options)


def messages_of(page: Any) -> str:
    return " ".join(str(message) for message in page.context["messages"])


def last_log() -> str:
    return LogEntry.objects.order_by("-id")[0].get_change_message()


def test_every_page_opens(operator: Client) -> None:
    provider = Provider.objects.get(name="openai")
    make_credential(provider, KEY)
    alias = Alias.objects.get(name="gpt-5")
    for url in (
        reverse("admin:index"),
        url_of(ServedModel),
        url_of(ServedModel, "add"),
        url_of(ServedModel, "change", alias.model_id),
        url_of(ServedModel, "history", alias.model_id),
        url_of(Alias),
        url_of(Alias, "add"),
        url_of(Alias, "change", alias.pk),
        url_of(Provider),
        url_of(Provider, "add"),
        url_of(Provider, "change", provider.pk),
        url_of(User),
        url_of(User, "add"),
        url_of(LogEntry),
        reverse("admin:search") + "?s=gpt&extended=1",
    ):
        assert operator.get(url).status_code == 200, url


def test_the_model_list_shows_provider_upstream_aliases_and_state(operator: Client) -> None:
    page = operator.get(url_of(ServedModel)).content.decode()
    text = re.sub(r"<[^>]+>|\s+", " ", page)
    text = re.sub(r"\s+", " ", text)
    assert "anthropic / claude-opus-4-5" in text
    assert "gemini-1.5-pro" in text
    assert re.search(r"claude-3-5-sonnet-20241022 retired", text)
    assert text.count("no key") == 12


def test_the_state_follows_the_keys(operator: Client, settings: Any) -> None:
    settings.OPENAI_API_KEY = KEY
    page = operator.get(url_of(ServedModel)).content.decode()
    assert page.count('title="Its provider has no key: requests get 503"') == 6
    assert KEY not in page


def test_a_model_that_only_has_retired_upstreams_is_not_called_ready(operator: Client, settings: Any) -> None:
    settings.ANTHROPIC_API_KEY = KEY
    page = operator.get(url_of(ServedModel), {"q": "claude-3-opus"}).content.decode()
    assert "The provider no longer serves the upstream id" in page
    model = ServedModel.objects.get(public_id="claude-3-opus")
    make_deployment(model, Provider.objects.get(name="anthropic"), "claude-opus-4-5")
    page = operator.get(url_of(ServedModel), {"q": "claude-3-opus"}).content.decode()
    assert "The provider no longer serves the upstream id" not in page


def test_a_retirement_that_the_operator_knows_better(operator: Client) -> None:
    deployment = Deployment.objects.get(upstream_id="claude-3-opus-20240229")
    deployment.capabilities = {"retired_on": None}
    deployment.save()
    page = operator.get(url_of(ServedModel), {"q": "claude-3-opus"}).content.decode()
    assert "The provider stopped serving" not in page


def test_the_model_list_does_not_ask_more_for_more_rows(
    operator: Client, django_assert_max_num_queries: Any
) -> None:
    provider = make_provider()
    for _ in range(30):
        make_alias(model=make_deployment(make_model(), provider).model)
    operator.get(url_of(ServedModel))
    with django_assert_max_num_queries(15):
        operator.get(url_of(ServedModel))
    with django_assert_max_num_queries(15):
        operator.get(url_of(Alias))


@pytest.mark.parametrize("query", ["gpt-5-turbo", "claude-opus-4-5", "Most capable", "gpt-4o-mini"])
def test_models_are_found_by_alias_upstream_id_and_description(operator: Client, query: str) -> None:
    page = operator.get(url_of(ServedModel), {"q": query})
    assert page.context["cl"].result_count == 1


def test_models_are_filtered_by_provider(operator: Client) -> None:
    provider = Provider.objects.get(name="anthropic")
    assert operator.get(url_of(ServedModel), {"provider": provider.pk}).context["cl"].result_count == 6
    assert operator.get(url_of(ServedModel), {"provider": "x"}).context["cl"].result_count == 12


def test_aliases_are_edited_in_the_list(operator: Client) -> None:
    target = ServedModel.objects.get(public_id="claude-opus-4")
    rows = list(operator.get(url_of(Alias)).context["cl"].result_list)
    index = next(number for number, row in enumerate(rows) if row.name == "gpt-5")
    page = edit(
        operator,
        url_of(Alias),
        {
            f"form-{index}-model": target.pk,
            f"form-{index}-is_listed": "on",
            f"form-{index}-note": "moved",
            "_save": "Save",
        },
        follow=True,
    )
    assert "1 alias was changed" in messages_of(page)
    alias = Alias.objects.get(name="gpt-5")
    assert (alias.model, alias.is_listed, alias.note) == (target, True, "moved")
    assert last_log() == "Changed Model (gpt-4o → claude-opus-4), Listed (off → on) and Note (empty → moved)."


def test_a_save_is_in_force_in_this_process_before_the_answer(operator: Client) -> None:
    lookup.refresh()
    alias = Alias.objects.get(name="gpt-5")
    target = ServedModel.objects.get(public_id="gpt-4.1")
    url = url_of(Alias, "change", alias.pk)
    assert edit(operator, url, {"model": target.pk}).status_code == 302
    resolution = lookup.current().resolve("gpt-5")
    assert resolution is not None
    assert resolution.model.public_id == "gpt-4.1"


def test_a_model_is_made_with_its_deployment_and_alias(operator: Client) -> None:
    provider = Provider.objects.get(name="openai")
    page = edit(
        operator,
        url_of(ServedModel, "add"),
        {
            "public_id": "my-model",
            "deployments-TOTAL_FORMS": 1,
            "deployments-0-provider": provider.pk,
            "deployments-0-upstream_id": "gpt-4.1",
            "deployments-0-priority": 0,
            "deployments-0-weight": 1,
            "deployments-0-is_enabled": "on",
            "deployments-0-capabilities": '{"max_output_tokens": 100}',
            "aliases-TOTAL_FORMS": 1,
            "aliases-0-name": "mine",
            "aliases-0-note": "",
        },
        follow=True,
    )
    assert "added successfully" in messages_of(page)
    resolution = lookup.current().resolve("mine")
    assert resolution is not None
    (deployment,) = resolution.model.deployments
    assert dict(deployment.capabilities) == {"max_output_tokens": 100}


def test_saving_a_retired_upstream_id_warns(operator: Client) -> None:
    model = ServedModel.objects.get(public_id="claude-3-opus")
    page = edit(operator, url_of(ServedModel, "change", model.pk), {"description": "x"}, follow=True)
    assert "is retired since 2026-01-05" in messages_of(page)
    Deployment.objects.filter(model=model).update(is_enabled=False)
    page = edit(operator, url_of(ServedModel, "change", model.pk), {"description": "y"}, follow=True)
    assert "Nobody serves claude-3-opus" in messages_of(page)


def test_a_refused_name_says_why_beside_the_field(operator: Client) -> None:
    page = edit(operator, url_of(ServedModel, "add"), {"public_id": "gpt-5"})
    assert page.status_code == 200
    assert "is an alias of gpt-4o" in page.content.decode()
    page = edit(operator, url_of(Alias, "add"), {"name": "GPT-4o", "model": ServedModel.objects.all()[1].pk})
    assert "is the id of a model" in page.content.decode()


@pytest.mark.parametrize(
    ("action", "field", "value", "said"),
    [
        ("disable", "is_enabled", False, "2 models are now disabled."),
        ("unlist", "is_listed", False, "2 models are now hidden from the list."),
    ],
)
def test_bulk_actions_change_log_and_apply(
    operator: Client, action: str, field: str, value: bool, said: str
) -> None:
    chosen = ServedModel.objects.filter(public_id__in=["gpt-4.1", "gpt-4.1-mini"])
    data = {"action": action, "_selected_action": [model.pk for model in chosen]}
    page = operator.post(url_of(ServedModel), data, follow=True)
    assert said in messages_of(page)
    assert ServedModel.objects.filter(**{field: value}).count() == 2
    assert "gpt-4.1" not in [entry.id for entry in lookup.current().listed()]
    assert LogEntry.objects.count() == 2
    assert "(on → off)" in last_log()
    undo = {"disable": "enable", "unlist": "list_in_models"}[action]
    operator.post(url_of(ServedModel), data | {"action": undo})
    assert not ServedModel.objects.filter(**{field: value})


def test_bulk_actions_on_aliases_and_providers(operator: Client) -> None:
    alias = Alias.objects.get(name="gpt-5")
    operator.post(url_of(Alias), {"action": "list_in_models", "_selected_action": [alias.pk]})
    assert "gpt-5" in [entry.id for entry in lookup.current().listed()]
    operator.post(url_of(Alias), {"action": "unlist", "_selected_action": [alias.pk]})
    assert "gpt-5" not in [entry.id for entry in lookup.current().listed()]
    provider = Provider.objects.get(name="openai")
    operator.post(url_of(Provider), {"action": "disable", "_selected_action": [provider.pk]})
    assert last_log() == "Changed enabled (on → off)."
    assert not Provider.objects.get(name="openai").is_enabled
    operator.post(url_of(Provider), {"action": "enable", "_selected_action": [provider.pk]})
    assert Provider.objects.get(name="openai").is_enabled


def add_key(client: Client, provider: Provider, **fields: Any) -> Any:
    data = {"credentials-TOTAL_FORMS": 1, "credentials-0-label": "main", "credentials-0-is_enabled": "on"}
    data |= {f"credentials-0-{name}": value for name, value in fields.items()}
    return edit(client, url_of(Provider, "change", provider.pk), data, follow=True)


def test_a_key_goes_in_and_never_comes_out(operator: Client) -> None:
    provider = Provider.objects.get(name="openai")
    saved = add_key(operator, provider, key=KEY, reference="")
    assert KEY not in saved.content.decode()
    credential = Credential.objects.get()
    assert crypto.decrypt(credential.encrypted_secret) == KEY
    (row,) = lookup.current().providers[0].credentials
    assert row.secret.reveal() == KEY

    shown = operator.get(url_of(Provider, "change", provider.pk)).content.decode()
    assert "encrypted, set on" in shown
    pages = [
        shown,
        *(
            operator.get(url).content.decode()
            for url in (
                reverse("admin:index"),
                url_of(Provider),
                url_of(Provider, "history", provider.pk),
                url_of(LogEntry),
                url_of(Provider, "delete", provider.pk),
            )
        ),
    ]
    for page in pages:
        assert KEY not in page
        assert KEY[-6:] not in page
        assert credential.encrypted_secret not in page
    assert KEY not in json.dumps(list(LogEntry.objects.values_list("change_message", "object_repr")))


def test_saving_again_keeps_the_key_and_typing_replaces_it(operator: Client) -> None:
    provider = Provider.objects.get(name="openai")
    credential = make_credential(provider, KEY, "main")
    url = url_of(Provider, "change", provider.pk)
    edit(operator, url, {"credentials-0-label": "renamed"})
    credential.refresh_from_db()
    assert credential.label == "renamed"
    assert crypto.decrypt(credential.encrypted_secret) == KEY
    edit(operator, url, {"credentials-0-key": "sk-next"})
    credential.refresh_from_db()
    assert crypto.decrypt(credential.encrypted_secret) == "sk-next"
    assert "key (replaced)" in last_log()
    assert "sk-next" not in last_log()
    edit(operator, url, {"credentials-0-reference": "env:TEAM_KEY"})
    credential.refresh_from_db()
    assert (credential.reference, credential.encrypted_secret) == ("env:TEAM_KEY", "")
    edit(operator, url, {"credentials-0-key": KEY})
    credential.refresh_from_db()
    assert credential.reference == ""
    assert crypto.decrypt(credential.encrypted_secret) == KEY


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"key": "", "reference": ""}, "Enter the key"),
        ({"key": KEY, "reference": "env:X"}, "not both"),
        ({"key": f"{KEY} {KEY}", "reference": ""}, "white space"),
        ({"key": "", "reference": "X"}, "env:NAME"),
        ({"key": "", "reference": "env:SECRET_KEY"}, "never sent"),
    ],
)
def test_a_refused_key_is_not_echoed(operator: Client, fields: dict[str, str], said: str) -> None:
    page = add_key(operator, Provider.objects.get(name="openai"), **fields).content.decode()
    assert said in page
    assert KEY not in page
    assert not Credential.objects.exists()


def test_without_an_encryption_key_the_form_says_so(operator: Client, settings: Any) -> None:
    settings.ENCRYPTION_KEYS = []
    page = add_key(operator, Provider.objects.get(name="openai"), key=KEY, reference="").content.decode()
    assert "generate_keys" in page
    assert KEY not in page


def test_an_undecryptable_key_is_marked(operator: Client, settings: Any) -> None:
    provider = Provider.objects.get(name="openai")
    make_credential(provider, KEY, "main")
    from cryptography.fernet import Fernet

    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert "cannot be decrypted" in operator.get(url_of(Provider, "change", provider.pk)).content.decode()
    assert "cannot be decrypted" in operator.get(reverse("admin:index")).content.decode()


def test_headers_in_the_open_and_secret(operator: Client) -> None:
    provider = Provider.objects.get(name="openai")
    url = url_of(Provider, "change", provider.pk)
    edit(
        operator,
        url,
        {
            "headers-TOTAL_FORMS": 2,
            "headers-0-name": "x-team",
            "headers-0-value": "search",
            "headers-1-name": "x-gateway-key",
            "headers-1-secret_value": KEY,
        },
    )
    stored = {header.name: header for header in ProviderHeader.objects.all()}
    assert stored["x-team"].value == "search"
    assert crypto.decrypt(stored["x-gateway-key"].encrypted_value) == KEY
    shown = operator.get(url).content.decode()
    assert KEY not in shown
    assert "search" in shown
    edit(operator, url, {"name": "openai"})
    assert crypto.decrypt(ProviderHeader.objects.get(name="x-gateway-key").encrypted_value) == KEY
    refused = edit(
        operator,
        url,
        {
            "headers-TOTAL_FORMS": 3,
            "headers-2-name": "x-a",
            "headers-2-value": "",
            "headers-2-secret_value": "",
        },
    )
    assert "Enter a value" in refused.content.decode()
    refused = edit(
        operator, url, {"headers-TOTAL_FORMS": 3, "headers-2-name": "Host", "headers-2-secret_value": KEY}
    )
    assert "proxy itself" in refused.content.decode()
    assert KEY not in refused.content.decode()


def test_a_provider_is_added_with_its_key(operator: Client) -> None:
    page = edit(
        operator,
        url_of(Provider, "add"),
        {
            "name": "mistral",
            "kind": "openai_compatible",
            "base_url": "https://api.mistral.ai/v1",
            "credentials-TOTAL_FORMS": 1,
            "credentials-0-label": "main",
            "credentials-0-is_enabled": "on",
            "credentials-0-key": KEY,
            "headers-TOTAL_FORMS": 1,
            "headers-0-name": "x-team",
            "headers-0-value": "a",
        },
        follow=True,
    )
    assert "added successfully" in messages_of(page)
    row = next(row for row in lookup.current().providers if row.name == "mistral")
    assert row.is_configured
    assert row.header_values() == {"x-team": "a"}


def test_deleting_a_model_asks_about_its_aliases(operator: Client) -> None:
    model = ServedModel.objects.get(public_id="gpt-4o")
    url = url_of(ServedModel, "delete", model.pk)
    page = operator.get(url).content.decode()
    for name in ("gpt-5", "gpt-5-turbo", "gemini-2.5-pro", "openai/gpt-4o"):
        assert name in page
    refused = operator.post(url, {"aliases": "move", "target": ""})
    assert "Choose the model" in refused.content.decode()
    assert ServedModel.objects.filter(pk=model.pk).exists()
    target = ServedModel.objects.get(public_id="gpt-4.1")
    done = operator.post(url, {"aliases": "move", "target": target.pk}, follow=True)
    assert "now means gpt-4.1" in messages_of(done)
    assert Alias.objects.get(name="gpt-5").model == target
    moves = [entry for entry in LogEntry.objects.all() if "gpt-4o → gpt-4.1" in entry.get_change_message()]
    assert len(moves) == 6


def test_deleting_a_model_with_its_aliases_or_without_any(operator: Client) -> None:
    model = ServedModel.objects.get(public_id="gpt-4o")
    operator.post(url_of(ServedModel, "delete", model.pk), {"aliases": "delete"})
    assert not Alias.objects.filter(name="gpt-5").exists()
    lonely = ServedModel.objects.get(public_id="gpt-4.1")
    operator.post(url_of(ServedModel, "delete", lonely.pk), {"post": "yes"})
    assert not ServedModel.objects.filter(pk__in=[model.pk, lonely.pk]).exists()


def test_deleting_many_models_stops_at_their_aliases(operator: Client) -> None:
    chosen = ServedModel.objects.filter(public_id__in=["gpt-4o", "gpt-4.1"])
    data = {"action": "delete_selected", "_selected_action": [model.pk for model in chosen], "post": "yes"}
    page = operator.post(url_of(ServedModel), data).content.decode()
    assert "gpt-5-turbo" in page
    assert chosen.count() == 2


def test_deleting_a_provider_names_the_models_that_nobody_serves_then(operator: Client) -> None:
    provider = Provider.objects.get(name="openai")
    make_deployment(ServedModel.objects.get(public_id="gpt-4.1"), make_provider("second"))
    url = url_of(Provider, "delete", provider.pk)
    page = operator.get(url)
    assert [str(model) for model in page.context["elsewhere"]] == ["gpt-4.1"]
    assert "gpt-4o-mini" in page.content.decode()
    assert "This field is required" in operator.post(url, {}).content.decode()
    done = operator.post(url, {"is_confirmed": "on"}, follow=True)
    assert "openai is deleted" in messages_of(done)
    assert ServedModel.objects.filter(public_id="gpt-4o").exists()


def test_the_start_page_says_what_to_set(operator: Client, settings: Any) -> None:
    page = operator.get(reverse("admin:index")).content.decode()
    assert "Set OPENAI_API_KEY in the environment" in page
    assert "Set ANTHROPIC_API_KEY in the environment" in page
    assert "&quot;model&quot;: &quot;demo&quot;" in page
    assert "http://testserver/api/v1/chat/completions" in page
    assert "claude-sonnet-4-5 retires on 2026-11-30" in page or "no longer serves" in page
    settings.OPENAI_API_KEY = KEY
    lookup.refresh(force=True)
    page = operator.get(reverse("admin:index")).content.decode()
    assert "Set OPENAI_API_KEY" not in page
    assert "&quot;model&quot;: &quot;gpt-4o-mini&quot;" in page
    assert KEY not in page


def test_the_start_page_shows_the_last_changes(operator: Client) -> None:
    alias = Alias.objects.get(name="gpt-5")
    edit(operator, url_of(Alias, "change", alias.pk), {"note": "hello"})
    page = operator.get(reverse("admin:index")).content.decode()
    assert "Note (empty → hello)" in page
    assert "operator" in page


def test_the_start_page_shows_workers_behind_and_silent(operator: Client) -> None:
    now = timezone.now()
    version = lookup.refresh().version
    for hostname, behind, age in (("current", 0, 1), ("behind", 1, 1), ("silent", 0, 30), ("dead", 0, 70)):
        Worker.objects.create(
            hostname=hostname,
            pid=1,
            started_at=now,
            version=version - behind,
            seen_at=now - timedelta(seconds=age),
        )
    page = operator.get(reverse("admin:index"))
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.content.decode()))
    assert re.search(rf"current:1 up .{{1,40}} ago version {version} ", text)
    assert re.search(rf"behind:1 up .{{1,40}} ago version {version - 1} ", text)
    assert re.search(r"silent:1 up .{1,40} ago silent ", text)
    assert "dead:1" not in text
    assert "some are behind" in text


def staff(client: Client, *codenames: str) -> Client:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    return client


def test_who_may_edit_aliases_sees_no_keys(client: Client) -> None:
    staff(client, "view_alias", "change_alias")
    provider = Provider.objects.get(name="openai")
    assert client.get(url_of(Alias)).status_code == 200
    for url in (
        url_of(Provider),
        url_of(Provider, "change", provider.pk),
        url_of(ServedModel),
        url_of(LogEntry),
    ):
        assert client.get(url).status_code == 403
    page = client.get(reverse("admin:index")).content.decode()
    assert "OPENAI_API_KEY" not in page
    assert "Aliases" in page


def test_deleting_needs_leave_for_what_goes_with_it(client: Client) -> None:
    staff(client, "view_servedmodel", "delete_servedmodel", "view_provider", "delete_provider")
    model = ServedModel.objects.get(public_id="gpt-4o")
    assert client.post(url_of(ServedModel, "delete", model.pk), {"aliases": "delete"}).status_code == 403
    provider = Provider.objects.get(name="openai")
    assert client.post(url_of(Provider, "delete", provider.pk), {"is_confirmed": "on"}).status_code == 403
    assert ServedModel.objects.filter(pk=model.pk).exists()


def test_the_history_cannot_be_edited(operator: Client) -> None:
    alias = Alias.objects.get(name="gpt-5")
    edit(operator, url_of(Alias, "change", alias.pk), {"note": "hello"})
    entry = LogEntry.objects.get()
    assert operator.get(url_of(LogEntry, "add")).status_code == 403
    assert operator.post(url_of(LogEntry, "delete", entry.pk), {"post": "yes"}).status_code == 403
    assert LogEntry.objects.count() == 1


def test_strangers_see_the_login_page(client: Client) -> None:
    for url in (reverse("admin:index"), url_of(Alias), url_of(Provider)):
        assert client.get(url).status_code == 302
