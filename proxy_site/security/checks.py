"""Settings of the door that do not fit together, told by `manage.py check` with a hint."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register


@register(Tags.security, deploy=True)
def check_proxies(app_configs: Any, **_: Any) -> list[CheckMessage]:
    if settings.TRUSTED_PROXIES:
        return []
    return [
        Warning(
            "TRUSTED_PROXIES is empty: every request to the admin counts as plain HTTP by whoever connects.",
            hint="Set it to the addresses of the reverse proxies that end TLS in front of this one.",
            id="security.W101",
        )
    ]


@register(Tags.security)
def check_single_sign_on(app_configs: Any, **_: Any) -> list[CheckMessage]:
    if not settings.OIDC_ISSUER:
        return []
    from proxy_site.security.single_sign_on.provider import is_safe_address

    found: list[CheckMessage] = []
    given = {
        name: getattr(settings, name)
        for name in (
            "OIDC_ISSUER",
            "OIDC_AUTHORIZATION_ENDPOINT",
            "OIDC_TOKEN_ENDPOINT",
            "OIDC_USERINFO_ENDPOINT",
            "OIDC_JWKS_ENDPOINT",
        )
    }
    found += [
        Error(
            f"{name} is not an https address.",
            hint="Plain http is taken for this machine only: others on the way could read codes and secrets.",
            id="security.E102",
        )
        for name, value in given.items()
        if value and not is_safe_address(value)
    ]
    if not settings.OIDC_GROUP_MAP:
        found.append(
            Warning(
                "OIDC_GROUP_MAP is empty: single sign-on refuses everybody.",
                hint="Name who gets which group, such as OIDC_GROUP_MAP=patchbay-admins=Owner.",
                id="security.W103",
            )
        )
    return found
