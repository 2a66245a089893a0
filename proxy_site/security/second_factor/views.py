"""The pages of the second factor: giving a code, setting it up, new backup codes, taking it away."""

from __future__ import annotations

import logging
from typing import Any

import segno
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import mark_safe
from django.views import View
from django.views.decorators.cache import never_cache
from django_otp import login as remember_device
from unfold.widgets import UnfoldAdminTextInputWidget

from proxy_site.security.second_factor import devices
from proxy_site.security.second_factor.gate import came_by_single_sign_on

logger = logging.getLogger("patchbay.sign_in")

_WRONG = "This code is not right. Codes change every 30 seconds, and each is taken once."
_SLOWED = "There were wrong codes before. Wait a few seconds, then enter a new one."


class CodeForm(forms.Form):
    code = forms.CharField(
        label="Code",
        max_length=20,
        widget=UnfoldAdminTextInputWidget(
            attrs={
                "autocomplete": "one-time-code",
                "spellcheck": "false",
                # Not `autofocus`: the theme hides the page until Alpine has run, too late for that.
                "x-init": "$nextTick(() => $el.focus())",
            }
        ),
    )


@method_decorator(never_cache, name="dispatch")
class CheckCode(View):
    """Asks for the code after the password."""

    http_method_names = ["get", "post"]

    def dispatch(self, request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return HttpResponseRedirect(reverse("admin:login"))
        user: Any = request.user
        if user.is_verified() or devices.find_authenticator(user) is None:
            return HttpResponseRedirect(_target(request))
        answer = super().dispatch(request, *arguments, **named)
        assert isinstance(answer, HttpResponse)
        return answer

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._show(request, CodeForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = CodeForm(request.POST)
        if form.is_valid():
            is_slowed = devices.is_slowed_down(request.user)  # type: ignore[arg-type]
            device = devices.verify(request.user, form.cleaned_data["code"])  # type: ignore[arg-type]
            if device is not None:
                # A session id from before the code must not be worth more after it.
                request.session.cycle_key()
                remember_device(request, device)
                return HttpResponseRedirect(_target(request))
            logger.warning(
                "a second factor was refused",
                extra={
                    "fields": {
                        "username": request.user.get_username(),
                        "address": request.META.get("REMOTE_ADDR"),
                    }
                },
            )
            form.add_error("code", _SLOWED if is_slowed else _WRONG)
        return self._show(request, form)

    def _show(self, request: HttpRequest, form: CodeForm) -> HttpResponse:
        context = {
            **admin.site.each_context(request),
            "title": "Second factor",
            "form": form,
            "next": _target(request),
        }
        return render(request, "security/second_factor_check.html", context)


@method_decorator(never_cache, name="dispatch")
class SecondFactor(View):
    """A person's own second factor."""

    http_method_names = ["get", "post"]

    def dispatch(self, request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponse:
        if not admin.site.has_permission(request):
            return HttpResponseRedirect(reverse("admin:login"))
        answer = super().dispatch(request, *arguments, **named)
        assert isinstance(answer, HttpResponse)
        return answer

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._show(request)

    def post(self, request: HttpRequest) -> HttpResponse:
        action = request.POST.get("action", "")
        user: Any = request.user
        if came_by_single_sign_on(request):
            return self._show(request)
        if devices.find_authenticator(user) is None:
            return self._confirm(request) if action == "confirm" else self._show(request)
        # From here on the gate has seen to it that the code was given in this session.
        if action == "renew":
            codes = devices.renew_backup_codes(user)
            # They take the place of the device that this session may have been opened with.
            remember_device(request, devices.find_authenticator(user))
            return self._show(request, codes=codes)
        if action == "remove" and not settings.REQUIRE_SECOND_FACTOR:
            devices.remove(user)
            logger.warning(
                "a second factor was taken away", extra={"fields": {"username": user.get_username()}}
            )
            messages.success(request, "The second factor is off. Your password alone lets you in.")
        return HttpResponseRedirect(reverse("second_factor"))

    def _confirm(self, request: HttpRequest) -> HttpResponse:
        form = CodeForm(request.POST)
        if form.is_valid():
            confirmed = devices.confirm(request.user, form.cleaned_data["code"])  # type: ignore[arg-type]
            if confirmed is not None:
                device, codes = confirmed
                request.session.cycle_key()
                remember_device(request, device)
                return self._show(request, codes=codes)
            form.add_error("code", _SLOWED if devices.is_slowed_down(request.user) else _WRONG)  # type: ignore[arg-type]
        return self._show(request, form=form)

    def _show(
        self, request: HttpRequest, *, form: CodeForm | None = None, codes: list[str] | None = None
    ) -> HttpResponse:
        user: Any = request.user
        context: dict[str, Any] = {
            **admin.site.each_context(request),
            "title": "Second factor",
            "codes": codes,
            "is_elsewhere": came_by_single_sign_on(request),
            "is_required": settings.REQUIRE_SECOND_FACTOR,
            "authenticator": devices.find_authenticator(user),
            "codes_left": devices.count_backup_codes(user),
        }
        if context["authenticator"] is None and not context["is_elsewhere"]:
            device = devices.begin(user)
            context |= {
                "form": form or CodeForm(),
                "qr_code": _draw(device.config_url),
                "key": _grouped(device.config_url),
            }
        return render(request, "security/second_factor.html", context)


def _log(event: str, request: HttpRequest) -> None:
    fields = {"username": request.user.get_username(), "address": request.META.get("REMOTE_ADDR")}
    logger.warning(event, extra={"fields": fields})


def _draw(address: str) -> str:
    """A QR code as SVG, black on white whatever the page's colours: cameras want it so."""
    drawn = segno.make(address, error="m").svg_inline(
        scale=4, border=4, light="#fff", title="QR code for the authenticator app", omitsize=False
    )
    return mark_safe(drawn)


def _grouped(address: str) -> str:
    secret = address.partition("secret=")[2].partition("&")[0]
    return " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))


def _target(request: HttpRequest) -> str:
    wanted = request.POST.get(REDIRECT_FIELD_NAME) or request.GET.get(REDIRECT_FIELD_NAME) or ""
    if url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return wanted
    return reverse("admin:index")
