"""The process that saved a change applies it before it answers."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse

from routing import lookup

logger = logging.getLogger("patchbay.config")

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class ApplyConfigurationChanges:
    """After every request that may have written, compare the version and reload if it moved.

    The other processes notice by themselves. Sync only: the admin is.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.method not in _SAFE_METHODS:
            try:
                lookup.refresh()
            except DatabaseError as error:
                # The change is stored; the watcher applies it when the database answers.
                logger.warning("A change could not be applied at once: %s", error)
        return response
