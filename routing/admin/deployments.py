"""Where a model is served: its deployments, as part of its page."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from routing.admin.base import FoldedRows, StackedInline, badge
from routing.admin.model_state import has_key, retirement_badge
from routing.admin.resting import read_resting
from routing.models import Deployment, ServedModel


class DeploymentInline(StackedInline[Deployment, ServedModel]):
    model = Deployment
    extra = 0
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("provider", "upstream_id"),
                    ("priority", "weight"),
                    ("is_enabled", "is_strict"),
                    "state",
                ),
            },
        ),
        (
            "Time limits and capabilities",
            {
                "classes": ("collapse",),
                "fields": FoldedRows(
                    (
                        ("connect_timeout", "headers_timeout"),
                        ("first_token_timeout", "idle_timeout"),
                        "total_timeout",
                        "capabilities",
                    )
                ),
            },
        ),
    )
    readonly_fields = ("state",)
    verbose_name_plural = "deployments: where this model is served"

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name == "capabilities":
            field.widget.attrs["rows"] = 3
        elif field is not None and db_field.name.endswith("_timeout"):
            field.help_text += " In seconds; empty: as the provider says."
        return field

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        # Once for all rows: Django makes an inline anew for each request.
        self._resting = {resting.deployment.pk: resting for resting in read_resting()} if obj else {}
        return super().get_formset(request, obj, **kwargs)

    @admin.display(description="state")
    def state(self, deployment: Deployment) -> SafeString:
        if deployment.pk is None:
            return format_html("{}", "Not saved yet")
        if not deployment.is_enabled:
            return badge("disabled")
        if not deployment.provider.is_enabled:
            return badge("provider disabled", "danger")
        if not has_key(deployment.provider_id):
            return badge("no key", "warning", "Its provider has no key")
        if warning := retirement_badge(deployment):
            return warning
        resting = self._resting.get(deployment.pk)
        if resting is None:
            return badge("ready", "success")
        return format_html(
            '{} <a class="pb-link" href="{}">{}</a>',
            badge("resting", "warning"),
            reverse("admin:routing_servedmodel_cooldowns"),
            "; ".join(dict.fromkeys(rest.reason for rest in resting.rests)),
        )
