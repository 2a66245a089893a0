"""The table of other gateways, with ours and the aiohttp proxy beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.markdown import cell, table
from benchmarks.scenarios import SCENARIOS

Summary = Mapping[str, Mapping[str, Mapping[str, Any]]]

_OURS, _ANTHROPIC = "patchbay", "patchbay-anthropic"
_BESIDE = ("nginx", "aiohttp", _OURS, _ANTHROPIC)
_HEAD = (
    "",
    "version",
    "CPU ms/request",
    "times ours",
    "requests/s",
    "added p50 ms, unloaded",
    "CPU µs/chunk, 200 streams",
    "times ours",
    "first chunk p50 ms",
    "chunk p99 ms",
    "1,000 streams: chunks/s",
    "MiB (PSS)",
    "errors, stuck",
)


def peers(report: Mapping[str, Any]) -> str:
    found = report.get("peers", {})
    if not found:
        return (
            "No other gateway took part in this run. "
            '[How to measure one](../benchmarks/peers/README.md): `make bench BENCH="--peer tensorzero"`.\n'
        )
    summary = report["summary"]
    names = [name for name in (*_BESIDE, *found) if name in summary]
    rows = [_row(name, found.get(name, {}), summary) for name in names]
    fewer = [f"{name} {told['connections']}" for name, told in found.items() if told["connections"]]
    note = f"\nConnections at once, at most: {', '.join(fewer)}.\n" if fewer else ""
    return table(_HEAD, rows) + note


def _row(name: str, told: Mapping[str, Any], summary: Summary) -> tuple[str, ...]:
    # Those that gateways take part in: ours grow with the large bodies of the others.
    scenarios = {each.name: summary[name].get(each.name, {}) for each in SCENARIOS}
    busy, unloaded, streams, many = (
        scenarios.get(each, {}) for each in ("busy", "unloaded", "streams", "many streams")
    )
    lost = [sum(found.get(figure) or 0 for found in scenarios.values()) for figure in ("errors", "stuck")]
    return (
        name,
        told.get("version", ""),
        cell(busy, "cpu_ms_per_request", 3),
        _times_ours(name, "busy", "cpu_ms_per_request", summary),
        cell(busy, "rps", 0),
        cell(unloaded, "added_p50_ms", 2),
        cell(streams, "cpu_us_per_chunk", 1),
        _times_ours(name, "streams", "cpu_us_per_chunk", summary),
        cell(streams, "first_p50_ms", 1),
        cell(streams, "chunk_p99_ms", 1),
        cell(many, "chunks_per_second", 0),
        _highest(scenarios, "peak_pss_mib"),
        f"{lost[0]:.0f}, {lost[1]:.0f}",
    )


def _times_ours(name: str, scenario: str, figure: str, summary: Summary) -> str:
    """A translated model is held against ours translated."""
    ours = _ANTHROPIC if name.endswith("-anthropic") else _OURS
    one, other = (summary.get(each, {}).get(scenario, {}).get(figure) for each in (name, ours))
    if one is None or not other:
        return ""
    times = one / other
    return f"{times:.2f}×" if times < 10 else f"{times:.0f}×"


def _highest(scenarios: Mapping[str, Mapping[str, Any]], figure: str) -> str:
    values = [found[figure] for found in scenarios.values() if figure in found]
    return f"{max(values):.0f}" if values else ""
