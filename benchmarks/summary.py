"""From rounds to medians, and what they were measured with."""

from __future__ import annotations

import platform
import statistics
import subprocess
import timeit
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

_DISTRIBUTIONS = ("Django", "djangorestframework", "uvicorn", "uvloop", "httptools", "orjson", "aiohttp")
_HERE = Path(__file__).resolve().parent


def summarize(
    rounds: Sequence[dict[str, Any]], candidates: Iterable[str], scenarios: Sequence[str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Medians by candidate, scenario and figure."""
    summary: dict[str, dict[str, dict[str, Any]]] = {}
    for candidate in candidates:
        for scenario in scenarios:
            found = [
                flatten(each)
                for each in rounds
                if each["candidate"] == candidate and each["scenario"] == scenario
            ]
            if found:
                summary.setdefault(candidate, {})[scenario] = {
                    name: statistics.median(each[name] for each in found if each.get(name) is not None)
                    for name in found[0]
                    if any(each.get(name) is not None for each in found)
                }
    # Errors are never averaged away.
    for each in rounds:
        figures = summary[each["candidate"]][each["scenario"]]
        for name in ("errors", "stuck"):
            if name in each:
                figures[name] = max(figures[name], each[name])
    for found_scenarios in summary.values():
        for name in ("unloaded", "burst"):
            base = summary.get("direct", {}).get(name, {})
            for percentile in ("p50_ms", "p99_ms"):
                if name in found_scenarios and percentile in base:
                    added = found_scenarios[name][percentile] - base[percentile]
                    found_scenarios[name][f"added_{percentile}"] = added
    return summary


def flatten(found: dict[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in found.items():
        if isinstance(value, dict):
            prefix = "" if name == "total" else f"{name}_"
            flat |= {f"{prefix}{inner}": figure for inner, figure in value.items()}
        elif isinstance(value, int | float) and name != "round":
            flat[name] = value
    return flat


def versions() -> dict[str, str]:
    found = {
        "python": platform.python_version(),
        "turn_ns": f"{_turn_ns():.0f}",
    }
    found |= {name: metadata.version(name) for name in _DISTRIBUTIONS}
    found["nginx"] = _told("nginx", "-v").partition("/")[2]
    found["wrk"] = _told("wrk", "-v").partition(" [")[0].removeprefix("wrk ")
    found["commit"] = _told("git", "-C", str(_HERE), "rev-parse", "HEAD")
    # What lies in the working tree and not in the commit was measured too.
    changed = _told(
        "git", "-C", str(_HERE.parent), "status", "--porcelain", "--", "api", "routing", "proxy_site"
    )
    found["changed_files"] = str(len(changed.splitlines()))
    return found


def _turn_ns() -> float:
    """How long one turn of a plain loop takes: builds of one version differ, and do not say why."""
    turns = 200_000
    return (
        min(timeit.repeat("sum(x & 3 for x in numbers)", f"numbers = range({turns})", number=1)) * 1e9 / turns
    )


def _told(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip()
