"""Figures for Prometheus: counted with prometheus-client, told at /metrics.

`requests` counts what is over, as it ends. What is a state (how many are waiting, what
rests) is set by `api/services/gauges.py` when somebody looks, or once a second where
another worker may be the one that is asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from django.conf import settings

from api.services.metrics.registry import CONTENT_TYPE as CONTENT_TYPE
from api.services.metrics.registry import Registry
from api.services.metrics.requests import ANSWERED as ANSWERED
from api.services.metrics.requests import OTHER as OTHER
from api.services.metrics.requests import RequestCounts as RequestCounts
from api.services.metrics.requests import Way as Way
from api.services.metrics.sharing import WORKER_VARIABLE as WORKER_VARIABLE
from api.services.metrics.sharing import forget_states as forget_states
from api.services.metrics.sharing import join
from api.services.metrics.sharing import shared_directory as shared_directory


@dataclass(frozen=True, slots=True)
class Metrics:
    """Everything that this process counts. `requests` is None where METRICS is off: nothing is."""

    registry: Registry
    requests: RequestCounts | None
    is_shared: bool
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def render(self) -> bytes:
        """The page for Prometheus, of all workers. Written in a thread, one at a time."""
        async with self._writing:
            return await asyncio.to_thread(self.registry.render)


_current: Metrics | None = None


def current() -> Metrics:
    """This process's figures, made on first use."""
    global _current
    if _current is None:
        _current = _make()
    return _current


def _make() -> Metrics:
    if not settings.METRICS:
        return Metrics(Registry(), None, is_shared=False)
    directory = join(settings.METRICS_MODELS)
    registry = Registry(directory)
    requests = RequestCounts(registry, names_at_most=settings.METRICS_MODELS)
    return Metrics(registry, requests, is_shared=directory is not None)
