"""To the identity provider and back."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import logout
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from mozilla_django_oidc.views import OIDCAuthenticationCallbackView, OIDCAuthenticationRequestView

from proxy_site.security.single_sign_on.claims import Refused
from proxy_site.security.single_sign_on.provider import ProviderTrouble, configured_provider

logger = logging.getLogger("patchbay.sign_in")

_BROKEN_OFF = "The sign-in was not completed. Please try again."


@method_decorator(never_cache, name="dispatch")
class Start(OIDCAuthenticationRequestView):  # type: ignore[misc]
    """Sends the browser to the identity provider, with state, nonce and a PKCE challenge."""

    def __init__(self, **options: Any) -> None:
        # Not the parent's, which reads an address from the settings.
        super(OIDCAuthenticationRequestView, self).__init__(**options)
        self.OIDC_RP_CLIENT_ID = settings.OIDC_CLIENT_ID

    @property
    def OIDC_OP_AUTH_ENDPOINT(self) -> str:
        return configured_provider().endpoints().authorization

    def get(self, request: HttpRequest) -> HttpResponseBase:
        try:
            answer: HttpResponseBase = super().get(request)
            return answer
        except ProviderTrouble as trouble:
            return _say_away(request, trouble)


@method_decorator(never_cache, name="dispatch")
class Finish(OIDCAuthenticationCallbackView):  # type: ignore[misc]
    """Where the identity provider sends the browser back to."""

    def get(self, request: HttpRequest) -> HttpResponseBase:
        try:
            answer: HttpResponseBase = super().get(request)
            return answer
        except Refused as refusal:
            logger.warning("a sign-in was refused", extra={"fields": {"reason": str(refusal)}})
            if request.user.is_authenticated:
                logout(request)
            return _say(request, "You cannot sign in here", str(refusal), 403)
        except ProviderTrouble as trouble:
            return _say_away(request, trouble)
        except SuspiciousOperation:
            # A state that this browser was not given: an old tab, or somebody else's link.
            return _say(request, "Sign-in not completed", _BROKEN_OFF, 400)

    def login_failure(self) -> HttpResponse:
        """The provider says no, the person called it off, or this browser has sent no one there."""
        return _say(self.request, "Sign-in not completed", _BROKEN_OFF, 400)


def _say(request: HttpRequest, title: str, message: str, status: int) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": title, "message": message}
    return render(request, "security/message.html", context, status=status)


def _say_away(request: HttpRequest, trouble: ProviderTrouble) -> HttpResponse:
    logger.error("single sign-on does not work", extra={"fields": {"reason": str(trouble)}})
    return _say(
        request,
        "The sign-in service cannot be used",
        "The sign-in service does not answer as it should. Please try again in a moment.",
        502,
    )
