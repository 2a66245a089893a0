"""Fallbacks and sharing on the page of a model: what it saves, refuses and warns of."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from routing import lookup
from routing.models import Deployment, FallbackModel, Provider, ServedModel
from tests.factories import make_deployment, make_fallback, make_model
from tests.routing.test_admin import edit, form_of, last_log, messages_of, operator, url_of

__all__ = ["operator"]

pytestmark = pytest.mark.django_db

KEY = "sk-live-never-show-0123456789"


@pytest.fixture(autouse=True)
def provider_keys(settings: Any) -> None:
    settings.OPENAI_API_KEY = settings.ANTHROPIC_API_KEY = KEY


def model_named(public_id: str) -> ServedModel:
    return ServedModel.objects.get(public_id=public_id)


def rows(*fallbacks: str, initial: int = 0, **fields: Any) -> dict[str, Any]:
    """The inline as a browser sends it with these models added."""
    data: dict[str, Any] = {"fallbacks-TOTAL_FORMS": initial + len(fallbacks)}
    for index, name in enumerate(fallbacks, initial):
        data |= {
            f"fallbacks-{index}-fallback": model_named(name).pk,
            f"fallbacks-{index}-on_failure": "on",
            f"fallbacks-{index}-on_context_overflow": "on",
            f"fallbacks-{index}-position": "",
        }
        data |= {f"fallbacks-{index}-{field}": value for field, value in fields.items()}
    return data


def listed(model: ServedModel) -> list[str]:
    return [row.fallback.public_id for row in FallbackModel.objects.filter(model=model)]


def errors_of(page: Any) -> str:
    assert page.status_code == 200, "it was saved"
    formset = next(
        inline.formset
        for inline in page.context["inline_admin_formsets"]
        if inline.formset.prefix == "fallbacks"
    )
    return f"{formset.errors} {formset.non_form_errors()}"


def test_fallbacks_are_saved_in_the_order_of_the_rows(operator: Client) -> None:
    model = model_named("gpt-4o")
    url = url_of(ServedModel, "change", model.pk)
    assert edit(operator, url, rows("claude-opus-4", "gpt-4.1")).status_code == 302
    assert listed(model) == ["claude-opus-4", "gpt-4.1"]
    row = lookup.current().find_model("gpt-4o")
    assert row is not None
    assert [fallback.model_id for fallback in row.fallbacks] == ["claude-opus-4", "gpt-4.1"]
    assert [fallback.on_refusal for fallback in row.fallbacks] == [False, False]
    assert "Added fallback “gpt-4o → claude-opus-4”" in last_log()


def test_fallbacks_are_put_in_another_order(operator: Client) -> None:
    model = model_named("gpt-4o")
    for position, name in enumerate(("gpt-4.1", "claude-opus-4"), 1):
        make_fallback(model, model_named(name), position=position)
    url = url_of(ServedModel, "change", model.pk)
    moved = rows("gpt-4.1-mini", initial=2) | {"fallbacks-0-position": 2, "fallbacks-1-position": 1}
    assert edit(operator, url, moved).status_code == 302
    assert listed(model) == ["claude-opus-4", "gpt-4.1", "gpt-4.1-mini"]
    assert "Position (1 → 2)" in last_log()


def test_a_new_model_is_made_with_its_fallback(operator: Client) -> None:
    new = {"public_id": "my-model", "balancing": "latency"}
    assert edit(operator, url_of(ServedModel, "add"), new | rows("gpt-4.1")).status_code == 302
    model = model_named("my-model")
    assert (listed(model), model.balancing) == (["gpt-4.1"], "latency")


def test_itself_twice_the_same_and_a_circle_are_refused_in_the_row(operator: Client) -> None:
    model = model_named("gpt-4o")
    make_fallback(model_named("gpt-4.1"), model)
    url = url_of(ServedModel, "change", model.pk)
    assert "cannot stand in for itself" in errors_of(edit(operator, url, rows("gpt-4o")))
    assert "would stand in for itself" in errors_of(edit(operator, url, rows("gpt-4.1")))
    assert "duplicate" in errors_of(edit(operator, url, rows("gpt-4.1-mini", "gpt-4.1-mini")))
    assert listed(model) == []


def test_a_row_without_any_occasion_is_refused(operator: Client) -> None:
    url = url_of(ServedModel, "change", model_named("gpt-4o").pk)
    data = rows("gpt-4.1")
    del data["fallbacks-0-on_failure"], data["fallbacks-0-on_context_overflow"]
    assert "Tick at least one occasion" in errors_of(edit(operator, url, data))


def test_a_circle_is_undone_by_deleting_a_row_of_it(operator: Client) -> None:
    """Somebody wrote it by SQL: the page must still be able to mend it."""
    a, b = model_named("gpt-4o"), model_named("gpt-4.1")
    make_fallback(a, b)
    make_fallback(b, a)
    page = edit(operator, url_of(ServedModel, "change", a.pk), {"fallbacks-0-DELETE": "on"})
    assert page.status_code == 302
    assert listed(a) == []


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        ({"model": {"is_enabled": False}}, "it is disabled"),
        ({"deployment": {"is_enabled": False}}, "it has no deployment of an enabled provider"),
        ({"settings": {"ANTHROPIC_API_KEY": ""}}, "its provider has no key"),
        (
            {"deployment": {"upstream_id": "claude-3-opus-20240229"}},
            "its provider no longer serves the upstream id",
        ),
    ],
    ids=["disabled", "not served", "no key", "retired"],
)
def test_a_fallback_that_cannot_answer_is_warned_of(
    operator: Client, settings: Any, change: dict[str, dict[str, Any]], clause: str
) -> None:
    model, fallback = model_named("gpt-4o"), model_named("claude-opus-4")
    ServedModel.objects.filter(pk=fallback.pk).update(**change.get("model", {"is_listed": True}))
    Deployment.objects.filter(model=fallback).update(**change.get("deployment", {"weight": 1}))
    for name, value in change.get("settings", {}).items():
        setattr(settings, name, value)
    page = edit(operator, url_of(ServedModel, "change", model.pk), rows("claude-opus-4"), follow=True)
    sentence = f"gpt-4o falls back to claude-opus-4, which cannot answer: {clause}."
    assert sentence in messages_of(page)
    assert sentence in operator.get(reverse("admin:index")).content.decode()


def test_a_fallback_that_can_answer_is_not_warned_of(operator: Client) -> None:
    url = url_of(ServedModel, "change", model_named("gpt-4o").pk)
    assert "cannot answer" not in messages_of(edit(operator, url, rows("claude-opus-4"), follow=True))
    assert "cannot answer" not in operator.get(reverse("admin:index")).content.decode()


def test_switching_off_what_stands_in_for_others_says_so(operator: Client) -> None:
    model, fallback = model_named("gpt-4o"), model_named("claude-opus-4")
    make_fallback(model, fallback)
    sentence = "gpt-4o falls back to claude-opus-4, which cannot answer: it is disabled."
    disable = {"action": "disable", "_selected_action": [fallback.pk]}
    assert sentence in messages_of(operator.post(url_of(ServedModel), disable, follow=True))
    page = edit(operator, url_of(ServedModel, "change", fallback.pk), {"description": "off"}, follow=True)
    assert sentence in messages_of(page)
    disable = {"action": "disable", "_selected_action": [model.pk]}
    assert "cannot answer" not in messages_of(operator.post(url_of(ServedModel), disable, follow=True))


def test_the_start_page_does_not_list_every_useless_fallback(operator: Client) -> None:
    idle = make_model("idle")
    for number in range(9):
        make_fallback(make_deployment(make_model(f"m{number}")).model, idle)
    page = operator.get(reverse("admin:index")).content.decode()
    assert page.count("falls back to idle") == 5
    assert "4 more fallbacks cannot answer" in page


def test_the_list_shows_who_stands_in_without_asking_more(
    operator: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        make_fallback(make_model(f"m{number}"), model_named("claude-opus-4"))
    operator.get(url_of(ServedModel))
    with django_assert_max_num_queries(15):
        page = operator.get(url_of(ServedModel)).content.decode()
    assert page.count("else claude-opus-4") == 20


def test_deleting_a_fallback_names_who_loses_it(operator: Client) -> None:
    model, plain, with_aliases = map(model_named, ("gpt-4.1", "gpt-4.1-mini", "claude-opus-4"))
    make_fallback(model, plain)
    make_fallback(model, with_aliases)
    page = operator.get(url_of(ServedModel, "delete", plain.pk)).content.decode()
    assert "gpt-4.1 → gpt-4.1-mini" in page
    operator.post(url_of(ServedModel, "delete", plain.pk), {"post": "yes"})
    page = operator.get(url_of(ServedModel, "delete", with_aliases.pk)).content.decode()
    assert "No longer falling back to it" in page
    operator.post(url_of(ServedModel, "delete", with_aliases.pk), {"aliases": "delete"})
    assert listed(model) == []
    notes = [
        entry.get_change_message()
        for entry in LogEntry.objects.filter(object_id=str(model.pk)).order_by("id")
    ]
    assert notes == [
        "Changed fallbacks (without gpt-4.1-mini, since deleted).",
        "Changed fallbacks (without claude-opus-4, since deleted).",
    ]


def test_many_models_are_deleted_at_once_with_a_word_to_who_loses_them(operator: Client) -> None:
    model, fallback = model_named("gpt-4.1"), model_named("gpt-4.1-mini")
    make_fallback(model, fallback)
    operator.post(
        url_of(ServedModel), {"action": "delete_selected", "_selected_action": [fallback.pk], "post": "yes"}
    )
    assert not ServedModel.objects.filter(pk=fallback.pk).exists()
    assert "without gpt-4.1-mini" in LogEntry.objects.get(object_id=str(model.pk)).get_change_message()


def test_time_limits_of_a_deployment_are_saved_and_told(operator: Client) -> None:
    model = model_named("gpt-4o")
    url = url_of(ServedModel, "change", model.pk)
    assert edit(operator, url, {"deployments-0-first_token_timeout": "2.5"}).status_code == 302
    assert Deployment.objects.get(model=model).first_token_timeout == 2.5
    assert "First token (empty → 2.5)" in last_log()
    page = edit(operator, url, {"deployments-0-idle_timeout": "0"})
    assert b"greater than or equal to 0.01" in page.content


def test_a_folded_part_opens_where_something_in_it_is_wrong(operator: Client) -> None:
    model, provider = model_named("gpt-4o"), Provider.objects.get(name="openai")
    for url, field in (
        (url_of(ServedModel, "change", model.pk), "deployments-0-idle_timeout"),
        (url_of(Provider, "change", provider.pk), "headers_timeout"),
    ):
        folded = operator.get(url).content.count(b"<details")
        assert edit(operator, url, {field: "0"}).content.count(b"<details") == folded - 1


def login_with(client: Client, *permissions: str) -> None:
    user = User.objects.create_user("limited", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)


def test_whoever_may_change_a_model_may_change_its_fallbacks(client: Client) -> None:
    login_with(client, "view_servedmodel", "change_servedmodel")
    model = model_named("gpt-4o")
    assert edit(client, url_of(ServedModel, "change", model.pk), rows("gpt-4.1")).status_code == 302
    assert listed(model) == ["gpt-4.1"]


def test_whoever_may_only_see_models_sees_them_only(client: Client) -> None:
    login_with(client, "view_servedmodel")
    model = model_named("gpt-4o")
    make_fallback(model, model_named("gpt-4.1"))
    url = url_of(ServedModel, "change", model.pk)
    page = client.get(url)
    assert "gpt-4.1" in page.content.decode()
    assert client.post(url, form_of(page) | rows("gpt-4.1-mini", initial=1)).status_code == 403
    assert listed(model) == ["gpt-4.1"]
