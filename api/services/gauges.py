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

from api.services import admission, cooldowns, metrics
from api.services.metrics import families
from api.services.metrics.series import Series
from routing import lookup

logger = logging.getLogger("patchbay.metrics")

_INTERVAL: Final = 1.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_MEMORY: Final = Path("/proc/self/statm")
_RELEASE: Final = re.compile(r"^## (\S+)", re.MULTILINE)

_resting: dict[tuple[str, str], Series] = {}
_sampling: asyncio.Task[None] | None = None


def sample() -> None:
    """Set all of them as they are now. On the event loop."""
    series = metrics.current().registry.series
    places = admission.current()
    series(families.IN_FLIGHT).set(places.in_use)
    series(families.QUEUED).set(places.queued)
    series(families.OVERLOAD_REFUSALS).set(places.refused)
    _sample_cooldowns()
    status = lookup.status()
    if status.version is not None:
        series(families.CONFIG_VERSION).set(status.version)
        series(families.CONFIG_LOADED).set(lookup.current().built_at)
    if status.last_checked is not None:
        series(families.CONFIG_CHECKED).set(status.last_checked)
    series(families.WORKERS).set(1)
    series(families.CPU_SECONDS).set(time.process_time())
    if (memory := _read_memory()) is not None:
        series(families.MEMORY).set(memory)
    # What proxy_site/logs.py writes by; handlers of others do not count.
    lost = sum(getattr(handler, "lost", 0) for handler in logging.getLogger().handlers)
    series(families.LOG_LINES_LOST).set(lost)
    series(families.BUILD, _read_version()).set(1)


def start() -> None:
    """Where there are several workers: set them once a second from now on. On the event loop."""
    global _sampling
    if metrics.current().readers is not None:
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


def _sample_cooldowns() -> None:
    registry = metrics.current().registry
    circuits = cooldowns.current()
    for reason, count in circuits.openings.items():
        registry.series(families.COOLDOWNS, reason.value).set(count)
    resting = Counter((seen.names.provider, seen.names.upstream_id) for seen in circuits.open_circuits())
    for names, series in _resting.items():
        if names not in resting:
            series.set(0)
    for names, count in resting.items():
        if names not in _resting and len(_resting) >= settings.METRICS_MODELS:
            continue
        series = _resting[names] = registry.series(families.COOLDOWNS_OPEN, *names)
        series.set(count)


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
