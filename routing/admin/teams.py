"""Teams: what their keys share."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from routing.admin.base import RoutingAdmin, TabularInline, badge, badges
from routing.admin.key_state import last_used, limits, name_cell, state_badges
from routing.models import ApiKey, Team


class KeyInline(TabularInline[ApiKey, Team]):
    """To look at. Keys are issued and changed on their own pages."""

    model = ApiKey
    extra = 0
    fields = readonly_fields = ("key", "owner", "state", "last_used")
    hide_title = True
    show_change_link = True
    verbose_name_plural = "keys of this team"
    per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return super().get_queryset(request).select_related("owner", "team", "use")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="key")
    def key(self, key: ApiKey) -> SafeString:
        return name_cell(key)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> SafeString:
        return badges(state_badges(key, timezone.now()))

    @admin.display(description="last used")
    def last_used(self, key: ApiKey) -> str | SafeString:
        return last_used(key, timezone.now())


@admin.register(Team)
class TeamAdmin(RoutingAdmin[Team]):
    list_display = ("name", "note", "limits", "key_count", "state")
    list_filter = ("is_enabled",)
    search_fields = ("name", "note")
    actions = ("enable", "disable")
    inlines = (KeyInline,)
    fieldsets = (
        (None, {"fields": ("name", "note", "is_enabled")}),
        (
            "Limits",
            {
                "description": "Of all its keys together. Each key may have limits of its own.",
                "fields": ("requests_per_minute", "tokens_per_minute", "max_concurrent"),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        return (
            super()
            .get_queryset(request)
            .annotate(keys_alive=Count("keys", filter=Q(keys__revoked_at=None), distinct=True))
        )

    @admin.display(description="limits")
    def limits(self, team: Team) -> str:
        return limits(team)

    @admin.display(description="keys", ordering="keys_alive")
    def key_count(self, team: Team) -> str | SafeString:
        count: int = team.keys_alive  # type: ignore[attr-defined]
        url = reverse("admin:routing_apikey_changelist")
        return format_html('<a href="{}?team__id__exact={}">{}</a>', url, team.pk, count)

    @admin.display(description="state", ordering="is_enabled")
    def state(self, team: Team) -> SafeString:
        if team.is_enabled:
            return badge("enabled", "success")
        return badge("disabled", "danger", "Every key of it is refused")

    @admin.action(description="Enable", permissions=("change",))
    def enable(self, request: HttpRequest, queryset: QuerySet[Team]) -> None:
        self._switch(request, queryset, True)

    @admin.action(description="Disable: all their keys are refused", permissions=("change",))
    def disable(self, request: HttpRequest, queryset: QuerySet[Team]) -> None:
        self._switch(request, queryset, False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Team], value: bool) -> None:
        changed = list(queryset.exclude(is_enabled=value))
        Team.objects.filter(pk__in=[team.pk for team in changed]).update(is_enabled=value)
        self.log_bulk_change(request, changed, "enabled (off → on)" if value else "enabled (on → off)")
        noun = "team is" if len(changed) == 1 else "teams are"
        self.message_user(
            request, f"{len(changed)} {noun} now {'enabled' if value else 'disabled'}.", messages.SUCCESS
        )
