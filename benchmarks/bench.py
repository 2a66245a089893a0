"""Runs the benchmark: `python -m benchmarks.bench`. See README.md.

Candidates are interleaved (every one once, then every one again), so that a neighbour's
load falls on all of them, and each figure is the median over the rounds. Compare figures
within one run only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import chart, goals, processes
from benchmarks.candidates import HERE, Candidate, Field, ask, open_field
from benchmarks.scenarios import SCENARIOS, measure

_PACKAGES = {
    "nginx": "nginx-light libnginx-mod-http-lua (or nginx-extras)",
    "wrk": "wrk",
    "gcc": "gcc libc6-dev",
}
_DISTRIBUTIONS = ("Django", "djangorestframework", "uvicorn", "uvloop", "httptools", "orjson", "aiohttp")


def main() -> None:
    options = _options()
    _check_tools()
    _raise_file_limit()
    # So that what was started is stopped, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="patchbay-bench-") as name:
        folder = Path(name)
        subprocess.run(["gcc", "-O2", "-o", str(folder / "load"), str(HERE / "load.c")], check=True)
        with open_field(folder, options.mock_port) as field:
            report = _run(field, options)
    target = Path(options.output)
    target.mkdir(parents=True, exist_ok=True)
    stem = target / report["machine"]["time"][:16].replace(":", "")
    stem.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    stem.with_suffix(".svg").write_text(chart.draw(report["summary"]))
    stem.with_suffix(".md").write_text(goals.markdown(report["summary"], report["goals"]))
    print(goals.markdown(report["summary"], report["goals"]))
    print(f"Written: {stem}.json, .md and .svg")


def _run(field: Field, options: argparse.Namespace) -> dict[str, Any]:
    candidates = [
        field.mock(),
        field.nginx(),
        field.python("floor", "benchmarks.floor"),
        field.python("aiohttp", "benchmarks.ref_aiohttp"),
        *field.patchbay(),
        *(_peer(text) for text in options.peer),
    ]
    for candidate in candidates:
        ask(candidate)
    rounds: list[dict[str, Any]] = []
    load_before = os.getloadavg()
    for number in range(1, options.rounds + 1):
        for scenario in SCENARIOS:
            for candidate in candidates:
                if candidate.is_variant and not scenario.for_variants:
                    continue
                found = measure(scenario, candidate, field.folder)
                rounds.append(
                    {"round": number, "scenario": scenario.name, "candidate": candidate.name, **found}
                )
                print(
                    f"{number} {scenario.name:<13} {candidate.name:<30} {_line(found)}",
                    file=sys.stderr,
                    flush=True,
                )
    summary = _summarize(rounds, candidates)
    facts = next(candidate.facts for candidate in candidates if candidate.facts)
    return {
        "machine": processes.machine(),
        "load_average": {"before": load_before, "after": os.getloadavg()},
        "versions": _versions(),
        "rounds_asked": options.rounds,
        "facts": facts,
        "goals": goals.judge(summary, facts),
        "summary": summary,
        "rounds": rounds,
    }


def _summarize(
    rounds: list[dict[str, Any]], candidates: list[Candidate]
) -> dict[str, dict[str, dict[str, Any]]]:
    summary: dict[str, dict[str, dict[str, Any]]] = {}
    for candidate in candidates:
        for scenario in SCENARIOS:
            found = [
                _flatten(each)
                for each in rounds
                if each["candidate"] == candidate.name and each["scenario"] == scenario.name
            ]
            if found:
                summary.setdefault(candidate.name, {})[scenario.name] = {
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
    for scenarios in summary.values():
        for name in ("unloaded", "burst"):
            base = summary["direct"].get(name, {})
            for percentile in ("p50_ms", "p99_ms"):
                if name in scenarios and percentile in base:
                    added = scenarios[name][percentile] - base[percentile]
                    scenarios[name][f"added_{percentile}"] = added
    return summary


def _flatten(found: dict[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in found.items():
        if isinstance(value, dict):
            prefix = "" if name == "total" else f"{name}_"
            flat |= {f"{prefix}{inner}": figure for inner, figure in value.items()}
        elif isinstance(value, int | float) and name != "round":
            flat[name] = value
    return flat


def _line(found: dict[str, Any]) -> str:
    flat = _flatten(found)
    shown = (
        "rps",
        "cpu_ms_per_request",
        "cpu_us_per_chunk",
        "p50_ms",
        "p99_ms",
        "chunk_p99_ms",
        "errors",
        "stuck",
    )
    return "  ".join(f"{name} {flat[name]:.4g}" for name in shown if flat.get(name) is not None)


def _peer(text: str) -> Candidate:
    """`NAME=PORT[,model=…][,key=…][,path=…]`: a gateway that the reader has started."""
    name, _, rest = text.partition("=")
    port, *settings = rest.split(",")
    found = Candidate(name, int(port), processes.listener(int(port)))
    given = dict(setting.split("=", 1) for setting in settings)
    if unknown := given.keys() - {"model", "key", "path"}:
        raise SystemExit(f"--peer {text}: {', '.join(sorted(unknown))} is no setting of a peer.")
    return replace(
        found,
        model=given.get("model", found.model),
        key=given.get("key", found.key),
        path=given.get("path", found.path),
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "build": " ".join(platform.python_build())}
    found |= {name: metadata.version(name) for name in _DISTRIBUTIONS}
    found["nginx"] = _told("nginx", "-v").partition("/")[2]
    found["wrk"] = _told("wrk", "-v").partition(" [")[0].removeprefix("wrk ")
    found["commit"] = _told("git", "-C", str(HERE), "rev-parse", "HEAD")
    # What lies in the working tree and not in the commit was measured too.
    changed = _told(
        "git", "-C", str(HERE.parent), "status", "--porcelain", "--", "api", "routing", "proxy_site"
    )
    found["changed_files"] = str(len(changed.splitlines()))
    return found


def _told(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip()


def _check_tools() -> None:
    missing = [packages for tool, packages in _PACKAGES.items() if shutil.which(tool) is None]
    if missing:
        raise SystemExit(f"The benchmark needs these Debian packages: {' '.join(missing)}")


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < 4096:
        raise SystemExit(f"1,000 streams need 4,096 open files; the limit here is {hard} (ulimit -Hn).")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--mock-port", type=int, default=0, help="fixed, so that peers can be pointed at it")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PORT[,model=…,key=…,path=…]")
    parser.add_argument("--output", default=str(HERE / "results"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
