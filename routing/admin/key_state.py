"""How a key stands, in words: the badges and the cells of its lists."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from routing.admin.base import badge, cell
from routing.models import ApiKey

EXPIRING: Final = timedelta(days=7)


def when(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), "j M Y, H:i")


def state_badges(key: ApiKey, now: datetime) -> list[SafeString]:
    """The reason why it is refused, if it is; else what will happen to it soon."""
    if key.revoked_at is not None:
        return [badge("revoked", "danger", f"Since {when(key.revoked_at)}")]
    if not key.is_enabled:
        return [badge("disabled", "danger", "Refused until it is enabled")]
    if key.team is not None and not key.team.is_enabled:
        return [badge("team disabled", "danger", f"Refused until {key.team} is enabled")]
    if key.expires_at is not None and key.expires_at <= now:
        return [badge("expired", "danger", f"Since {when(key.expires_at)}")]
    found: list[SafeString] = []
    if key.expires_at is not None and key.expires_at - now <= EXPIRING:
        found.append(badge(f"expires in {timesince(now, key.expires_at)}", "warning", when(key.expires_at)))
    else:
        found.append(badge("active", "success", _end(key)))
    if key.previous_valid_until is not None and key.previous_valid_until > now:
        text = f"The secret before works until {when(key.previous_valid_until)}"
        found.append(badge("in grace", "info", text))
    if key.owner is not None and not key.owner.is_active:
        found.append(badge("owner inactive", "warning", f"{key.owner} can no longer log in; the key works"))
    return found


def _end(key: ApiKey) -> str:
    return f"Expires {when(key.expires_at)}" if key.expires_at is not None else "Never expires"


STATES: Final = (
    ("active", "Active"),
    ("expiring", "Expiring soon"),
    ("expired", "Expired"),
    ("grace", "In grace"),
    ("disabled", "Disabled"),
    ("revoked", "Revoked"),
    ("unused", "Never used"),
)


def in_state(keys: QuerySet[ApiKey], state: str, now: datetime) -> QuerySet[ApiKey]:
    alive = Q(revoked_at=None)
    works = alive & Q(is_enabled=True) & (Q(team=None) | Q(team__is_enabled=True))
    unexpired = Q(expires_at=None) | Q(expires_at__gt=now)
    conditions = {
        "active": works & unexpired,
        "expiring": works & Q(expires_at__gt=now, expires_at__lte=now + EXPIRING),
        "expired": alive & Q(expires_at__lte=now),
        "grace": works & unexpired & Q(previous_valid_until__gt=now),
        "disabled": alive & (Q(is_enabled=False) | Q(team__is_enabled=False)),
        "revoked": ~alive,
        "unused": works & unexpired & Q(use=None),
    }
    return keys.filter(conditions[state]) if state in conditions else keys


def last_used(key: ApiKey, now: datetime) -> str | SafeString:
    use = getattr(key, "use", None)
    if use is None:
        return "never"
    moment: datetime = use.last_used_at
    text = "just now" if now - moment < timedelta(minutes=2) else f"{timesince(moment, now, depth=1)} ago"
    return format_html('<span title="{}">{}</span>', when(moment), text)


def limits(row: Any) -> str:
    parts = (
        (row.requests_per_minute, "requests/min"),
        (row.tokens_per_minute, "tokens/min"),
        (row.max_concurrent, "at once"),
    )
    return ", ".join(f"{count:,} {word}" for count, word in parts if count is not None) or "–"


def name_cell(key: ApiKey) -> SafeString:
    return cell(
        format_html('<code class="pb-code">{}…</code><span class="pb-sub">{}</span>', key.prefix, key.note)
    )
