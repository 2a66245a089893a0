"""Runs the benchmark: `python -m benchmarks.bench`. See README.md.

Candidates are interleaved (every one once, then every one again), so that a neighbour's
load falls on all of them, and each figure is the median over the rounds. Compare figures
within one run only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import chart, goals, guard, processes, publishing, tables
from benchmarks.candidates import HERE, ROOT, Candidate, Field, ask, open_field
from benchmarks.imports import measure_imports
from benchmarks.peers import find, read_settings
from benchmarks.rebuilding import measure_rebuilds
from benchmarks.scenarios import BUSY, LARGE_SCENARIOS, SCENARIOS, STREAMS, Scenario, is_for, measure
from benchmarks.summary import flatten, summarize, versions

_PACKAGES = {
    "nginx": "nginx-light libnginx-mod-http-lua (or nginx-extras)",
    "wrk": "wrk",
    "gcc": "gcc libc6-dev",
}
_GUARD_RUNS = 3


def main() -> None:
    options = _options()
    _check_tools()
    _raise_file_limit()
    # So that what was started is stopped, however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with built_field(options.mock_port) as field:
        if options.guard:
            sys.exit(_guard(field))
        report = _run(field, options)
    target = Path(options.output)
    target.mkdir(parents=True, exist_ok=True)
    stem = target / report["machine"]["time"][:16].replace(":", "")
    stem.with_suffix(".json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    stem.with_suffix(".svg").write_text(chart.draw(tables.without_peers(report)))
    print("\n".join(tables.every_table(report).values()))
    print(f"Written: {stem}.json and .svg, in {report['seconds']:.0f} s.")
    if options.publish:
        publishing.publish(stem.with_suffix(".json"))


@contextmanager
def built_field(mock_port: int) -> Iterator[Field]:
    with tempfile.TemporaryDirectory(prefix="patchbay-bench-") as name:
        folder = Path(name)
        subprocess.run(["gcc", "-O2", "-o", str(folder / "load"), str(HERE / "load.c")], check=True)
        with open_field(folder, mock_port) as field:
            yield field


def _run(field: Field, options: argparse.Namespace) -> dict[str, Any]:
    began = time.monotonic()
    load_before = os.getloadavg()
    references = [
        field.mock(),
        field.nginx(),
        field.python("floor", "benchmarks.floor"),
        field.python("aiohttp", "benchmarks.ref_aiohttp"),
    ]
    large, database, spare_key = field.large_patchbay()
    peers = [candidate for text in options.peer for candidate in _peers(field, text)]
    candidates = [*references, *field.patchbay(), large, *peers]
    for candidate in candidates:
        ask(candidate)
    rounds = _rounds(field, candidates, SCENARIOS, range(1, options.rounds + 1))
    loaded = [candidate for candidate in candidates if not candidate.is_variant and not candidate.is_peer]
    rounds += _rounds(field, loaded, LARGE_SCENARIOS, (1,))
    names = [scenario.name for scenario in (*SCENARIOS, *LARGE_SCENARIOS)]
    summary = summarize(rounds, [candidate.name for candidate in candidates], names)
    facts = next(candidate.facts for candidate in candidates if candidate.name == "patchbay")
    extras = {
        "changes": measure_rebuilds(large, database, field.folder, spare_key),
        "imports": measure_imports(field.environment(), str(ROOT)),
        "large_catalog": large.facts,
    }
    return {
        "machine": processes.machine(),
        "load_average": {"before": load_before, "after": os.getloadavg()},
        "versions": versions(),
        "rounds_asked": options.rounds,
        "seconds": time.monotonic() - began,
        "facts": facts,
        "peers": {
            peer.name: {"version": peer.version, "connections": peer.connections, "only": peer.only}
            for peer in peers
        },
        **extras,
        "goals": goals.judge(summary, facts, extras["changes"]),
        "summary": summary,
        "rounds": rounds,
    }


def _rounds(
    field: Field, candidates: Iterable[Candidate], scenarios: Sequence[Scenario], numbers: Iterable[int]
) -> list[dict[str, Any]]:
    found = []
    for number in numbers:
        for scenario in scenarios:
            for candidate in candidates:
                if not is_for(scenario, candidate):
                    continue
                figures = measure(scenario, candidate, field.folder)
                found.append(
                    {"round": number, "scenario": scenario.name, "candidate": candidate.name, **figures}
                )
                print(
                    f"{number} {scenario.name:<17} {candidate.name:<38} {_line(figures)}",
                    file=sys.stderr,
                    flush=True,
                )
    return found


def _guard(field: Field) -> int:
    """Ours against the floor and the aiohttp proxy, three times; 1 where a goal was clearly missed twice."""
    field.mock()
    candidates = [
        field.python("floor", "benchmarks.floor"),
        field.python("aiohttp", "benchmarks.ref_aiohttp"),
        *field.patchbay(is_guard=True),
    ]
    for candidate in candidates:
        ask(candidate)
    runs = []
    for number in range(1, _GUARD_RUNS + 1):
        rounds = _rounds(field, candidates, (BUSY, STREAMS), (number,))
        runs.append(
            goals.judge(
                summarize(rounds, [each.name for each in candidates], [BUSY.name, STREAMS.name]), {}, {}
            )
        )
    verdicts = guard.judge_runs(runs)
    print(guard.report(verdicts))
    return 1 if any(verdict.is_missed for verdict in verdicts) else 0


def _line(found: dict[str, Any]) -> str:
    flat = flatten(found)
    shown = (
        "rps",
        "cpu_ms_per_request",
        "cpu_us_per_chunk",
        "p50_ms",
        "p99_ms",
        "chunk_p99_ms",
        "grown_mib",
        "errors",
        "stuck",
    )
    return "  ".join(f"{name} {flat[name]:.4g}" for name in shown if flat.get(name) is not None)


def _peers(field: Field, text: str) -> list[Candidate]:
    """NAME is one that peers.toml knows; `NAME=PORT[,SETTING=…]` one that the reader has started."""
    name, mark, rest = text.partition("=")
    if not mark:
        return field.peer(find(name))
    port, _, settings = rest.partition(",")
    given = read_settings(settings)
    if unknown := set(given["only"]) - {scenario.name for scenario in SCENARIOS}:
        raise SystemExit(f"--peer {text}: there is no scenario {', '.join(sorted(unknown))}.")
    return [Candidate(name, int(port), processes.listener(int(port)), is_peer=True, **given)]


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
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME[=PORT,…]",
        help="another gateway (benchmarks/peers/README.md)",
    )
    parser.add_argument("--output", default=str(HERE / "results"))
    parser.add_argument("--publish", action="store_true", help="write the tables of docs/performance.md too")
    parser.add_argument(
        "--guard",
        action="store_true",
        help="only ours against two references, three times; exit 1 where a goal is exceeded by 15 %% twice",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
