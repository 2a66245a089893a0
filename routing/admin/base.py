"""What all admin pages here share: the theme's classes, badges, and a history with values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from django import forms
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.db.models import Model
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from routing.admin.wording import describe_changes

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin as ThemedModelAdmin
    from django.contrib.admin import StackedInline as StackedInline
    from django.contrib.admin import TabularInline as TabularInline

    RadioWidget, SelectWidget = forms.RadioSelect, forms.Select
else:
    from unfold.admin import ModelAdmin, StackedInline, TabularInline
    from unfold.widgets import UnfoldAdminRadioSelectWidget, UnfoldAdminSelectWidget

    RadioWidget, SelectWidget = UnfoldAdminRadioSelectWidget, UnfoldAdminSelectWidget

    # Subscripting is the type checker's business alone.
    for _themed in (ModelAdmin, StackedInline, TabularInline):
        _themed.__class_getitem__ = classmethod(lambda cls, _: cls)
    ThemedModelAdmin = ModelAdmin

AnyModel = TypeVar("AnyModel", bound=Model)


def badge(text: str, tone: str = "", title: str = "") -> SafeString:
    """A small label. Tones: info, success, warning, danger, or none."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": tone, "label_title": title})


def badges(items: Iterable[SafeString]) -> SafeString:
    return cell(format_html_join("", '<span class="pb-badges-item">{}</span>', ((item,) for item in items)))


def cell(content: SafeString) -> SafeString:
    """One piece of content for a list's cell: on a phone, the theme lays out each child by itself."""
    return format_html('<span class="pb-cell">{}</span>', content)


class FoldedRows(tuple[str | tuple[str, ...], ...]):
    """The fields of a folded fieldset. It opens by itself where one of them has an error.

    Django asks whether the field is “in” the rows, and a field that shares its row is not.
    """

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return any(name == row if isinstance(row, str) else name in row for row in self)


class RoutingAdmin(ThemedModelAdmin[AnyModel]):
    """Logs what a field was and what it is now, also from lists and actions."""

    list_per_page = 50
    list_filter_sheet = False
    list_fullwidth = True
    warn_unsaved_form = True

    def construct_change_message(
        self, request: HttpRequest, form: forms.Form, formsets: Iterable[Any] | None, add: bool = False
    ) -> list[dict[str, Any]]:
        return describe_changes(form, formsets, add=add)

    def log_bulk_change(self, request: HttpRequest, rows: Iterable[Any], message: str) -> None:
        """One line of the history for each of `rows`, whatever model they are of."""
        _log(request, rows, CHANGE, [{"changed": {"fields": [message]}}])

    def log_bulk_deletion(self, request: HttpRequest, rows: Iterable[Any]) -> None:
        """To be called before they are gone."""
        _log(request, rows, DELETION, [])


def _log(request: HttpRequest, rows: Iterable[Any], flag: int, message: list[Any]) -> None:
    found = list(rows)
    if found:
        LogEntry.objects.log_actions(
            user_id=request.user.pk or 0, queryset=found, action_flag=flag, change_message=message
        )
