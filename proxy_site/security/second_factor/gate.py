"""Between password and pages: whoever has a second factor gives it first.

It stands before every page of the admin, so that a new page needs no thought of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from proxy_site.security.second_factor.devices import find_authenticator

SINGLE_SIGN_ON_BACKEND = "proxy_site.security.single_sign_on.backend.SingleSignOnBackend"

_ALWAYS_OPEN = frozenset(
    {
        "admin:login",
        "admin:logout",
        "admin:jsi18n",
        "second_factor_check",
        "single_sign_on_start",
        "single_sign_on_finish",
    }
)


class SecondFactorGate:
    """Sends on to the code page, or to where one is set up if everybody must have one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: object, arguments: object, named: object
    ) -> HttpResponse | None:
        match = request.resolver_match
        name = match.view_name if match is not None else ""
        user: Any = request.user
        if name in _ALWAYS_OPEN or not user.is_authenticated or user.is_verified():
            return None
        if came_by_single_sign_on(request):
            return None
        if find_authenticator(user) is not None:
            return _send(request, "second_factor_check")
        if settings.REQUIRE_SECOND_FACTOR and name != "second_factor":
            return _send(request, "second_factor")
        return None


def came_by_single_sign_on(request: HttpRequest) -> bool:
    return bool(request.session.get(BACKEND_SESSION_KEY) == SINGLE_SIGN_ON_BACKEND)


def _send(request: HttpRequest, name: str) -> HttpResponse:
    address = reverse(name)
    if request.method == "GET":
        address += "?" + urlencode({REDIRECT_FIELD_NAME: request.get_full_path()})
    return HttpResponseRedirect(address)
