"""The tables of docs/performance.md, from a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import peer_table
from benchmarks.candidates import LARGE
from benchmarks.markdown import cell, table
from benchmarks.scenarios import LARGE_SCENARIOS

Report = Mapping[str, Any]


def every_table(report: Report) -> dict[str, str]:
    """By the name that its markers in the page have."""
    summary = without_peers(report)
    return {
        "run": _run(report),
        "requests": _requests(summary),
        "streams": _streams(summary),
        "features": _features(summary),
        "goals": _goals(report["goals"]),
        "catalog": _catalog(report),
        "large": _large(summary),
        "imports": _imports(report["imports"]),
        "spread": _spread([each for each in report["rounds"] if each["candidate"] in summary]),
        "peers": peer_table.peers(report),
    }


def without_peers(report: Report) -> Report:
    """The summary of all candidates but other gateways, whose figures have a table of their own."""
    return {name: found for name, found in report["summary"].items() if name not in report.get("peers", {})}


def _run(report: Report) -> str:
    machine, versions, load = report["machine"], report["versions"], report["load_average"]
    dirty = int(versions["changed_files"])
    changed = f" and {dirty} changed files" if dirty else ""
    packages = ", ".join(
        f"{name} {versions[key]}"
        for name, key in (
            ("Django", "Django"),
            ("DRF", "djangorestframework"),
            ("uvicorn", "uvicorn"),
            ("uvloop", "uvloop"),
            ("httptools", "httptools"),
            ("orjson", "orjson"),
            ("aiohttp", "aiohttp"),
            ("nginx", "nginx"),
            ("wrk", "wrk"),
        )
    )
    rows = [
        ("machine", f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_mib'] / 1024:.0f} GiB"),
        ("kernel", f"Linux {machine['kernel']}"),
        (
            "end of the run",
            f"{machine['time']}; load average {load['before'][0]:.1f} before, {load['after'][0]:.1f} after, "
            "of which the benchmark itself is a part",
        ),
        (
            "Python, of every Python candidate",
            f"{versions['python']}; one turn of a plain loop takes {versions['turn_ns']} ns",
        ),
        ("versions", packages),
        (
            "Patchbay",
            f"commit `{versions['commit'][:12]}`{changed}, one worker, "
            "as `make run` serves it: issued key, three limits on it, log to a file, metrics",
        ),
        ("rounds", f"{report['rounds_asked']}, interleaved, medians; {report['seconds'] / 60:.1f} minutes"),
    ]
    return table(("", ""), rows)


def _requests(summary: Report) -> str:
    head = (
        "",
        "CPU ms/request",
        "of it, user time",
        "requests/s",
        "added p50 ms, unloaded",
        "added p50 / p99 ms, bursts of 20",
        "CPU µs/chunk, 200 streams",
        "first chunk p50 ms",
        "chunk p99 ms",
    )
    rows = []
    for name, found in summary.items():
        busy, unloaded, burst, streams = (
            found.get(scenario, {}) for scenario in ("busy", "unloaded", "burst", "streams")
        )
        if not streams:
            continue
        rows.append(
            (
                name,
                cell(busy, "cpu_ms_per_request", 3),
                cell(busy, "user_ms_per_request", 3),
                cell(busy, "rps", 0),
                cell(unloaded, "added_p50_ms", 3),
                f"{cell(burst, 'added_p50_ms', 2)} / {cell(burst, 'added_p99_ms', 2)}",
                cell(streams, "cpu_us_per_chunk", 1),
                cell(streams, "first_p50_ms", 2),
                cell(streams, "chunk_p99_ms", 2),
            )
        )
    return table(head, rows)


def _streams(summary: Report) -> str:
    head = (
        "1,000 streams at once",
        "chunks/s (50,000 asked)",
        "CPU µs/chunk",
        "first chunk p50 ms",
        "chunk p50 / p99 ms",
        "errors, stuck",
        "MiB (PSS)",
        "threads",
    )
    rows = [
        (
            name,
            cell(many, "chunks_per_second", 0),
            cell(many, "cpu_us_per_chunk", 1),
            cell(many, "first_p50_ms", 1),
            f"{cell(many, 'chunk_p50_ms', 1)} / {cell(many, 'chunk_p99_ms', 1)}",
            f"{cell(many, 'errors', 0)}, {cell(many, 'stuck', 0)}",
            cell(many, "peak_pss_mib", 0),
            cell(many, "threads", 0),
        )
        for name, found in summary.items()
        if (many := found.get("many streams"))
    ]
    return table(head, rows)


def _features(summary: Report) -> str:
    """What each feature costs: the proxy with it, less the proxy without it."""
    whole = _busy(summary, "patchbay")
    rows = []
    for name in summary:
        label = name.removeprefix("patchbay, ")
        cost = _busy(summary, name)
        if label == name or name == LARGE or whole is None or cost is None:
            continue
        rows.append((label, f"{cost:.3f}", f"{(whole - cost) * 1e3:+.0f} µs", f"{cost / whole:.2f}×"))
    return table(
        ("Patchbay with", "CPU ms/request", "what all switched on costs over it", "share of all switched on"),
        rows,
    )


def _goals(goals: Sequence[Mapping[str, Any]]) -> str:
    met = sum(bool(goal["met"]) for goal in goals)
    rows = []
    for goal in goals:
        unit = goal["unit"]
        bound = f"≥ {goal['at_least']:g}" if "at_least" in goal else f"≤ {goal['at_most']:g}"
        word = "met" if goal["met"] else "**missed**"
        rows.append((goal["goal"], f"{bound}{unit}", f"{goal['measured']:.3g}{unit}", word))
    sentence = f"{met} of the {len(goals)} goals that this run can judge are met, {len(goals) - met} missed."
    return f"{sentence}\n\n{table(('goal', 'asked', 'measured', ''), rows)}"


def _catalog(report: Report) -> str:
    changes, facts, large = report["changes"], report["facts"], report["large_catalog"]
    summary = report["summary"]
    sizes = table(
        ("", "CPU ms/request", "start to first answer, s", "idle MiB (PSS)"),
        [
            (
                name,
                cell(summary.get(candidate, {}).get("busy", {}), "cpu_ms_per_request", 3),
                cell(found, "start_seconds", 2),
                cell(found, "idle_pss_mib", 0),
            )
            for name, candidate, found in (
                ("12 models, 1 key", "patchbay", facts),
                ("10,000 models, 50,000 keys", LARGE, large),
            )
        ],
    )
    latencies = table(
        ("400 requests/s beside it", "p50 ms", "p99 ms", "longest ms", "CPU ms/request", "errors"),
        [
            (
                name,
                cell(changes[name], "p50_ms", 2),
                cell(changes[name], "p99_ms", 2),
                cell(changes[name], "max_ms", 1),
                cell(changes[name], "cpu_ms_per_request", 3),
                cell(changes[name], "errors", 0),
            )
            for name in ("quiet", "catalog changes", "key changes")
        ],
    )
    revoked = changes["revocation"]
    sentence = (
        f"A revoked key is refused {revoked['median_ms']:.0f} ms after the commit (median of "
        f"{revoked['tries']}; at most {revoked['max_ms']:.0f} ms)."
    )
    return f"{sizes}\n{latencies}\n{sentence}\n"


def _large(summary: Report) -> str:
    names = [scenario.name for scenario in LARGE_SCENARIOS]
    rows = []
    for candidate, found in summary.items():
        cells = []
        for name in names:
            figures = found.get(name, {})
            cost = cell(figures, "cpu_us_per_chunk", 2) or cell(figures, "cpu_ms_per_mb", 2)
            cells.append(f"{cost}; {cell(figures, 'grown_mib', 0)}" if cost else "")
        if any(cells):
            rows.append((candidate, *cells))
    note = (
        "CPU ms per MB (of streams: µs per chunk); then by how many MiB (PSS) the process grew meanwhile. "
        "The mock sends a stream's chunks as fast as they are taken, so that many arrive in one piece."
    )
    return f"{table(('', *names), rows)}\n{note}\n"


def _imports(rows: Sequence[Mapping[str, Any]]) -> str:
    loaded = [row for row in rows if not row["is_optional"]]
    listed = table(
        ("import", "ms", "MiB (PSS)", "when"),
        [
            (
                row["name"],
                f"{row['ms']:.0f}",
                f"{row['mib']:.1f}",
                "where it is switched on" if row["is_optional"] else "always",
            )
            for row in rows
        ],
    )
    milliseconds, mib = sum(row["ms"] for row in loaded), sum(row["mib"] for row in loaded)
    return (
        f"{listed}\nTogether {milliseconds:.0f} ms and {mib:.0f} MiB. "
        "One row leaves out what an earlier one brought.\n"
    )


def _spread(rounds: Sequence[Mapping[str, Any]]) -> str:
    found: dict[str, list[float]] = {}
    for each in rounds:
        if each["scenario"] == "busy" and "cpu_ms_per_request" in each and "," not in each["candidate"]:
            found.setdefault(each["candidate"], []).append(each["cpu_ms_per_request"])
    spans = [f"{name} {min(values):.3f} to {max(values):.3f}" for name, values in found.items()]
    return f"Lowest and highest of the rounds, CPU ms per request when busy: {'; '.join(spans)}.\n"


def _busy(summary: Report, candidate: str) -> float | None:
    value = summary.get(candidate, {}).get("busy", {}).get("cpu_ms_per_request")
    return None if value is None else float(value)
