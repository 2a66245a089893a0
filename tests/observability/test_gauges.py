"""States that the page tells, read from where they are kept."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.services import admission, gauges, metrics
from proxy_site.logs import StderrHandler
from tests.observability.test_metrics import read, value


@pytest.fixture
async def places() -> AsyncIterator[admission.Admission]:
    places = admission.current()
    places.try_enter()
    yield places
    places.leave()


async def test_who_is_being_served_and_who_was_turned_away(places: admission.Admission) -> None:
    gauges.sample()
    page = read(metrics.current().registry)
    assert value(page, "patchbay_requests_in_flight") == places.in_use > 0
    assert value(page, "patchbay_requests_queued") == 0
    assert value(page, "patchbay_overload_refusals_total") == places.refused


async def test_the_process_tells_of_itself(project_root: Path) -> None:
    gauges.sample()
    page = read(metrics.current().registry)
    assert 1e7 < (value(page, "patchbay_process_resident_memory_bytes") or 0) < 1e10
    assert (value(page, "patchbay_process_cpu_seconds_total") or 0) > 0
    (version,) = (dict(labels)["version"] for name, labels in page if name == "patchbay_build_info")
    assert f"\n## {version} " in (project_root / "CHANGELOG.md").read_text(encoding="utf-8")


async def test_lines_that_were_lost_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    handler = StderrHandler()
    handler.lost = 3
    monkeypatch.setattr(root, "handlers", [logging.NullHandler(), handler])
    gauges.sample()
    assert value(read(metrics.current().registry), "patchbay_log_lines_lost_total") == 3
