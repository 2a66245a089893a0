"""Figures for Prometheus: counted here, told at /metrics.

`requests()` counts what is over, as it ends. What is a state (how many are waiting, what
rests) is set by `api/services/gauges.py` when somebody looks, or once a second where
another worker may be the one that is asked.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings

from api.services.metrics.exposition import CONTENT_TYPE as CONTENT_TYPE
from api.services.metrics.exposition import render
from api.services.metrics.requests import ANSWERED as ANSWERED
from api.services.metrics.requests import OTHER as OTHER
from api.services.metrics.requests import RequestCounts
from api.services.metrics.requests import Way as Way
from api.services.metrics.series import LocalStore, Registry, Store
from api.services.metrics.sharing import DIRECTORY_VARIABLE, Readers, SharedStore, Source
from api.services.metrics.sharing import shared_directory as shared_directory

logger = logging.getLogger("patchbay.metrics")

_READS: Final = 50
_READ_PAUSE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Metrics:
    """Everything that this process counts. `readers` is there where others count beside it."""

    registry: Registry
    requests: RequestCounts
    readers: Readers | None

    async def render(self) -> str:
        """The page for Prometheus. Lets others run between its pieces."""
        others = await self._read_others()
        page = []
        for piece in render(dict(self.registry.all), others):
            page.append(piece)
            await asyncio.sleep(0)
        return "".join(page)

    async def _read_others(self) -> list[Source]:
        if self.readers is None:
            return []
        for _ in range(_READS):
            try:
                return self.readers.read()
            except BlockingIOError:
                await asyncio.sleep(_READ_PAUSE)
            except OSError as error:
                logger.warning("What the other workers counted cannot be read: %s.", error.strerror)
                return []
        logger.warning("What the other workers counted cannot be read: one of them holds the lock.")
        return []


_current: Metrics | None = None


def current() -> Metrics:
    """This process's figures, made on first use."""
    global _current
    if _current is None:
        _current = _make()
    return _current


def _make() -> Metrics:
    store: Store = LocalStore()
    readers: Readers | None = None
    if directory := os.environ.get(DIRECTORY_VARIABLE):
        try:
            shared = SharedStore(Path(directory))
        except OSError as error:
            logger.warning("Metrics cannot be shared between workers: %s.", error.strerror)
        else:
            store, readers = shared, Readers(shared.folder, shared.name)
    registry = Registry(store)
    return Metrics(registry, RequestCounts(registry, names_at_most=settings.METRICS_MODELS), readers)
