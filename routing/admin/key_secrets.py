"""Carries fresh secrets from the request that made them to the one page that shows them.

They travel in a cookie of the operator's own browser, encrypted, for two minutes: no
table, session, message or URL ever holds one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from routing import crypto
from routing.domain.secrets import Secret

COOKIE: Final = "patchbay_fresh_secrets"
SECONDS: Final = 120
# A cookie holds 4 KB.
AT_ONCE: Final = 25
_PURPOSE: Final = "fresh-key-secrets"


def hand_over(request: HttpRequest, response: HttpResponse, fresh: Sequence[tuple[int, Secret]]) -> None:
    """Give `response` the secrets of these key ids, for the page that follows."""
    content = {
        "purpose": _PURPOSE,
        "user": request.user.pk,
        "until": time.time() + SECONDS,
        "secrets": [(key_id, secret.reveal()) for key_id, secret in fresh],
    }
    response.set_cookie(
        COOKIE,
        crypto.encrypt(json.dumps(content)),
        max_age=SECONDS,
        path=reverse("admin:routing_apikey_secret"),
        secure=request.is_secure(),
        httponly=True,
        samesite="Strict",
    )


def take(request: HttpRequest) -> dict[int, Secret]:
    """The secrets that this user was handed a moment ago, by key id. The caller then calls `discard`."""
    stored = request.COOKIES.get(COOKIE, "")
    try:
        content: dict[str, Any] = json.loads(crypto.decrypt(stored)) if stored else {}
    except (crypto.UndecryptableError, crypto.EncryptionKeyError, ValueError):
        return {}
    if (
        content.get("purpose") != _PURPOSE
        or content["user"] != request.user.pk
        or content["until"] < time.time()
    ):
        return {}
    return {key_id: Secret(secret) for key_id, secret in content["secrets"]}


def discard(response: HttpResponse) -> None:
    response.delete_cookie(COOKIE, path=reverse("admin:routing_apikey_secret"), samesite="Strict")
