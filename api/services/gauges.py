"""Figures that are states, not events: read from where they are kept, just before somebody looks.

Of several workers only one is asked at a time, so each sets its own once a second where
the others can read them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final

from django.conf import settings
from prometheus_client import Gauge

from api.services import admission, cooldowns, metrics
from api.services.metrics import families
from api.services.metrics.registry import Registry
from api.services.recording import telling
from routing import lookup

logger = logging.getLogger("patchbay.metrics")

_INTERVAL: Final = 1.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_MEMORY: Final = Path("/proc/self/statm")
_RELEASE: Final = re.compile(r"^## (\S+)", re.MULTILINE)

_resting: dict[tuple[str, str], Gauge] = {}
_sampling: asyncio.Task[None] | None = None


def sample() -> None:
    """Set all of them as they are now, and count what ended until now. On the event loop."""
    telling.count()
    registry = metrics.current().registry
    places = admission.current()
    registry.gauge(families.IN_FLIGHT).set(places.in_use)
    registry.gauge(families.QUEUED).set(places.queued)
    registry.follow(families.OVERLOAD_REFUSALS, places.refused)
    _sample_cooldowns(registry)
    status = lookup.status()
    if status.version is not None:
        registry.gauge(families.CONFIG_VERSION).set(status.version)
        registry.gauge(families.CONFIG_LOADED).set(lookup.current().built_at)
    if status.last_checked is not None:
        registry.gauge(families.CONFIG_CHECKED).set(status.last_checked)
    registry.gauge(families.WORKERS).set(1)
    registry.follow(families.CPU_SECONDS, time.process_time())
    if (memory := _read_memory()) is not None:
        registry.gauge(families.MEMORY).set(memory)
    # What proxy_site/logs.py writes by; handlers of others do not count.
    lost = sum(getattr(handler, "lost", 0) for handler in logging.getLogger().handlers)
    registry.follow(families.LOG_LINES_LOST, lost)
    registry.gauge(families.BUILD, _read_version()).set(1)


def start() -> None:
    """Where there are several workers: set them once a second from now on. On the event loop."""
    global _sampling
    if metrics.current().is_shared:
        _sampling = asyncio.create_task(_keep_sampling())


def stop() -> None:
    global _sampling
    if _sampling is not None:
        _sampling.cancel()
        _sampling = None


async def _keep_sampling() -> None:
    while True:
        try:
            sample()
        except Exception:  # Figures are no reason to end; the next round may do better.
            logger.exception("Metrics could not be sampled")
        await asyncio.sleep(_INTERVAL)


def _sample_cooldowns(registry: Registry) -> None:
    circuits = cooldowns.current()
    for reason, count in circuits.openings.items():
        registry.follow(families.COOLDOWNS, count, reason.value)
    resting = Counter((seen.names.provider, seen.names.upstream_id) for seen in circuits.open_circuits())
    for names, gauge in _resting.items():
        if names not in resting:
            gauge.set(0)
    for names, count in resting.items():
        if names not in _resting and len(_resting) >= settings.METRICS_MODELS:
            continue
        gauge = _resting[names] = registry.gauge(families.COOLDOWNS_OPEN, *names)
        gauge.set(count)


def _read_memory() -> int | None:
    try:
        return int(_MEMORY.read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return None  # Not Linux.


@cache
def _read_version() -> str:
    """The newest one that the changelog tells of."""
    try:
        found = _RELEASE.search((settings.BASE_DIR / "CHANGELOG.md").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return found[1] if found is not None else "unknown"
