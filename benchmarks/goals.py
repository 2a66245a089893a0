"""The goals, as ratios within one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.candidates import LARGE

Summary = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By candidate, by scenario, by figure: medians over the rounds."""

_OURS, _ANTHROPIC, _BARE = "patchbay", "patchbay-anthropic", "patchbay, bare"
_BUSY = ("busy", "cpu_ms_per_request")
_CHUNK = ("streams", "cpu_us_per_chunk")
_MANY = "many streams"


def judge(
    summary: Summary, facts: Mapping[str, float], changes: Mapping[str, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """Every goal that this run can speak of. `changes` is what `rebuilding` measured."""

    def figure(candidate: str, scenario: str, name: str) -> float | None:
        value = summary.get(candidate, {}).get(scenario, {}).get(name)
        return None if value is None else float(value)

    def ratio(scenario: str, name: str, one: str, other: str) -> float | None:
        return _divided(figure(one, scenario, name), figure(other, scenario, name))

    def growth(name: str, long: str, short: str) -> float | None:
        return _divided(figure(_OURS, long, name), figure(_OURS, short, name))

    lost = [figure(_OURS, _MANY, name) for name in ("errors", "stuck")]
    rebuilding = _divided(
        changes.get("catalog changes", {}).get("p99_ms"), changes.get("quiet", {}).get("p99_ms")
    )
    asked: list[tuple[str, float | None, str, float, str]] = [
        ("CPU per request, to the aiohttp proxy", ratio(*_BUSY, _OURS, "aiohttp"), "at_most", 0.95, "×"),
        ("CPU per request, to the floor", ratio(*_BUSY, _OURS, "floor"), "at_most", 2.7, "×"),
        ("CPU per request, to nginx", ratio(*_BUSY, _OURS, "nginx"), "at_most", 14, "×"),
        (
            "added p50, unloaded, to the aiohttp proxy",
            ratio("unloaded", "added_p50_ms", _OURS, "aiohttp"),
            "at_most",
            0.8,
            "×",
        ),
        (
            "p99 in bursts of 20, to the aiohttp proxy",
            ratio("burst", "p99_ms", _OURS, "aiohttp"),
            "at_most",
            1.0,
            "×",
        ),
        (
            "Anthropic translation to relay, CPU per request",
            ratio(*_BUSY, _ANTHROPIC, _OURS),
            "at_most",
            1.25,
            "×",
        ),
        (
            "Anthropic translation to relay, CPU per chunk",
            ratio(*_CHUNK, _ANTHROPIC, _OURS),
            "at_most",
            1.25,
            "×",
        ),
        ("CPU per chunk, to nginx", ratio(*_CHUNK, _OURS, "nginx"), "at_most", 2.5, "×"),
        ("CPU per chunk, to the floor", ratio(*_CHUNK, _OURS, "floor"), "at_most", 1.4, "×"),
        (
            "1,000 streams: errors and stuck",
            None if None in lost else sum(n or 0 for n in lost),
            "at_most",
            0,
            "",
        ),
        (
            "1,000 streams: chunks/s, to nginx",
            ratio(_MANY, "chunks_per_second", _OURS, "nginx"),
            "at_least",
            0.85,
            "×",
        ),
        ("1,000 streams: memory", figure(_OURS, _MANY, "peak_pss_mib"), "at_most", 120, " MiB"),
        ("1,000 streams: threads", figure(_OURS, _MANY, "threads"), "at_most", 8, ""),
        ("all features, to the bare lane", ratio(*_BUSY, _OURS, _BARE), "at_most", 1.25, "×"),
        ("start to first answer", facts.get("start_seconds"), "at_most", 2.0, " s"),
        ("idle memory of a worker", facts.get("idle_pss_mib"), "at_most", 95, " MiB"),
        ("10,000 models and 50,000 keys, CPU per request", ratio(*_BUSY, LARGE, _OURS), "at_most", 1.05, "×"),
        ("p99 while that catalog is rebuilt, to quiet", rebuilding, "at_most", 2.0, "×"),
        (
            "CPU per MB of a request, 20 MB to 5 MB",
            growth("cpu_ms_per_mb", "request of 20 MB", "request of 5 MB"),
            "at_most",
            1.25,
            "×",
        ),
        (
            "CPU per MB of a reply, 10 MB to 2 MB",
            growth("cpu_ms_per_mb", "reply of 10 MB", "reply of 2 MB"),
            "at_most",
            1.25,
            "×",
        ),
        (
            "CPU per chunk, 100,000 to 10,000 in a stream",
            growth("cpu_us_per_chunk", "stream of 100,000", "stream of 10,000"),
            "at_most",
            1.25,
            "×",
        ),
    ]
    return [
        {"goal": name, kind: bound, "unit": unit, "measured": value, "met": _is_met(kind, value, bound)}
        for name, value, kind, bound, unit in asked
        if value is not None
    ]


def _is_met(kind: str, value: float, bound: float) -> bool:
    return value >= bound if kind == "at_least" else value <= bound


def _divided(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None
