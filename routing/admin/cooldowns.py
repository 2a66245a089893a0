"""The page of cooldowns: what rests, why and until when, with a button to end it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from routing import services
from routing.admin.resting import read_resting
from routing.models import Deployment

if TYPE_CHECKING:
    from routing.admin.base import RoutingAdmin
    from routing.models import ServedModel

    Base = RoutingAdmin[ServedModel]
else:
    Base = object


class CooldownPages(Base):
    """Two pages of the models' admin."""

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        return [
            path("cooldowns/", wrap(self.cooldowns_view), name="routing_servedmodel_cooldowns"),
            path(
                "cooldowns/<int:pk>/end/",
                wrap(self.end_cooldown_view),
                name="routing_servedmodel_end_cooldown",
            ),
            *super().get_urls(),
        ]

    def cooldowns_view(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm("routing.view_deployment"):
            raise PermissionDenied
        return TemplateResponse(
            request,
            "routing/admin/cooldowns.html",
            {
                **self.admin_site.each_context(request),
                "title": "Cooldowns",
                "content_title": "Cooldowns",
                "model_admin": self,
                "resting": read_resting(),
                "ended": request.GET.get("ended", ""),
                "may_end": request.user.has_perm("routing.change_deployment"),
            },
        )

    def end_cooldown_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not request.user.has_perm("routing.change_deployment"):
            raise PermissionDenied
        page = reverse("admin:routing_servedmodel_cooldowns")
        deployment = Deployment.objects.select_related("model", "provider").filter(pk=pk).first()
        if deployment is None:
            self.message_user(
                request, "This deployment was deleted, and its cooldowns with it.", messages.WARNING
            )
            return HttpResponseRedirect(page)
        with transaction.atomic():
            services.end_cooldowns(deployment=deployment)
            self.log_bulk_change(request, [deployment.model], f"cooldowns of {deployment} (ended)")
        self.message_user(
            request,
            f"{deployment} is asked again from now on: every worker hears of it within a second or two.",
            messages.SUCCESS,
        )
        return HttpResponseRedirect(f"{page}?ended={deployment.pk}")
