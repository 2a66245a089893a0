"""The access mode of this process: what `domain.access` makes of the settings and of where we listen."""

from __future__ import annotations

import os
from functools import cache
from typing import Final

from django.conf import settings

from routing.domain.access import Access, choose_access, is_loopback_host

BOUND_HOST_VARIABLE: Final = "PATCHBAY_BOUND_HOST"
"""How the launcher tells its workers which address it listens on. Not a setting."""


@cache
def current_access() -> Access:
    return choose_access(
        setting=settings.ACCESS_MODE,
        is_production=settings.IS_PRODUCTION,
        bound_host=os.environ.get(BOUND_HOST_VARIABLE, ""),
    )


@cache
def is_bound_to_loopback() -> bool:
    """Whether our own launcher listens where only this machine can reach it."""
    return is_loopback_host(os.environ.get(BOUND_HOST_VARIABLE, ""))
