"""Which models stand in for a model: an ordered list on its page, and what is said about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from routing.admin.base import TabularInline, badge
from routing.admin.model_state import find_trouble, trouble_badge
from routing.models import Deployment, FallbackModel, ServedModel


class FallbackForm(forms.ModelForm):  # type: ignore[type-arg]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "position" in self.fields:
            self.fields["position"].required = False
            if self.instance.pk is None:
                self.initial["position"] = None

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not any(cleaned.get(name) for name in ("on_failure", "on_context_overflow", "on_refusal")):
            self.add_error(None, "Tick at least one occasion, or delete the row.")
        return cleaned


class FallbackFormSet(BaseInlineFormSet):  # type: ignore[type-arg]
    """A row without a number comes last."""

    def clean(self) -> None:
        super().clean()
        kept = [
            form
            for form in self.forms
            if form.instance.fallback_id and not self._should_delete_form(form)  # type: ignore[attr-defined]
        ]
        numbers = [form.instance.position for form in kept if form.instance.position is not None]
        last = max(numbers, default=0)
        for form in kept:
            if form.instance.position is None:
                last += 1
                form.instance.position = last


class FallbackInline(TabularInline[FallbackModel, ServedModel]):
    """Part of the model: who may change that may change this, without a permission of its own."""

    model = FallbackModel
    form = FallbackForm
    formset = FallbackFormSet
    fk_name = "model"
    extra = 0
    fields = ("fallback", "on_failure", "on_context_overflow", "on_refusal", "position", "state")
    readonly_fields = ("state",)
    autocomplete_fields = ("fallback",)
    ordering_field = "position"
    hide_title = True
    verbose_name_plural = "fallbacks: models that stand in for it"

    def get_queryset(self, request: HttpRequest) -> QuerySet[FallbackModel]:
        return super().get_queryset(request).prefetch_related(Prefetch("fallback", with_deployments()))

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name == "fallback":
            # The list is for choosing; adding and changing models has a page of its own.
            field.widget = field.widget.widget
        return field

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("routing.view_servedmodel") or self._may_change(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_change(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_change(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_change(request)

    @admin.display(description="state")
    def state(self, row: FallbackModel) -> SafeString:
        if row.pk is None:
            return SafeString("–")
        trouble = find_trouble(row.fallback)
        return trouble_badge(trouble) if trouble is not None else badge("ready", "success")

    def _may_change(self, request: HttpRequest) -> bool:
        # A new model's page is for those who may add models.
        match = request.resolver_match
        is_new = match is not None and match.url_name == "routing_servedmodel_add"
        return request.user.has_perm(f"routing.{'add' if is_new else 'change'}_servedmodel")


def with_deployments() -> QuerySet[ServedModel]:
    """Models, ready to be asked for their trouble."""
    return ServedModel.objects.prefetch_related(
        Prefetch("deployments", Deployment.objects.select_related("provider"))
    )


def useless_fallbacks(rows: Iterable[FallbackModel]) -> Iterator[str]:
    """A sentence about each fallback that could not answer now."""
    for row in rows:
        trouble = find_trouble(row.fallback)
        if trouble is not None:
            yield f"{row.model} falls back to {row.fallback}, which cannot answer: {trouble.clause}."


def fallbacks_in_force(**condition: Any) -> QuerySet[FallbackModel]:
    """The fallbacks of models that are enabled, with what `useless_fallbacks` asks for."""
    rows = FallbackModel.objects.filter(model__is_enabled=True, **condition).select_related("model")
    return rows.prefetch_related(Prefetch("fallback", with_deployments()))


def models_that_fall_back_to(models: Iterable[ServedModel]) -> list[ServedModel]:
    """Who loses a stand-in when `models` go."""
    going = [model.pk for model in models]
    return list(ServedModel.objects.filter(fallbacks__fallback__in=going).exclude(pk__in=going).distinct())
