"""Models, with their deployments and aliases."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from routing import lookup, services
from routing.admin.base import RoutingAdmin, TabularInline, badge, badges, cell
from routing.admin.cooldowns import CooldownPages
from routing.admin.deletion import ModelDeletionForm, aliases_of
from routing.admin.deployments import DeploymentInline
from routing.admin.fallbacks import (
    FallbackInline,
    fallbacks_in_force,
    models_that_fall_back_to,
    useless_fallbacks,
)
from routing.admin.model_state import (
    badge_name,
    is_retired,
    retirement_badge,
    retirement_day,
    state_badges,
)
from routing.models import Alias, Deployment, FallbackModel, ServedModel

_SHOWN_WARNINGS = 5


class AliasInline(TabularInline[Alias, ServedModel]):
    model = Alias
    extra = 0
    fields = ("name", "is_listed", "note")
    hide_title = True
    verbose_name_plural = "aliases: other names of this model"


class ProviderFilter(admin.SimpleListFilter):
    title = "provider"
    parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        from routing.models import Provider

        return [(str(pk), name) for pk, name in Provider.objects.values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ServedModel]) -> QuerySet[ServedModel]:
        if not (value := self.value()) or not value.isdecimal():
            return queryset
        return queryset.filter(deployments__provider=int(value)).distinct()


@admin.register(ServedModel)
class ServedModelAdmin(CooldownPages, RoutingAdmin[ServedModel]):
    list_display = ("name_and_description", "served_by", "alias_names", "state")
    list_filter = (ProviderFilter, "is_enabled", "is_listed", "allows_streaming")
    search_fields = (
        "public_id",
        "description",
        "owned_by",
        "aliases__name",
        "deployments__upstream_id",
    )
    search_help_text = "Model id, alias, upstream id, description"
    actions = ("enable", "disable", "list_in_models", "unlist")
    inlines = (DeploymentInline, FallbackInline, AliasInline)
    fieldsets = (
        (None, {"fields": ("public_id", ("description", "owned_by"))}),
        (
            "What clients may do",
            {"fields": ("is_enabled", "is_listed", "allows_streaming", "default_max_output_tokens")},
        ),
        ("Load", {"fields": ("balancing",)}),
        (
            "Limits",
            {
                "classes": ("collapse",),
                "description": "Of all clients together. Keys and teams have limits of their own.",
                "fields": ("requests_per_minute", "tokens_per_minute", "max_concurrent"),
            },
        ),
    )

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        lookup.refresh()  # The state of each row is told from what requests see.
        return super().changelist_view(request, extra_context)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        lookup.refresh()
        return super().changeform_view(request, object_id, form_url, extra_context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServedModel]:
        return (
            super()
            .get_queryset(request)
            .prefetch_related(
                Prefetch("deployments", Deployment.objects.select_related("provider")),
                Prefetch("fallbacks", FallbackModel.objects.select_related("fallback")),
                "aliases",
            )
        )

    @admin.display(description="model", ordering="public_id")
    def name_and_description(self, model: ServedModel) -> SafeString:
        names = format_html(
            '<span class="pb-name">{}</span><span class="pb-sub">{}</span>',
            model.public_id,
            model.description,
        )
        return cell(names)

    @admin.display(description="served by")
    def served_by(self, model: ServedModel) -> SafeString:
        deployments = model.deployments.all()
        lines = format_html_join(
            "",
            '<span class="pb-line{}"><span class="pb-sub-inline">{} /</span> {} {}</span>',
            (
                (
                    "" if deployment.is_enabled else " pb-off",
                    deployment.provider.name,
                    deployment.upstream_id,
                    retirement_badge(deployment),
                )
                for deployment in deployments
            ),
        )
        if not deployments:
            lines = badge("no deployment", "danger", "Nobody serves this model. Add a deployment.")
        names = ", ".join(row.fallback.public_id for row in model.fallbacks.all())
        return cell(format_html('{}<span class="pb-sub">else {}</span>', lines, names) if names else lines)

    @admin.display(description="aliases")
    def alias_names(self, model: ServedModel) -> str | SafeString:
        names = [alias.name for alias in model.aliases.all()]
        return badges(badge_name(name) for name in names) if names else "–"

    @admin.display(description="state")
    def state(self, model: ServedModel) -> SafeString:
        return badges(state_badges(model))

    @admin.action(description="Enable", permissions=("change",))
    def enable(self, request: HttpRequest, queryset: QuerySet[ServedModel]) -> None:
        self._switch(request, queryset, "is_enabled", True, "enabled")

    @admin.action(description="Disable: clients get 404 for them", permissions=("change",))
    def disable(self, request: HttpRequest, queryset: QuerySet[ServedModel]) -> None:
        self._switch(request, queryset, "is_enabled", False, "disabled")

    @admin.action(description="List in GET /models", permissions=("change",))
    def list_in_models(self, request: HttpRequest, queryset: QuerySet[ServedModel]) -> None:
        self._switch(request, queryset, "is_listed", True, "listed")

    @admin.action(description="Hide from GET /models", permissions=("change",))
    def unlist(self, request: HttpRequest, queryset: QuerySet[ServedModel]) -> None:
        self._switch(request, queryset, "is_listed", False, "hidden from the list")

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        self._warn(request, form.instance)
        self._warn_of_fallbacks(request, fallbacks_in_force(model=form.instance))
        self._warn_of_fallbacks(request, fallbacks_in_force(fallback=form.instance))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's page, unless aliases mean the model: then it asks what becomes of them."""
        model = self.get_object(request, object_id)
        aliases = aliases_of(model) if model is not None else []
        if model is None or not aliases:
            return super().delete_view(request, object_id, extra_context)
        can_change_aliases = request.user.has_perm("routing.change_alias") and request.user.has_perm(
            "routing.delete_alias"
        )
        if not self.has_delete_permission(request, model) or not can_change_aliases:
            raise PermissionDenied
        form = ModelDeletionForm(
            request.POST if request.method == "POST" else None, model=model, alias_count=len(aliases)
        )
        if request.method == "POST" and form.is_valid():
            return self._delete_with_aliases(request, model, aliases, form.chosen_target)
        return TemplateResponse(
            request,
            "routing/admin/delete_model.html",
            {
                **self.admin_site.each_context(request),
                "title": f"Delete {model.public_id}?",
                "opts": self.opts,
                "object": model,
                "aliases": aliases,
                "deployments": model.deployments.select_related("provider"),
                "losing": models_that_fall_back_to([model]),
                "form": form,
            },
        )

    def _delete_with_aliases(
        self, request: HttpRequest, model: ServedModel, aliases: list[Alias], target: ServedModel | None
    ) -> HttpResponse:
        name = str(model)
        with transaction.atomic():
            self.log_bulk_deletion(request, [model])
            self._log_lost_fallbacks(request, [model])
            if target is None:
                self.log_bulk_deletion(request, aliases)
            else:
                self.log_bulk_change(request, aliases, f"model ({name} → {target})")
            services.delete_model(model=model, aliases_to=target)
        names = ", ".join(alias.name for alias in aliases)
        fate = f"{names} now means {target}." if target else f"Deleted with it: {names}."
        self.message_user(request, f"{name} is deleted. {fate}", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:routing_servedmodel_changelist"))

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[ServedModel]) -> Any:
        self._log_lost_fallbacks(request, list(queryset))
        return super().log_deletions(request, queryset)

    def _log_lost_fallbacks(self, request: HttpRequest, models: list[ServedModel]) -> None:
        """A line also for those who lose their stand-in."""
        losing = models_that_fall_back_to(models)
        names = ", ".join(str(model) for model in models)
        self.log_bulk_change(request, losing, f"fallbacks (without {names}, since deleted)")

    def _switch(
        self, request: HttpRequest, queryset: QuerySet[ServedModel], field: str, value: bool, word: str
    ) -> None:
        changed = list(queryset.exclude(**{field: value}))
        ServedModel.objects.filter(pk__in=[model.pk for model in changed]).update(**{field: value})
        label = getattr(ServedModel._meta.get_field(field), "verbose_name", field)
        before, after = ("off", "on") if value else ("on", "off")
        self.log_bulk_change(request, changed, f"{label} ({before} → {after})")
        noun = "model is" if len(changed) == 1 else "models are"
        self.message_user(request, f"{len(changed)} {noun} now {word}.", messages.SUCCESS)
        if field == "is_enabled" and not value:
            self._warn_of_fallbacks(request, fallbacks_in_force(fallback__in=changed))

    def _warn(self, request: HttpRequest, model: ServedModel) -> None:
        if not model.is_enabled:
            return
        deployments = list(model.deployments.select_related("provider"))
        if not any(deployment.is_enabled and deployment.provider.is_enabled for deployment in deployments):
            self.message_user(
                request,
                f"Nobody serves {model.public_id} yet: add a deployment, or enable one.",
                messages.WARNING,
            )
        for deployment in deployments:
            if is_retired(deployment):
                day = retirement_day(deployment)
                self.message_user(
                    request,
                    f"{deployment.upstream_id} is retired since {day}: the provider answers 404. "
                    "Set another upstream id.",
                    messages.WARNING,
                )

    def _warn_of_fallbacks(self, request: HttpRequest, rows: QuerySet[FallbackModel]) -> None:
        for sentence in list(useless_fallbacks(rows))[:_SHOWN_WARNINGS]:
            self.message_user(request, sentence, messages.WARNING)
