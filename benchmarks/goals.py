"""The goals, as ratios within one run, and the tables that show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Summary = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By candidate, by scenario, by figure: medians over the rounds."""


def judge(summary: Summary, facts: Mapping[str, float]) -> list[dict[str, Any]]:
    """Every goal that this run can speak of."""

    def figure(candidate: str, scenario: str, name: str) -> float | None:
        value = summary.get(candidate, {}).get(scenario, {}).get(name)
        return None if value is None else float(value)

    def ratio(scenario: str, name: str, one: str, other: str) -> float | None:
        above, below = figure(one, scenario, name), figure(other, scenario, name)
        return above / below if above is not None and below else None

    ours, anthropic, busy = "patchbay", "patchbay-anthropic", ("busy", "cpu_ms_per_request")
    chunk = ("streams", "cpu_us_per_chunk")
    many = "many streams"
    lost = [figure(ours, many, name) for name in ("errors", "stuck")]
    asked = [
        ("CPU per request, to the aiohttp proxy", ratio(*busy, ours, "aiohttp"), 0.95, "×"),
        ("CPU per request, to the floor", ratio(*busy, ours, "floor"), 2.7, "×"),
        ("CPU per request, to nginx", ratio(*busy, ours, "nginx"), 14, "×"),
        (
            "added p50, unloaded, to the aiohttp proxy",
            ratio("unloaded", "added_p50_ms", ours, "aiohttp"),
            0.8,
            "×",
        ),
        ("p99 in bursts of 20, to the aiohttp proxy", ratio("burst", "p99_ms", ours, "aiohttp"), 1.0, "×"),
        ("Anthropic translation to relay, CPU per request", ratio(*busy, anthropic, ours), 1.25, "×"),
        ("Anthropic translation to relay, CPU per chunk", ratio(*chunk, anthropic, ours), 1.25, "×"),
        ("CPU per chunk, to nginx", ratio(*chunk, ours, "nginx"), 2.5, "×"),
        ("CPU per chunk, to the floor", ratio(*chunk, ours, "floor"), 1.4, "×"),
        ("1,000 streams: errors and stuck", None if None in lost else sum(n or 0 for n in lost), 0, ""),
        ("1,000 streams: memory", figure(ours, many, "peak_pss_mib"), 120, " MiB"),
        ("1,000 streams: threads", figure(ours, many, "threads"), 8, ""),
        ("all features, to the bare lane", ratio(*busy, ours, "patchbay, no key, limits, log"), 1.25, "×"),
        ("start to first answer", facts.get("start_seconds"), 2.0, " s"),
        ("idle memory of a worker", facts.get("idle_pss_mib"), 95, " MiB"),
    ]
    goals = [
        {"goal": name, "at_most": bound, "unit": unit, "measured": value, "met": value <= bound}
        for name, value, bound, unit in asked
        if value is not None
    ]
    share = ratio(many, "chunks_per_second", ours, "nginx")
    if share is not None:
        goals.insert(
            10,
            {
                "goal": "1,000 streams: chunks/s, to nginx",
                "at_least": 0.85,
                "unit": "×",
                "measured": share,
                "met": share >= 0.85,
            },
        )
    return goals


def markdown(summary: Summary, goals: list[dict[str, Any]]) -> str:
    """The tables of docs/performance.md."""
    lines = [
        "| | CPU ms/request | of it, user time | requests/s | added p50 ms, unloaded "
        "| added p50 / p99 ms, bursts of 20 "
        "| CPU µs/chunk, 200 streams | first chunk p50 ms | chunk p99 ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in summary.items():
        busy, unloaded, burst, streams = (
            found.get(scenario, {}) for scenario in ("busy", "unloaded", "burst", "streams")
        )
        cells = [
            _cell(busy, "cpu_ms_per_request", 3),
            _cell(busy, "user_ms_per_request", 3),
            _cell(busy, "rps", 0),
            _cell(unloaded, "added_p50_ms", 3),
            f"{_cell(burst, 'added_p50_ms', 2)} / {_cell(burst, 'added_p99_ms', 2)}" if burst else "",
            _cell(streams, "cpu_us_per_chunk", 1),
            _cell(streams, "first_p50_ms", 2),
            _cell(streams, "chunk_p99_ms", 2),
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| 1,000 streams at once | chunks/s (50,000 asked) | CPU µs/chunk | first chunk p50 ms "
        "| chunk p50 / p99 ms | errors, stuck | MiB (PSS) | threads |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in summary.items():
        if many := found.get("many streams"):
            cells = [
                _cell(many, "chunks_per_second", 0),
                _cell(many, "cpu_us_per_chunk", 1),
                _cell(many, "first_p50_ms", 1),
                f"{_cell(many, 'chunk_p50_ms', 1)} / {_cell(many, 'chunk_p99_ms', 1)}",
                f"{_cell(many, 'errors', 0)}, {_cell(many, 'stuck', 0)}",
                _cell(many, "peak_pss_mib", 0),
                _cell(many, "threads", 0),
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| goal | asked | measured | |", "|---|---|---|---|"]
    for goal in goals:
        bound = f"≥ {goal['at_least']:g}" if "at_least" in goal else f"≤ {goal['at_most']:g}"
        met = "met" if goal["met"] else "**missed**"
        lines.append(
            f"| {goal['goal']} | {bound}{goal['unit']} | {goal['measured']:.3g}{goal['unit']} | {met} |"
        )
    return "\n".join(lines) + "\n"


def _cell(found: Mapping[str, Any], name: str, digits: int) -> str:
    value = found.get(name)
    return "" if value is None else f"{value:,.{digits}f}"
