"""The kinds of load, and what is read from each."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.candidates import Candidate, request_bytes

_WRK_REPORT = """
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('\\nRESULT {"finished":%d,"seconds":%f,"errors":%d,"p50_ms":%f,"p99_ms":%f}\\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`for_variants`: also measured for variants of the proxy, of which only CPU is wanted.

    `request_mb` and `reply_mb` make bodies large; `watched_every` is how often memory is
    looked at, in seconds.
    """

    name: str
    connections: int
    rounds: int = 1
    interval_ms: float = 0
    seconds: int = 0
    pace: str = ""
    request_mb: int = 0
    reply_mb: int = 0
    watched_every: float = 0.25
    for_variants: bool = False

    @property
    def is_stream(self) -> bool:
        return bool(self.pace)

    @property
    def prompt(self) -> str:
        """What tells the mock how to answer (mock/mock.lua)."""
        if self.is_stream:
            return f"pace={self.pace}"
        return f"megabytes={self.reply_mb}." if self.reply_mb else "Hello."


BUSY = Scenario("busy", connections=32, seconds=3, for_variants=True)
STREAMS = Scenario("streams", connections=200, rounds=2, pace="60x20")
SCENARIOS = (
    BUSY,
    Scenario("unloaded", connections=1, rounds=500),
    Scenario("burst", connections=20, rounds=8, interval_ms=200),
    STREAMS,
    Scenario("many streams", connections=1000, rounds=2, pace="60x20"),
)
LARGE_SCENARIOS = (
    Scenario("request of 5 MB", connections=1, rounds=8, request_mb=5, watched_every=0.02),
    Scenario("request of 20 MB", connections=1, rounds=4, request_mb=20, watched_every=0.02),
    Scenario("reply of 2 MB", connections=1, rounds=10, reply_mb=2, watched_every=0.02),
    Scenario("reply of 10 MB", connections=1, rounds=4, reply_mb=10, watched_every=0.02),
    Scenario("stream of 10,000", connections=1, rounds=20, pace="10000x0", watched_every=0.02),
    Scenario("stream of 100,000", connections=1, rounds=2, pace="100000x0", watched_every=0.02),
)


def measure(scenario: Scenario, candidate: Candidate, folder: Path) -> dict[str, Any]:
    """One round's figures. What was not answered is counted under `errors` and `stuck`."""
    scenario = replace(scenario, connections=connections(scenario, candidate))
    began = processes.cpu_seconds(candidate.pid)
    before = processes.look(candidate.pid)
    with processes.Watch(candidate.pid, scenario.watched_every) as watch:
        send = _wrk if scenario.seconds else _load
        found = send(scenario, candidate, folder)
    ended = processes.cpu_seconds(candidate.pid)
    used, user = ended[0] - began[0], ended[1] - began[1]
    if found["finished"]:
        found["cpu_ms_per_request"] = used * 1e3 / found["finished"]
        found["user_ms_per_request"] = user * 1e3 / found["finished"]
        if megabytes := scenario.request_mb or scenario.reply_mb:
            found["cpu_ms_per_mb"] = found["cpu_ms_per_request"] / megabytes
    if scenario.is_stream and (chunks := (found["chunk"] or {}).get("count")):
        found["cpu_us_per_chunk"] = used * 1e6 / chunks
        found["chunks_per_second"] = chunks / found["seconds"]
    found["rps"] = found["finished"] / found["seconds"]
    found["peak_pss_mib"] = round(watch.peak.pss_mib, 1)
    found["grown_mib"] = round(max(0.0, watch.peak.pss_mib - before.pss_mib), 1)
    found["threads"] = watch.peak.threads
    return found


def is_for(scenario: Scenario, candidate: Candidate) -> bool:
    if candidate.is_variant:
        return scenario.for_variants
    return not candidate.only or scenario.name in candidate.only


def connections(scenario: Scenario, candidate: Candidate) -> int:
    return min(scenario.connections, candidate.connections or scenario.connections)


def _wrk(scenario: Scenario, candidate: Candidate, folder: Path) -> dict[str, Any]:
    headers, body = request_bytes(candidate, prompt=scenario.prompt, is_stream=False)
    script = folder / "wrk.lua"
    lines = ['wrk.method = "POST"', f"wrk.body = {_lua_string(body.decode())}"]
    lines += [f"wrk.headers[{_lua_string(name)}] = {_lua_string(value)}" for name, value in headers.items()]
    script.write_text("\n".join(lines) + _WRK_REPORT)
    done = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{scenario.connections}",
            f"-d{scenario.seconds}s",
            "-s",
            str(script),
            f"http://127.0.0.1:{candidate.port}{candidate.path}",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=scenario.seconds + 30,
    )
    found = read_wrk(done.stdout)
    if found is None:
        raise SystemExit(f"wrk failed on {candidate.name}: {done.stderr or done.stdout}")
    return found


def read_wrk(output: str) -> dict[str, Any] | None:
    """The figures that our script has wrk print at its end; None where it did not get so far."""
    _, mark, report = output.partition("\nRESULT ")
    return _json(report.splitlines()[0]) if mark else None


def _load(scenario: Scenario, candidate: Candidate, folder: Path) -> dict[str, Any]:
    headers, body = request_bytes(
        candidate, prompt=scenario.prompt, is_stream=scenario.is_stream, image_mb=scenario.request_mb
    )
    head = [f"POST {candidate.path} HTTP/1.1", f"host: 127.0.0.1:{candidate.port}"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    head += [f"content-length: {len(body)}", "", ""]
    wire = folder / "request"
    wire.write_bytes("\r\n".join(head).encode() + body)
    done = subprocess.run(
        [
            str(folder / "load"),
            str(candidate.port),
            str(wire),
            str(scenario.connections),
            str(scenario.rounds),
            str(scenario.interval_ms),
            "60",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    if done.returncode:
        raise SystemExit(f"load failed on {candidate.name}: {done.stderr}")
    return _json(done.stdout)


def _json(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def _lua_string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
