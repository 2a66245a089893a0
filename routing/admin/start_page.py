"""What the start page shows: what needs attention first, then the state of things."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Prefetch, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from routing import crypto, lookup
from routing.access import current_access
from routing.admin.base import badge
from routing.admin.fallbacks import fallbacks_in_force, useless_fallbacks
from routing.admin.model_state import retirement_day
from routing.admin.providers import how_to_configure, key_badge
from routing.admin.resting import read_resting
from routing.domain.access import AccessMode
from routing.domain.kinds import KINDS
from routing.domain.retirements import Retirement, judge_retirement
from routing.domain.table import RoutingTable
from routing.lookup.watcher import HEARTBEAT_SECONDS, STALE_SECONDS
from routing.models import Alias, ApiKey, ConfigVersion, Deployment, Provider, ServedModel, Team, Worker
from routing.models.triggers import missing_triggers

_SHOWN_CHANGES = 8
_SHOWN_NAMES = 5
_PREFERRED_MODELS = ("gpt-4o-mini", "claude-sonnet-4")


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to do. `tone`: danger (requests fail) or warning."""

    tone: str
    text: str
    url: str = ""
    link: str = ""


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The theme's dashboard callback. Shows each part only to those who may see its rows."""
    table = lookup.refresh()
    may = request.user.has_perm
    if may("routing.view_servedmodel"):
        context["models"] = _count_models()
        context["try_it"] = _try_it(request, table)
        context["access"] = _access()
    if may("routing.view_alias"):
        context["alias_count"] = Alias.objects.count()
    if may("routing.view_provider"):
        context["provider_cards"] = _providers(table)
        context["config"] = ConfigVersion.objects.filter(pk=1).first()
        context["workers"] = workers = _workers(table.version)
        context["all_current"] = all(worker["version"] == table.version for worker in workers)
        context["notices"] = list(_notices(table))
    context["changes"] = _changes(request)
    return context


def _count_models() -> dict[str, int]:
    return {
        "enabled": ServedModel.objects.filter(is_enabled=True).count(),
        "total": ServedModel.objects.count(),
        "listed": ServedModel.objects.filter(is_enabled=True, is_listed=True).count(),
    }


def _providers(table: RoutingTable) -> list[dict[str, Any]]:
    cards: list[dict[str, Any]] = []
    for row in table.providers:
        kind = KINDS.get(row.kind)
        cards.append(
            {
                "name": row.name,
                "kind": kind.label if kind is not None else "built in",
                "address": row.base_url,
                "badge": key_badge(row) if row.is_enabled else badge("disabled"),
                "remedy": "" if row.is_configured or not row.is_enabled else how_to_configure(row),
                "url": reverse("admin:routing_provider_change", args=(row.id,)) if kind is not None else "",
            }
        )
    return cards


def _workers(version: int) -> list[dict[str, Any]]:
    now = timezone.now()
    alive = Worker.objects.filter(seen_at__gte=now - timedelta(seconds=STALE_SECONDS))
    return [
        {
            "name": str(worker),
            "version": worker.version,
            "badge": _worker_badge(worker, version, now),
            "started_at": worker.started_at,
            "age": max(0, round((now - worker.seen_at).total_seconds())),
        }
        for worker in alive
    ]


def _worker_badge(worker: Worker, version: int, now: datetime) -> SafeString:
    if now - worker.seen_at > timedelta(seconds=3 * HEARTBEAT_SECONDS):
        return badge("silent", "warning", "It stopped without leave, or its database connection is lost")
    return badge(f"version {worker.version}", "success" if worker.version == version else "warning")


def _notices(table: RoutingTable) -> Iterator[Notice]:
    if problem := crypto.problem_with_keys():
        yield Notice("warning", problem)
    if missing_triggers("default"):
        yield Notice(
            "danger",
            "Database triggers are missing: changes may go unnoticed. Run `python manage.py migrate`.",
        )
    providers_url = reverse("admin:routing_provider_changelist")
    for problem in table.problems:
        yield Notice("danger", problem, providers_url, "Providers")
    if names := [str(resting.deployment) for resting in read_resting()]:
        verb = "rests" if len(names) == 1 else "rest"
        url = reverse("admin:routing_servedmodel_cooldowns")
        text = f"{_join(_first(names))} {verb} after trouble upstream."
        yield Notice("warning", text, url, "Cooldowns")
    yield from _model_notices(timezone.localdate())


