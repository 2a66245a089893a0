"""How the admin looks: django-unfold's settings. The pages' content lives in routing/admin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def environment_badge(request: HttpRequest) -> list[str]:
    """Says beside the title which installation this is: the page looks the same everywhere."""
    return ["Production", "danger"] if settings.IS_PRODUCTION else ["Development", "info"]


def _may(permission: str) -> Callable[[HttpRequest], bool]:
    return lambda request: bool(request.user.has_perm(permission))


def _page(title: str, icon: str, name: str, permission: str = "") -> dict[str, Any]:
    item: dict[str, Any] = {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{name}")}
    if permission:
        item["permission"] = _may(permission)
    return item


def _list(title: str, icon: str, app: str, model: str) -> dict[str, Any]:
    return _page(title, icon, f"{app}_{model}_changelist", f"{app}.view_{model}")


def _is_about_models(request: HttpRequest) -> bool:
    """The theme goes by how an address begins, and the cooldowns' begins like that of the models."""
    name = request.resolver_match.url_name if request.resolver_match else ""
    return (name or "").startswith("routing_servedmodel_") and name != "routing_servedmodel_cooldowns"


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Patchbay",
    "SITE_HEADER": "Patchbay",
    "SITE_SUBHEADER": "OpenAI-compatible proxy",
    "SITE_URL": reverse_lazy("admin:index"),
    "SITE_SYMBOL": "cable",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("routing/favicon.svg")}
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "6px",
    "ENVIRONMENT": "proxy_site.admin_theme.environment_badge",
    "DASHBOARD_CALLBACK": "routing.admin.start_page.fill",
    "ACCOUNT": {"navigation": "proxy_site.security.account_menu.links"},
    "STYLES": [lambda request: static("routing/admin.css")],
    # Teal, away from the vendors' own colours.
    "COLORS": {
        "primary": {
            "50": "oklch(98.4% .014 180.72)",
            "100": "oklch(95.3% .051 180.801)",
            "200": "oklch(91% .096 180.426)",
            "300": "oklch(85.5% .138 181.071)",
            "400": "oklch(77.7% .152 181.912)",
            "500": "oklch(70.4% .14 182.503)",
            "600": "oklch(55% .11 184.704)",
            "700": "oklch(49% .096 186.391)",
            "800": "oklch(43.7% .078 188.216)",
            "900": "oklch(38.6% .063 188.416)",
            "950": "oklch(27.7% .046 192.524)",
        },
    },
    "COMMAND": {
        "search_models": ["routing.servedmodel", "routing.alias", "routing.provider", "routing.apikey"]
    },
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [_page("Overview", "space_dashboard", "index")],
            },
            {
                "title": "Routing",
                "items": [
                    _list("Models", "neurology", "routing", "servedmodel") | {"active": _is_about_models},
                    _list("Aliases", "alt_route", "routing", "alias"),
                    _list("Providers", "dns", "routing", "provider"),
                    _page("Cooldowns", "ac_unit", "routing_servedmodel_cooldowns", "routing.view_deployment"),
                ],
            },
            {
                "title": "Access",
                "items": [
                    _list("API keys", "key", "routing", "apikey"),
                    _list("Teams", "groups", "routing", "team"),
                ],
            },
            {
                "title": "Administration",
                "items": [
                    _list("History", "history", "admin", "logentry"),
                    _list("Users", "person", "auth", "user"),
                    _list("Groups", "group", "auth", "group"),
                ],
            },
        ],
    },
}
