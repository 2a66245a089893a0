"""What somebody sees, and the log says, after too many failed logins.

django-axes counts in the database, so that all workers and machines count together. It
counts per user name and address: a stranger cannot lock an operator out from elsewhere.
"""

from __future__ import annotations

import logging
from typing import Any

from axes.signals import user_locked_out
from django.conf import settings
from django.contrib import admin
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

logger = logging.getLogger("patchbay.sign_in")


def is_never_locked(request: HttpRequest, credentials: dict[str, Any] | None) -> bool:
    """Whether this attempt is none with a password: single sign-on has nothing to guess."""
    return credentials is not None and not credentials.get("username")


def read_address(request: HttpRequest) -> str | None:
    """The client's address, as proxy_site/security/proxies.py left it; none where a Unix socket has none."""
    return request.META.get("REMOTE_ADDR") or None


def refuse_login(
    request: HttpRequest, response: HttpResponse | None = None, credentials: dict[str, Any] | None = None
) -> HttpResponse:
    seconds = settings.LOGIN_LOCKOUT
    refusal = render(
        request,
        "security/message.html",
        {
            **admin.site.each_context(request),
            "title": "Too many failed logins",
            "message": (
                f"There were too many failed logins with this user name from your address. "
                f"Logging in is possible again in {_spell_out(seconds)}."
            ),
        },
        status=429,
    )
    refusal["retry-after"] = str(seconds)
    return refusal


def _spell_out(seconds: int) -> str:
    for size, unit in ((3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} second{'s' if seconds != 1 else ''}"


@receiver(user_locked_out, dispatch_uid="patchbay.log_lock_out")
def log_lock_out(username: str | None, ip_address: str | None, **_: Any) -> None:
    logger.warning(
        "a login is locked after too many failures",
        extra={"fields": {"username": username, "address": ip_address, "seconds": settings.LOGIN_LOCKOUT}},
    )
