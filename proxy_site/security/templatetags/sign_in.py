"""What the login page offers beside the password."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django import template
from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.urls import reverse

register = template.Library()


@register.simple_tag(takes_context=True)
def single_sign_on(context: dict[str, Any]) -> dict[str, str] | None:
    """Label and address of the way through the identity provider, or nothing where there is none."""
    if not settings.OIDC_ISSUER:
        return None
    address = reverse("single_sign_on_start")
    if wanted := context.get(REDIRECT_FIELD_NAME) or context["request"].GET.get(REDIRECT_FIELD_NAME):
        address += "?" + urlencode({REDIRECT_FIELD_NAME: wanted})
    return {"label": settings.OIDC_LABEL, "url": address}
