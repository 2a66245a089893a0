"""Whether a model can answer, and if not, why: as a badge, and as part of a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from routing import lookup
from routing.admin.base import badge
from routing.domain.retirements import Retirement, find_retirement, judge_retirement
from routing.models import Deployment, ServedModel


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why requests for a model fail. `clause` goes on after “which cannot answer: ”."""

    word: str
    tone: str
    title: str
    clause: str


DISABLED: Final = Trouble("disabled", "danger", "Clients get 404", "it is disabled")
NOT_SERVED: Final = Trouble(
    "not served",
    "danger",
    "No deployment of an enabled provider",
    "it has no deployment of an enabled provider",
)
NO_KEY: Final = Trouble(
    "no key", "warning", "Its provider has no key: requests get 503", "its provider has no key"
)
RETIRED: Final = Trouble(
    "fails",
    "danger",
    "The provider no longer serves the upstream id: requests get 404",
    "its provider no longer serves the upstream id",
)


def find_trouble(model: ServedModel) -> Trouble | None:
    """What keeps `model` from answering. Reads its deployments with their providers."""
    if not model.is_enabled:
        return DISABLED
    usable = [row for row in model.deployments.all() if row.is_enabled and row.provider.is_enabled]
    if not usable:
        return NOT_SERVED
    if not any(has_key(row.provider_id) for row in usable):
        return NO_KEY
    if all(is_retired(row) for row in usable):
        return RETIRED
    return None


def state_badges(model: ServedModel) -> list[SafeString]:
    trouble = find_trouble(model)
    if trouble is DISABLED:
        return [trouble_badge(trouble)]
    found = [trouble_badge(trouble) if trouble is not None else badge("ready", "success")]
    if not model.is_listed:
        found.append(badge("hidden", "", "Not in GET /models"))
    if not model.allows_streaming:
        found.append(badge("no streaming", "", "“stream”: true gets an error"))
    return found


def trouble_badge(trouble: Trouble) -> SafeString:
    return badge(trouble.word, trouble.tone, trouble.title)


def has_key(provider_id: int) -> bool:
    """As requests see it: also a key of the environment counts."""
    providers = lookup.current().providers
    return any(provider.id == provider_id and provider.is_configured for provider in providers)


def retirement_day(deployment: Deployment) -> date | None:
    """The day on which its upstream id retires: the operator's word goes before ours."""
    if "retired_on" in deployment.capabilities:
        value = deployment.capabilities["retired_on"]
        return date.fromisoformat(value) if value else None
    return find_retirement(deployment.upstream_id)


def is_retired(deployment: Deployment) -> bool:
    return judge_retirement(retirement_day(deployment), timezone.localdate()) is Retirement.RETIRED


def retirement_badge(deployment: Deployment) -> SafeString:
    day = retirement_day(deployment)
    match judge_retirement(day, timezone.localdate()):
        case Retirement.RETIRED:
            return badge("retired", "danger", f"The provider stopped serving this on {day}")
        case Retirement.SOON:
            return badge(f"retires {day}", "warning", f"The provider stops serving this on {day}")
    return SafeString("")


def badge_name(name: str) -> SafeString:
    return format_html('<code class="pb-code">{}</code>', name)