def _model_notices(today: date) -> Iterator[Notice]:
    deployments = Deployment.objects.select_related("provider")
    models = ServedModel.objects.filter(is_enabled=True).prefetch_related(
        Prefetch("deployments", deployments)
    )
    retired: dict[str, list[str]] = {}
    soon: dict[tuple[str, date], list[str]] = {}
    for model in models:
        usable = [row for row in model.deployments.all() if row.is_enabled and row.provider.is_enabled]
        if not usable:
            url = reverse("admin:routing_servedmodel_change", args=(model.pk,))
            yield Notice("danger", f"Nobody serves {model.public_id}.", url, "Add a deployment")
        for row in usable:
            day = retirement_day(row)
            match judge_retirement(day, today):
                case Retirement.RETIRED:
                    retired.setdefault(row.upstream_id, []).append(model.public_id)
                case Retirement.SOON if day is not None:
                    soon.setdefault((row.upstream_id, day), []).append(model.public_id)
    list_url = reverse("admin:routing_servedmodel_changelist")
    if retired:
        names = _join(name for names in retired.values() for name in names)
        text = f"The provider no longer serves the upstream ids of {names}: requests get 404."
        yield Notice("warning", text, list_url, "Models")
    for (upstream_id, day), users in soon.items():
        days = (day - today).days
        when = "tomorrow" if days == 1 else f"in {days} days"
        text = f"{upstream_id} retires on {day}, {when}. Used by {_join(users)}."
        yield Notice("warning", text, list_url, "Models")
    useless = list(useless_fallbacks(fallbacks_in_force()))
    for sentence in useless[:_SHOWN_NAMES]:
        yield Notice("warning", sentence, list_url, "Models")
    if len(useless) > _SHOWN_NAMES:
        text = f"{len(useless) - _SHOWN_NAMES} more fallbacks cannot answer."
        yield Notice("warning", text, list_url, "Models")


def _first(names: list[str]) -> list[str]:
    more = len(names) - _SHOWN_NAMES
    return names if more <= 0 else [*names[:_SHOWN_NAMES], f"{more} more"]


def _join(names: Iterable[str]) -> str:
    return ", ".join(names)


def _changes(request: HttpRequest) -> list[LogEntry]:
    """The last changes of what the user may see, and their own."""
    visible = [
        content_type.pk
        for model in (Alias, ApiKey, ServedModel, Deployment, Provider, Team)
        if request.user.has_perm(f"routing.view_{model._meta.model_name}")
        for content_type in (ContentType.objects.get_for_model(model),)
    ]
    entries = LogEntry.objects.select_related("user", "content_type").order_by("-action_time")
    if not request.user.has_perm("admin.view_logentry"):
        entries = entries.filter(Q(content_type__in=visible) | Q(user=request.user.pk))
    return list(entries[:_SHOWN_CHANGES])


def _token() -> str:
    is_open = current_access().mode is AccessMode.ANY_BEARER
    return "any-token" if is_open else "sk-pb-…"


def _access() -> dict[str, str]:
    """Who may use the API, in a few words for the start page."""
    access = current_access()
    if access.mode is AccessMode.ISSUED_KEYS:
        return {"mode": "Issued keys only", "note": "A request needs an API key that you issue."}
    if access.is_local_only:
        return {
            "mode": "Any token, on this machine",
            "note": "Requests from elsewhere, or through a proxy, need an API key that you issue.",
        }
    return {"mode": "Any token", "note": "ACCESS_MODE=any_bearer: whoever reaches the port may use it."}


def _try_it(request: HttpRequest, table: RoutingTable) -> dict[str, str]:
    """A request that works now: with a model whose provider is configured, the demo model otherwise."""
    usable = [
        model.public_id
        for model in table.models
        if model.is_enabled
        and any(
            deployment.is_enabled and deployment.provider.is_enabled and deployment.provider.is_configured
            for deployment in model.deployments
        )
    ]
    preferred = [name for name in _PREFERRED_MODELS if name in usable]
    chosen = (preferred or usable or [table.models[0].public_id if table.models else "gpt-4o-mini"])[0]
    base_url = request.build_absolute_uri("/api/v1")
    command = (
        f"curl {base_url}/chat/completions \\\n"
        f'  -H "Authorization: Bearer {_token()}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"""  -d '{{"model": "{chosen}",\n"""
        """       "messages": [{"role": "user", "content": "Hello!"}]}'"""
    )
    return {"base_url": base_url, "command": command, "model": chosen}
