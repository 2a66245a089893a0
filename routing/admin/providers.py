"""Providers, with their keys and extra headers."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from routing import lookup, services
from routing.admin.base import FoldedRows, RoutingAdmin, StackedInline, TabularInline, badge
from routing.admin.deletion import ProviderDeletionForm, models_served_by
from routing.admin.provider_forms import CredentialForm, HeaderForm
from routing.domain.kinds import KINDS
from routing.domain.table import ProviderRow
from routing.lookup.sources import UnusableSecret, read_header, read_key
from routing.models import Credential, Deployment, Provider, ProviderHeader


class CredentialInline(StackedInline[Credential, Provider]):
    model = Credential
    form = CredentialForm
    extra = 0
    fields = (("label", "is_enabled"), ("key", "reference"), "state")
    readonly_fields = ("state",)
    verbose_name_plural = "provider keys"

    @admin.display(description="state")
    def state(self, credential: Credential) -> SafeString:
        if credential.pk is None:
            return format_html("{}", "Not saved yet")
        try:
            read_key(encrypted=credential.encrypted_secret, reference=credential.reference)
        except UnusableSecret as problem:
            reason = f"It {problem}."
            return format_html('{} <span class="pb-wrap">{}</span>', badge("unusable", "danger"), reason)
        if credential.reference:
            return format_html("{} {}", badge("found", "success"), f"read from {credential.reference}")
        return format_html("{} {}", badge("stored", "success"), f"encrypted, {_set_on(credential)}")


class HeaderInline(TabularInline[ProviderHeader, Provider]):
    model = ProviderHeader
    form = HeaderForm
    extra = 0
    fields = ("name", "value", "secret_value", "state")
    hide_title = True
    readonly_fields = ("state",)

    @admin.display(description="state")
    def state(self, header: ProviderHeader) -> SafeString:
        if header.pk is None:
            return SafeString("–")
        try:
            read_header(encrypted=header.encrypted_value, value=header.value)
        except UnusableSecret as problem:
            return badge("unusable", "danger", f"It {problem}.")
        return badge("secret" if header.is_secret else "in use", "success")


@admin.register(Provider)
class ProviderAdmin(RoutingAdmin[Provider]):
    list_display = ("name", "kind", "address", "keys", "model_count", "is_enabled")
    list_filter = ("kind", "is_enabled")
    search_fields = ("name", "base_url")
    actions = ("enable", "disable")
    inlines = (CredentialInline, HeaderInline)
    compressed_fields = True
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "kind"),
                    "base_url",
                    ("is_enabled", "requires_key"),
                    ("uses_environment", "allows_private_network"),
                )
            },
        ),
        (
            "Timeouts",
            {
                "classes": ("collapse",),
                "description": "In seconds. Empty: the setting UPSTREAM_…_TIMEOUT.",
                "fields": FoldedRows(
                    (
                        ("connect_timeout", "headers_timeout"),
                        ("first_token_timeout", "idle_timeout"),
                        "total_timeout",
                    )
                ),
            },
        ),
        (
            "Oddities",
            {
                "classes": ("collapse",),
                "description": "For servers that speak OpenAI's format with exceptions. "
                "Empty: what is usual for the kind.",
                "fields": FoldedRows(
                    (
                        ("token_param", "developer_role"),
                        ("sends_stream_options", "strips_extensions"),
                    )
                ),
            },
        ),
    )

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        lookup.refresh()
        return super().changelist_view(request, extra_context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        return (
            super().get_queryset(request).annotate(models_served=Count("deployments__model", distinct=True))
        )

    @admin.display(description="address")
    def address(self, provider: Provider) -> str:
        row = find_row(provider.pk)
        return (row.base_url if row is not None else None) or "the kind's own"

    @admin.display(description="keys")
    def keys(self, provider: Provider) -> SafeString:
        row = find_row(provider.pk)
        return key_badge(row) if row is not None else SafeString("–")

    @admin.display(description="models", ordering="models_served")
    def model_count(self, provider: Provider) -> SafeString:
        url = reverse("admin:routing_servedmodel_changelist")
        count: int = provider.models_served  # type: ignore[attr-defined]
        return format_html('<a href="{}?provider={}">{}</a>', url, provider.pk, count)

    @admin.action(description="Enable", permissions=("change",))
    def enable(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        self._switch(request, queryset, True)

    @admin.action(description="Disable: their deployments are skipped", permissions=("change",))
    def disable(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        self._switch(request, queryset, False)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's page, unless models are served there: then it says which, and asks."""
        provider = self.get_object(request, object_id)
        elsewhere, nowhere = models_served_by(provider) if provider is not None else ([], [])
        if provider is None or not (elsewhere or nowhere):
            return super().delete_view(request, object_id, extra_context)
        if not self.has_delete_permission(request, provider) or not request.user.has_perm(
            "routing.delete_deployment"
        ):
            raise PermissionDenied
        form = ProviderDeletionForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            name = str(provider)
            with transaction.atomic():
                self.log_bulk_deletion(request, Deployment.objects.filter(provider=provider))
                self.log_bulk_deletion(request, [provider])
                services.delete_provider(provider=provider)
            self.message_user(request, f"{name} is deleted, with its keys and deployments.", messages.SUCCESS)
            return HttpResponseRedirect(reverse("admin:routing_provider_changelist"))
        return TemplateResponse(
            request,
            "routing/admin/delete_provider.html",
            {
                **self.admin_site.each_context(request),
                "title": f"Delete {provider.name}?",
                "opts": self.opts,
                "object": provider,
                "elsewhere": elsewhere,
                "nowhere": nowhere,
                "key_count": provider.credentials.count(),
                "form": form,
            },
        )

    def _switch(self, request: HttpRequest, queryset: QuerySet[Provider], value: bool) -> None:
        changed = list(queryset.exclude(is_enabled=value))
        Provider.objects.filter(pk__in=[provider.pk for provider in changed]).update(is_enabled=value)
        self.log_bulk_change(request, changed, "enabled (off → on)" if value else "enabled (on → off)")
        noun = "provider is" if len(changed) == 1 else "providers are"
        self.message_user(
            request, f"{len(changed)} {noun} now {'enabled' if value else 'disabled'}.", messages.SUCCESS
        )


def find_row(provider_id: int) -> ProviderRow | None:
    """The provider as requests see it."""
    return next((row for row in lookup.current().providers if row.id == provider_id), None)


def key_badge(row: ProviderRow) -> SafeString:
    count = len(row.credentials)
    if count:
        labels = ", ".join(credential.label for credential in row.credentials)
        return badge("1 key" if count == 1 else f"{count} keys", "success", labels)
    if not row.requires_key:
        return badge("no key needed", "info")
    return badge("no key", "warning", how_to_configure(row))


def how_to_configure(row: ProviderRow) -> str:
    """What to do about a provider without a key, as a sentence."""
    kind = KINDS.get(row.kind)
    variable = kind.key_variable if kind is not None else None
    if variable is None:
        return "Add a provider key on its page."
    env_file = settings.BASE_DIR / ".env"
    return (
        f"Set {variable} in the environment or in {env_file} and restart, or add a provider key on its page."
    )


def _set_on(credential: Credential) -> str:
    moment = credential.secret_set_at
    return f"set on {date_format(timezone.localtime(moment), 'j F Y, H:i')}" if moment else "set once"
