"""Who changed what: the admin's log as a page of its own. Read only, for everyone."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import ADDITION, DELETION, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from routing.admin.base import RoutingAdmin, badge


@admin.register(LogEntry)
class LogEntryAdmin(RoutingAdmin[LogEntry]):
    list_display = ("action_time", "who", "what", "object_link", "details")
    list_display_links = None
    list_filter = ("action_flag", "content_type", "user")
    list_select_related = ("user", "content_type")
    search_fields = ("object_repr", "change_message", "user__username")
    date_hierarchy = None
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[LogEntry]:
        return super().get_queryset(request).order_by("-action_time")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="who", ordering="user")
    def who(self, entry: LogEntry) -> str:
        return str(entry.user)

    @admin.display(description="what")
    def what(self, entry: LogEntry) -> SafeString:
        return action_badge(entry)

    @admin.display(description="where")
    def object_link(self, entry: LogEntry) -> str | SafeString:
        kind = str(getattr(entry.content_type, "name", "row"))
        url = entry.get_admin_url()
        if entry.action_flag == DELETION or url is None:
            return f"{kind} {entry.object_repr}"
        return format_html('{} <a href="{}">{}</a>', kind, url, entry.object_repr)

    @admin.display(description="details")
    def details(self, entry: LogEntry) -> SafeString:
        return format_html('<span class="pb-wrap">{}</span>', entry.get_change_message())


def action_badge(entry: LogEntry) -> SafeString:
    if entry.action_flag == ADDITION:
        return badge("added", "success")
    if entry.action_flag == DELETION:
        return badge("deleted", "danger")
    return badge("changed", "info")
