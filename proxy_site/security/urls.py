"""The pages of the admin's door. They stand before the admin's own catch-all."""

from __future__ import annotations

from django.conf import settings
from django.urls import URLPattern, path

from proxy_site.security.second_factor.views import CheckCode, SecondFactor

urlpatterns: list[URLPattern] = [
    path("second-factor/", SecondFactor.as_view(), name="second_factor"),
    path("second-factor/check/", CheckCode.as_view(), name="second_factor_check"),
]

if settings.OIDC_ISSUER:
    from proxy_site.security.single_sign_on.views import Finish, Start

    urlpatterns += [
        path("sign-in/", Start.as_view(), name="single_sign_on_start"),
        path("sign-in/done/", Finish.as_view(), name="single_sign_on_finish"),
    ]
