"""A report as a run gives it, with figures that are easy to reckon with."""

from __future__ import annotations

from typing import Any

from benchmarks.candidates import LARGE
from benchmarks.scenarios import LARGE_SCENARIOS

CPU = {
    "direct": 0.01,
    "nginx": 0.02,
    "floor": 0.1,
    "aiohttp": 0.3,
    "patchbay": 0.24,
    "patchbay-anthropic": 0.27,
    "patchbay, bare": 0.2,
    LARGE: 0.24,
}


def make_report(**changed: float) -> dict[str, Any]:
    """`changed`: CPU ms per request of a candidate when busy."""
    summary = {name: _scenarios(name, {**CPU, **changed}[name]) for name in CPU}
    quiet = {"p50_ms": 1.0, "p99_ms": 2.0, "max_ms": 3.0, "cpu_ms_per_request": 0.2, "errors": 0}
    return {
        "machine": {
            "cpu": "A processor",
            "cores": 2,
            "memory_mib": 24576,
            "kernel": "6.1",
            "time": "2026-01-02T03:04:05Z",
        },
        "load_average": {"before": [0.1, 0, 0], "after": [1.5, 0, 0]},
        "versions": {
            "python": "3.11.2",
            "turn_ns": "20",
            "commit": "0123456789abcdef",
            "changed_files": "0",
            **dict.fromkeys(
                (
                    "Django",
                    "djangorestframework",
                    "uvicorn",
                    "uvloop",
                    "httptools",
                    "orjson",
                    "aiohttp",
                    "nginx",
                    "wrk",
                ),
                "1.0",
            ),
        },
        "rounds_asked": 3,
        "seconds": 300.0,
        "facts": {"start_seconds": 0.8, "idle_pss_mib": 80.0, "idle_threads": 6},
        "large_catalog": {"start_seconds": 1.6, "idle_pss_mib": 130.0, "idle_threads": 6},
        "changes": {
            "quiet": quiet,
            "catalog changes": {**quiet, "p99_ms": 3.0},
            "key changes": quiet,
            "revocation": {"median_ms": 150.0, "max_ms": 300.0, "tries": 6},
        },
        "imports": [
            {"name": "Django", "ms": 100.0, "mib": 13.0, "is_optional": False},
            {"name": "OpenTelemetry", "ms": 50.0, "mib": 4.0, "is_optional": True},
        ],
        "goals": [],
        "summary": summary,
        "rounds": [
            {"scenario": "busy", "candidate": name, "cpu_ms_per_request": cost * factor}
            for name, cost in CPU.items()
            for factor in (0.9, 1.1)
        ],
    }


def _scenarios(name: str, cost: float) -> dict[str, dict[str, float]]:
    busy = {"cpu_ms_per_request": cost, "user_ms_per_request": cost * 0.9, "rps": 1 / cost}
    if "," in name:
        return {"busy": busy}
    found = {
        "busy": busy,
        "unloaded": {"added_p50_ms": cost},
        "burst": {"p99_ms": cost * 40, "added_p50_ms": cost * 20, "added_p99_ms": cost * 30},
        "streams": {"cpu_us_per_chunk": 10 + cost * 20, "first_p50_ms": 1.0, "chunk_p99_ms": 5.0},
        "many streams": {
            "chunks_per_second": 40_000.0,
            "cpu_us_per_chunk": cost * 90,
            "first_p50_ms": 9.0,
            "chunk_p50_ms": 1.0,
            "chunk_p99_ms": 30.0,
            "errors": 0,
            "stuck": 0,
            "peak_pss_mib": 100.0,
            "threads": 8,
        },
    }
    for scenario in LARGE_SCENARIOS:
        figure = "cpu_us_per_chunk" if scenario.is_stream else "cpu_ms_per_mb"
        found[scenario.name] = {figure: cost * 10, "grown_mib": 20.0}
    return found
