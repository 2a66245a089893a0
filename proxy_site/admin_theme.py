"""How the admin looks: django-unfold's settings. The pages' content lives in routing/admin."""

from __future__ import annotations

from typing import Any

from django.urls import reverse_lazy

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Patchbay",
    "SITE_HEADER": "Patchbay",
    "SITE_SUBHEADER": "OpenAI-compatible proxy",
    "SITE_URL": reverse_lazy("admin:index"),
    "SITE_SYMBOL": "cable",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
}
