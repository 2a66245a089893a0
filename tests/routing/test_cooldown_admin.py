"""What rests in the workers, and the button that ends it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from routing.models import Deployment, ServedModel, Worker
from tests.routing.test_admin import last_log, messages_of, operator, url_of

__all__ = ["operator"]

pytestmark = pytest.mark.django_db

PAGE = "admin:routing_servedmodel_cooldowns"


def deployment_of(public_id: str) -> Deployment:
    return Deployment.objects.get(model__public_id=public_id)


def entry(public_id: str, seconds: float = 30, **fields: Any) -> dict[str, Any]:
    """One line as a worker writes it."""
    return {
        "deployment": deployment_of(public_id).pk,
        "credential": "red",
        "reason": "rate_limited",
        "failure": "upstream_rate_limited",
        "state": "open",
        "until": (timezone.now() + timedelta(seconds=seconds)).isoformat(timespec="seconds"),
    } | fields


def make_worker(*cooldowns: Any, pid: int = 1, seen_ago: float = 0) -> None:
    now = timezone.now()
    seen_at = now - timedelta(seconds=seen_ago)
    Worker.objects.create(
        hostname="box", pid=pid, started_at=now, version=1, seen_at=seen_at, cooldowns=list(cooldowns)
    )


def text_of(client: Client, url: str) -> str:
    page = client.get(url)
    assert page.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.content.decode()))


def test_what_rests_is_shown_with_key_reason_end_and_workers(operator: Client) -> None:
    make_worker(entry("gpt-4o", 90), pid=1)
    make_worker(entry("gpt-4o", 20), entry("claude-opus-4", reason="failures", credential=None), pid=2)
    text = text_of(operator, reverse(PAGE))
    assert text.index("anthropic / claude-opus-4-5") < text.index("openai / gpt-4o")
    assert "Rate limited, with the key “red”" in text
    assert "Failed several times in a row" in text
    assert "for another 1 min" in text, "the longest of several"
    assert "Workers box:1, box:2" in text
    assert "upstream_rate_limited" in text


def test_a_rest_that_is_over_or_being_probed_says_so(operator: Client) -> None:
    make_worker(entry("gpt-4o", -5), entry("gpt-4.1", -5, state="half_open"))
    text = text_of(operator, reverse(PAGE))
    assert "The next request tries it" in text
    assert "A request tries it now" in text


def test_what_a_dead_worker_said_does_not_count(operator: Client) -> None:
    make_worker(entry("gpt-4o"), seen_ago=300)
    assert "Nothing rests" in text_of(operator, reverse(PAGE))


@pytest.mark.parametrize(
    "cooldowns",
    [
        [1, None, "x", []],
        [{}],
        [{"deployment": "7", "until": "x"}],
        [{"deployment": 7, "until": "2026-99-99T00:00:00Z"}],
        [{"deployment": 999_999, "until": "2026-01-01T00:00:00"}],
    ],
)
def test_lines_that_make_no_sense_are_passed_over(operator: Client, cooldowns: list[Any]) -> None:
    make_worker(*cooldowns)
    assert "Nothing rests" in text_of(operator, reverse(PAGE))
    assert operator.get(reverse("admin:index")).status_code == 200


def test_names_of_keys_are_text_and_no_markup(operator: Client) -> None:
    make_worker(entry("gpt-4o", credential="<script>alert(1)</script>", failure="<b>"))
    page = operator.get(reverse(PAGE)).content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_the_start_page_and_the_model_say_that_something_rests(operator: Client, settings: Any) -> None:
    settings.OPENAI_API_KEY = "sk-live-never-show-0123456789"
    deployment = deployment_of("gpt-4o")
    start, model = reverse("admin:index"), url_of(ServedModel, "change", deployment.model_id)
    assert "after trouble upstream" not in text_of(operator, start)
    assert "resting" not in text_of(operator, model)
    make_worker(entry("gpt-4o"))
    assert "openai/gpt-4o rests after trouble upstream" in text_of(operator, start)
    assert re.search(r"resting\s+rate limited", text_of(operator, model))


def test_the_button_ends_it_and_is_remembered(operator: Client) -> None:
    make_worker(entry("gpt-4o"))
    deployment = deployment_of("gpt-4o")
    url = reverse("admin:routing_servedmodel_end_cooldown", args=(deployment.pk,))
    page = operator.post(url, follow=True)
    assert "openai/gpt-4o is asked again" in messages_of(page)
    assert "Ending…" in page.content.decode()
    deployment.refresh_from_db()
    assert deployment.cooldown_resets == 1
    assert last_log() == "Changed cooldowns of openai/gpt-4o (ended)."
    assert "cooldowns of openai/gpt-4o (ended)" in text_of(
        operator, url_of(ServedModel, "history", deployment.model_id)
    )


def test_the_button_is_a_post_and_survives_a_deployment_that_is_gone(operator: Client) -> None:
    url = reverse("admin:routing_servedmodel_end_cooldown", args=(deployment_of("gpt-4o").pk,))
    assert operator.get(url).status_code == 405
    assert deployment_of("gpt-4o").cooldown_resets == 0
    gone = reverse("admin:routing_servedmodel_end_cooldown", args=(999_999,))
    assert "was deleted" in messages_of(operator.post(gone, follow=True))


def test_a_button_of_another_site_does_nothing() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("operator"))
    url = reverse("admin:routing_servedmodel_end_cooldown", args=(deployment_of("gpt-4o").pk,))
    assert client.post(url).status_code == 403
    assert deployment_of("gpt-4o").cooldown_resets == 0


def test_seeing_and_ending_are_two_permissions(client: Client) -> None:
    make_worker(entry("gpt-4o"))
    user = User.objects.create_user("limited", is_staff=True)
    client.force_login(user)
    url = reverse("admin:routing_servedmodel_end_cooldown", args=(deployment_of("gpt-4o").pk,))
    assert client.get(reverse(PAGE)).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_deployment"))
    assert "End cooldown" not in text_of(client, reverse(PAGE))
    assert client.post(url).status_code == 403
    assert deployment_of("gpt-4o").cooldown_resets == 0
    user.user_permissions.add(Permission.objects.get(codename="change_deployment"))
    assert "End cooldown" in text_of(client, reverse(PAGE))
    assert client.post(url).status_code == 302
    assert deployment_of("gpt-4o").cooldown_resets == 1
