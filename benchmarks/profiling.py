"""Where the CPU time of a request goes: `python -m benchmarks.profiling`, or `make profile`.

Samples the proxy under the busy scenario with py-spy, which must be on the PATH (or named by
PYSPY). Writes the flame graph, and the table of layers in docs/performance.md.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks import publishing
from benchmarks.bench import built_field
from benchmarks.candidates import ROOT, Candidate, ask
from benchmarks.scenarios import BUSY, measure
from benchmarks.summary import versions

GRAPH = ROOT / "docs" / "images" / "flamegraph.svg"
_SECONDS = 10
_HERTZ = 250
# py-spy makes its own command line the heading, paths of this machine and all.
_COMMAND = re.compile(r"(<text[^>]*>)([^<]*py-spy[^<]*)(<)")

# A sample belongs to the layer of its innermost frame that is in one of these files; of two
# that fit, to the first. What C code below a frame does (sockets, JSON) counts to the frame.
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("log line and record", ("logging/", "proxy_site/logs.py", "api/services/recording/")),
    ("metrics, tracing", ("api/services/metrics/", "api/services/gauges.py", "api/services/tracing/")),
    ("rate limits", ("api/services/limits", "routing/domain/limits.py")),
    ("key check", ("api/auth.py", "routing/domain/keys.py", "routing/domain/access.py", "routing/access.py")),
    ("model, plan, cooldowns", ("routing/", "api/services/cooldowns/")),
    (
        "the upstream call: pool, socket",
        (
            "api/services/pool/",
            "api/services/transport.py",
            "api/services/aiohttp_transport.py",
            "api/services/upstream.py",
            "proxy_site/pool",
        ),
    ),
    (
        "request and reply as dialects have them, JSON",
        (
            "api/services/translation/",
            "api/services/exchange",
            "api/services/providers/",
            "api/services/wire",
        ),
    ),
    ("attempts and their order", ("api/services/",)),
    (
        "the client's connection: uvicorn, socket",
        ("uvicorn/", "proxy_site/http_protocol.py", "proxy_site/direct_c", "proxy_site/bounded"),
    ),
    (
        "Django, DRF, our view and handler",
        ("django/", "rest_framework/", "proxy_site/", "api/"),
    ),
)
REST = "event loop and interpreter"


class NoProfiler(Exception):
    """py-spy is not there, or may not look at our processes."""


def main() -> None:
    program = os.environ.get("PYSPY") or shutil.which("py-spy")
    if program is None:
        raise SystemExit("py-spy is missing: `pipx install py-spy`, or name it: PYSPY=/path/to/py-spy")
    with tempfile.TemporaryDirectory() as folder, built_field(0) as field:
        field.mock()
        candidate = field.patchbay(is_guard=True)[0]
        ask(candidate)
        stacks = Path(folder) / "stacks"
        cost = _record(program, candidate, "raw", stacks, field.folder)
        graph = Path(folder) / "graph.svg"
        _record(program, candidate, "flamegraph", graph, field.folder)
        GRAPH.write_text(_COMMAND.sub(r"\1Patchbay under 32 connections\3", graph.read_text()))
        shares = share_out(stacks.read_text().splitlines())
    found = versions()
    table = _table(shares, cost, f"commit `{found['commit'][:12]}`, Python {found['python']}")
    page = publishing.PAGE.read_text()
    publishing.PAGE.write_text(
        publishing.fill(page, {"layers": table}, leave=publishing.names(page, "layers"))
    )
    print(table)
    print(f"Written: {GRAPH.relative_to(ROOT)} and {publishing.PAGE.relative_to(ROOT)}.")


def _record(program: str, candidate: Candidate, form: str, target: Path, folder: Path) -> float:
    """Samples while the load runs; returns CPU ms per request, the profiler's own halts left out."""
    command = [program, "record", "--format", form, "--rate", str(_HERTZ), "--duration", str(_SECONDS)]
    profiler = subprocess.Popen(
        [*command, "--output", str(target), "--pid", str(candidate.pid)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        found = measure(replace(BUSY, seconds=_SECONDS), candidate, folder)
        _, errors = profiler.communicate(timeout=60)
    finally:
        profiler.kill()
    if profiler.returncode or not target.exists():
        raise NoProfiler(f"py-spy failed: {errors[-1000:]}")
    return float(found["cpu_ms_per_request"])


def share_out(stacks: Iterable[str]) -> dict[str, float]:
    """The share of each layer, of all samples of the event loop's thread; largest first."""
    counts: Counter[str] = Counter()
    for line in stacks:
        frames, _, number = line.rpartition(" ")
        if not number.isdecimal() or "(threading.py" in frames:
            continue
        counts[_layer(frames.split(";"))] += int(number)
    total = counts.total()
    return {name: count / total for name, count in counts.most_common()} if total else {}


def _layer(frames: list[str]) -> str:
    for frame in reversed(frames):
        place = frame.rpartition(" (")[2]
        for name, files in LAYERS:
            if any(file in place for file in files):
                return name
    return REST


def _table(shares: dict[str, float], cost: float, what: str) -> str:
    rows = [f"| {name} | {share:.0%} | {share * cost * 1e3:.0f} |" for name, share in shares.items()]
    head = ["| part | share | µs per request |", "|---|---|---|"]
    note = (
        f"py-spy, {_HERTZ} Hz, {_SECONDS} s, 32 connections, relay, {what}; "
        f"{cost:.3f} CPU ms per request while watched."
    )
    return "\n".join([*head, *rows, "", note]) + "\n"


if __name__ == "__main__":
    try:
        main()
    except NoProfiler as problem:
        sys.exit(str(problem))
