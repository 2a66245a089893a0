"""Client API keys: issued here, shown once, rotated and revoked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache

from routing import services
from routing.admin import key_secrets
from routing.admin.base import RoutingAdmin, badge, badges
from routing.admin.key_forms import ApiKeyForm, RotationForm
from routing.admin.key_state import STATES, in_state, last_used, limits, name_cell, state_badges, when
from routing.admin.model_state import badge_name
from routing.domain.keys import is_ours, prefix_of
from routing.domain.secrets import Secret
from routing.models import ApiKey

if TYPE_CHECKING:
    Method = TypeVar("Method", bound=Callable[..., Any])

    def button(**options: Any) -> Callable[[Method], Method]: ...
else:
    from unfold.decorators import action as button


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(STATES)

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        return in_state(queryset, self.value() or "", timezone.now())


@admin.register(ApiKey)
class ApiKeyAdmin(RoutingAdmin[ApiKey]):
    form = ApiKeyForm
    list_display = ("key", "owner", "team", "models", "limits", "state", "last_used")
    list_filter = (
        StateFilter,
        ("team", admin.RelatedOnlyFieldListFilter),
        ("owner", admin.RelatedOnlyFieldListFilter),
    )
    list_select_related = ("owner", "team", "use")
    search_fields = ("prefix", "note", "owner__username", "owner__email", "team__name")
    search_help_text = "Start of the key, owner, team, note"
    autocomplete_fields = ("owner", "team", "allowed_models")
    actions = ("rotate_chosen", "revoke_chosen", "enable", "disable")
    actions_detail = ("rotate", "revoke")
    readonly_fields = ("summary", "last_used", "secret_set_at", "created_at")

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        facts = () if obj is None else (("summary", "last_used"), ("secret_set_at", "created_at"))
        return (
            (None, {"fields": (*facts, ("owner", "team"), "note")}),
            ("What it may use", {"fields": ("is_restricted", "allowed_models")}),
            ("How long", {"fields": ("expires_at", "is_enabled")}),
            (
                "Limits",
                {
                    "description": "Of this key. Those of its team and of the model hold too.",
                    "fields": ("requests_per_minute", "tokens_per_minute", "max_concurrent"),
                },
            ),
        )

    def get_urls(self) -> list[Any]:
        pages = (
            ("secret/", self.secret_view, "secret"),
            ("rotate/", self.rotate_view, "rotate_many"),
            ("revoke/", self.revoke_view, "revoke_many"),
        )
        ours = [
            path(route, self.admin_site.admin_view(view), name=f"routing_apikey_{name}")
            for route, view, name in pages
        ]
        return ours + super().get_urls()

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return super().get_queryset(request).prefetch_related("allowed_models")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        # Whoever pastes a whole secret finds its key.
        term = prefix_of(search_term.strip()) if is_ours(search_term.strip()) else search_term
        return super().get_search_results(request, queryset, term)

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """A revoked key is history: nobody changes it."""
        # The theme asks for its buttons with an id in place of the row.
        is_revoked = isinstance(obj, ApiKey) and obj.revoked_at is not None
        return super().has_change_permission(request, obj) and not is_revoked

    @admin.display(description="key", ordering="prefix")
    def key(self, key: ApiKey) -> SafeString:
        return name_cell(key)

    @admin.display(description="models")
    def models(self, key: ApiKey) -> str | SafeString:
        names = sorted(model.public_id for model in key.allowed_models.all())
        if not names:
            return badge("none", "danger", "Its models were deleted") if key.is_restricted else "all"
        shown = ", ".join(names[:2])
        return shown if len(names) <= 2 else f"{shown} and {len(names) - 2} more"

    @admin.display(description="limits")
    def limits(self, key: ApiKey) -> str:
        return limits(key)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> SafeString:
        return badges(state_badges(key, timezone.now()))

    @admin.display(description="key")
    def summary(self, key: ApiKey) -> SafeString:
        return badges([badge_name(str(key)), *state_badges(key, timezone.now())])

    @admin.display(description="last used", ordering="use__last_used_at")
    def last_used(self, key: ApiKey) -> str | SafeString:
        return last_used(key, timezone.now())

    # Issuing.

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if not change:
            request.fresh_secret = Secret(services.issue_secret(obj))  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        try:
            return super().add_view(request, form_url, extra_context)
        except services.PepperError as problem:
            self.message_user(request, str(problem), messages.ERROR)
            return HttpResponseRedirect(reverse("admin:routing_apikey_changelist"))

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: Any = None) -> HttpResponse:
        return self._show(request, [(obj.pk, request.fresh_secret)])  # type: ignore[attr-defined]

    def _show(self, request: HttpRequest, fresh: list[tuple[int, Secret]]) -> HttpResponse:
        response = HttpResponseRedirect(reverse("admin:routing_apikey_secret"))
        key_secrets.hand_over(request, response, fresh)
        return response

    @property
    def secret_view(self) -> Callable[..., HttpResponse]:
        return never_cache(self._secret_page)

    def _secret_page(self, request: HttpRequest) -> HttpResponse:
        """Shows what was issued a moment ago, once."""
        fresh = key_secrets.take(request)
        keys = list(self.get_queryset(request).filter(pk__in=fresh).order_by("pk"))
        if not keys or not self.has_view_permission(request):
            self.message_user(request, "A secret is shown once, right after it was made.", messages.WARNING)
            return HttpResponseRedirect(reverse("admin:routing_apikey_changelist"))
        response = TemplateResponse(
            request,
            "routing/admin/key_secret.html",
            self._context(request)
            | {
                "title": "The new key" if len(keys) == 1 else "The new keys",
                "keys": [{"key": key, "secret": fresh[key.pk].reveal()} for key in keys],
                "base_url": request.build_absolute_uri("/api/v1"),
            },
        )
        key_secrets.discard(response)
        return response

    # Rotating and revoking: one page each, for one key as for many.

    @button(description="Rotate", url_path="rotate", permissions=("change",), icon="autorenew")
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return _page("rotate_many", [object_id])

    @button(description="Revoke", url_path="revoke", permissions=("change",), icon="block")
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return _page("revoke_many", [object_id])

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        key = self.get_object(request, str(object_id))
        if key is None or not self.has_change_permission(request, key):
            return []
        found: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        return found

    @admin.action(description="Rotate: give them new secrets", permissions=("change",))
    def rotate_chosen(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        return self._confirm(request, queryset, "rotate_many", at_most=key_secrets.AT_ONCE)

    @admin.action(description="Revoke, for good", permissions=("change",))
    def revoke_chosen(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        return self._confirm(request, queryset, "revoke_many", at_most=500)

    @admin.action(description="Enable", permissions=("change",))
    def enable(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        self._switch(request, queryset, True)

    @admin.action(description="Disable: refused until enabled again", permissions=("change",))
    def disable(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        self._switch(request, queryset, False)

    def rotate_view(self, request: HttpRequest) -> HttpResponse:
        keys = self._chosen(request, at_most=key_secrets.AT_ONCE)
        form = RotationForm(request.POST if request.method == "POST" else None)
        if keys and request.method == "POST" and form.is_valid():
            return self._rotate(request, keys, form)
        return self._ask(request, keys, "Rotate", {"form": form}, "key_rotate.html")

    def revoke_view(self, request: HttpRequest) -> HttpResponse:
        keys = self._chosen(request, at_most=500)
        if keys and request.method == "POST":
            with transaction.atomic():
                revoked = [key for key in keys if services.revoke_key(key=key)]
                self.log_bulk_change(request, revoked, "revoked")
            noun = "key is" if len(revoked) == 1 else "keys are"
            self.message_user(request, f"{len(revoked)} {noun} revoked.", messages.SUCCESS)
            return HttpResponseRedirect(reverse("admin:routing_apikey_changelist"))
        return self._ask(request, keys, "Revoke", {}, "key_revoke.html")

    def _rotate(self, request: HttpRequest, keys: list[ApiKey], form: RotationForm) -> HttpResponse:
        grace = form.chosen_grace
        until = f"works until {when(timezone.now() + grace)}" if grace else "ended"
        try:
            with transaction.atomic():
                fresh = [(key.pk, Secret(services.rotate_key(key=key, grace=grace))) for key in keys]
                renamed = ApiKey.objects.filter(pk__in=[key.pk for key in keys])
                self.log_bulk_change(request, renamed, f"secret (replaced, the one before {until})")
        except (services.PepperError, ValueError) as problem:
            self.message_user(request, str(problem), messages.ERROR)
            return HttpResponseRedirect(reverse("admin:routing_apikey_changelist"))
        return self._show(request, fresh)

    def _ask(
        self, request: HttpRequest, keys: list[ApiKey], verb: str, more: dict[str, Any], template: str
    ) -> HttpResponse:
        if not keys:
            self.message_user(request, "None of these keys can be changed any more.", messages.WARNING)
            return HttpResponseRedirect(reverse("admin:routing_apikey_changelist"))
        what = str(keys[0]) if len(keys) == 1 else f"{len(keys)} keys"
        context = self._context(request) | {"title": f"{verb} {what}?", "keys": keys, "what": what} | more
        return TemplateResponse(request, f"routing/admin/{template}", context)

    def _chosen(self, request: HttpRequest, *, at_most: int) -> list[ApiKey]:
        """The keys that the page was called for, without revoked ones."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        ids = [int(text) for text in request.GET.get("ids", "").split(",") if text.isdecimal()][:at_most]
        return list(self.get_queryset(request).filter(pk__in=ids, revoked_at=None).order_by("pk"))

    def _confirm(
        self, request: HttpRequest, queryset: QuerySet[ApiKey], name: str, *, at_most: int
    ) -> HttpResponse | None:
        ids = list(queryset.filter(revoked_at=None).values_list("pk", flat=True)[: at_most + 1])
        if len(ids) > at_most:
            self.message_user(request, f"Choose at most {at_most} keys at once.", messages.WARNING)
            return None
        return _page(name, ids)

    def _switch(self, request: HttpRequest, queryset: QuerySet[ApiKey], value: bool) -> None:
        changed = list(queryset.filter(revoked_at=None).exclude(is_enabled=value))
        ApiKey.objects.filter(pk__in=[key.pk for key in changed]).update(is_enabled=value)
        self.log_bulk_change(request, changed, "enabled (off → on)" if value else "enabled (on → off)")
        noun = "key is" if len(changed) == 1 else "keys are"
        self.message_user(
            request, f"{len(changed)} {noun} now {'enabled' if value else 'disabled'}.", messages.SUCCESS
        )

    def _context(self, request: HttpRequest) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "opts": self.opts}


def _page(name: str, ids: list[Any]) -> HttpResponse:
    return HttpResponseRedirect(
        reverse(f"admin:routing_apikey_{name}") + "?ids=" + ",".join(str(key_id) for key_id in ids)
    )
