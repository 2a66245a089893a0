"""What rests in the workers now, put together from what each of them last said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format

from routing.lookup.watcher import STALE_SECONDS
from routing.models import Deployment, Worker

_REASONS: Final[Mapping[str, str]] = {
    "failures": "failed several times in a row",
    "failure_share": "too many of the last calls failed",
    "key_refused": "the provider refuses the key",
    "quota": "the quota is used up",
    "rate_limited": "rate limited",
}
_PROBED: Final = "half_open"


@dataclass(slots=True)
class Rest:
    """A deployment that one key, or the lack of any, keeps from being asked first."""

    credential: str
    reason: str
    failure: str
    until: datetime
    is_probed: bool
    workers: list[str] = field(default_factory=list)

    @property
    def ends(self) -> str:
        """When, in words: nobody counts from an hour alone, nor trusts seconds that stand still."""
        seconds = round((self.until - timezone.now()).total_seconds())
        if self.is_probed or seconds <= 0:
            return "a request tries it now" if self.is_probed else "the next request tries it"
        moment = date_format(timezone.localtime(self.until), "H:i:s")
        return f"until {moment}, for another {_span(seconds)}"


@dataclass(frozen=True, slots=True)
class Resting:
    """A deployment with everything that rests of it."""

    deployment: Deployment
    rests: tuple[Rest, ...]


def read_resting() -> list[Resting]:
    """Every deployment that rests in a worker that is alive, in the order of their models."""
    alive = Worker.objects.filter(seen_at__gte=timezone.now() - timedelta(seconds=STALE_SECONDS))
    found: dict[int, dict[tuple[str, str], Rest]] = {}
    for worker in alive:
        for number, rest in _read(worker.cooldowns):
            rests = found.setdefault(number, {})
            known = rests.setdefault((rest.credential, rest.reason), rest)
            known.until = max(known.until, rest.until)
            known.is_probed = known.is_probed and rest.is_probed
            known.workers.append(str(worker))
    deployments = (
        Deployment.objects.filter(pk__in=found)
        .select_related("model", "provider")
        .order_by("model__public_id", "priority", "pk")
    )
    return [Resting(deployment, tuple(found[deployment.pk].values())) for deployment in deployments]


def _read(cooldowns: Any) -> Iterator[tuple[int, Rest]]:
    """The entries that make sense. A worker of another release may say it differently."""
    for entry in cooldowns if isinstance(cooldowns, Iterable) else ():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("deployment"), int):
            continue
        try:
            until = parse_datetime(str(entry.get("until")))
        except ValueError:
            until = None
        if until is None:
            continue
        reason = str(entry.get("reason") or "")
        yield (
            entry["deployment"],
            Rest(
                credential=str(entry.get("credential") or ""),
                reason=_REASONS.get(reason, reason.replace("_", " ") or "no reason given"),
                failure=str(entry.get("failure") or ""),
                until=until if until.tzinfo is not None else until.replace(tzinfo=UTC),
                is_probed=entry.get("state") == _PROBED,
            ),
        )


def _span(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    if not minutes:
        return f"{seconds} s"
    return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
