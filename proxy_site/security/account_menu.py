"""The links under a person's name."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse


def links(request: HttpRequest) -> list[dict[str, Any]]:
    user = request.user
    if not user.is_authenticated:
        return []
    found = [{"title": "Second factor", "link": reverse("second_factor")}]
    if user.has_usable_password():
        found.insert(0, {"title": "Change password", "link": reverse("admin:password_change")})
    return found
