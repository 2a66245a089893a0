"""Aliases: what each name means, edited right in the list."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from routing.admin.base import RoutingAdmin, SelectWidget
from routing.models import Alias, ServedModel


@admin.register(Alias)
class AliasAdmin(RoutingAdmin[Alias]):
    list_display = ("name", "model", "is_listed", "note")
    list_editable = ("model", "is_listed", "note")
    list_filter = ("is_listed", ("model", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("model",)
    search_fields = ("name", "note", "model__public_id")
    search_help_text = "Alias, note, model id"
    autocomplete_fields = ("model",)
    actions = ("list_in_models", "unlist")
    fields = ("name", "model", "is_listed", "note")

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> type[forms.ModelForm[Alias]]:
        """The list's form, with the models read once and not once a row."""
        base: type[forms.ModelForm[Alias]] = super().get_changelist_form(request, **kwargs)
        choices = list(ServedModel.objects.order_by("public_id").values_list("pk", "public_id"))

        class AliasRowForm(base):  # type: ignore[misc, valid-type]
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                if "model" in self.fields:
                    self.fields["model"].choices = choices

        return AliasRowForm

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if self._is_list(request) and db_field.name == "model":
            kwargs["widget"] = SelectWidget()
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name == "model" and self._is_list(request):
            # The list is for choosing; adding and changing models has a page of its own.
            field.widget = field.widget.widget
        return field

    @admin.action(description="List in GET /models", permissions=("change",))
    def list_in_models(self, request: HttpRequest, queryset: QuerySet[Alias]) -> None:
        self._switch(request, queryset, True)

    @admin.action(description="Hide from GET /models", permissions=("change",))
    def unlist(self, request: HttpRequest, queryset: QuerySet[Alias]) -> None:
        self._switch(request, queryset, False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Alias], value: bool) -> None:
        changed = list(queryset.exclude(is_listed=value))
        Alias.objects.filter(pk__in=[alias.pk for alias in changed]).update(is_listed=value)
        self.log_bulk_change(request, changed, "listed (off → on)" if value else "listed (on → off)")
        noun = "alias is" if len(changed) == 1 else "aliases are"
        word = "in GET /models" if value else "hidden from GET /models"
        self.message_user(request, f"{len(changed)} {noun} now {word}.", messages.SUCCESS)

    def _is_list(self, request: HttpRequest) -> bool:
        match = request.resolver_match
        return match is not None and match.url_name == "routing_alias_changelist"
