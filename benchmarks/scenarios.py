"""The kinds of load, and what is read from each."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
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
    """`for_variants`: also measured for variants of the proxy, of which only CPU is wanted."""

    name: str
    connections: int
    rounds: int = 1
    interval_ms: float = 0
    seconds: float = 0
    pace: str = ""
    for_variants: bool = False

    @property
    def is_stream(self) -> bool:
        return bool(self.pace)


SCENARIOS = (
    Scenario("busy", connections=32, seconds=5, for_variants=True),
    Scenario("unloaded", connections=1, rounds=600),
    Scenario("burst", connections=20, rounds=15, interval_ms=200),
    Scenario("streams", connections=200, rounds=2, pace="60x20", for_variants=True),
    Scenario("many streams", connections=1000, rounds=2, pace="60x20"),
)


def measure(scenario: Scenario, candidate: Candidate, folder: Path) -> dict[str, Any]:
    """One round's figures. What was not answered is counted under `errors` and `stuck`."""
    user, system = processes.cpu_seconds(candidate.pid)
    with processes.Watch(candidate.pid) as watch:
        send = _wrk if scenario.seconds else _load
        found = send(scenario, candidate, folder)
    after = processes.cpu_seconds(candidate.pid)
    used = after[0] - user + after[1] - system
    if found["finished"]:
        found["cpu_ms_per_request"] = used * 1e3 / found["finished"]
        found["user_ms_per_request"] = (after[0] - user) * 1e3 / found["finished"]
    if scenario.is_stream and (chunks := (found["chunk"] or {}).get("count")):
        found["cpu_us_per_chunk"] = used * 1e6 / chunks
        found["chunks_per_second"] = chunks / found["seconds"]
    found["rps"] = found["finished"] / found["seconds"]
    found["peak_pss_mib"] = round(watch.peak.pss_mib, 1)
    found["threads"] = watch.peak.threads
    return found


def _wrk(scenario: Scenario, candidate: Candidate, folder: Path) -> dict[str, Any]:
    headers, body = request_bytes(candidate, prompt="Hello.", is_stream=False)
    script = folder / "wrk.lua"
    lines = ['wrk.method = "POST"', f"wrk.body = {_lua_string(body.decode())}"]
    lines += [f"wrk.headers[{_lua_string(name)}] = {_lua_string(value)}" for name, value in headers.items()]
    script.write_text("\n".join(lines) + _WRK_REPORT)
    done = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{scenario.connections}",
            f"-d{scenario.seconds:g}s",
            "-s",
            str(script),
            f"http://127.0.0.1:{candidate.port}{candidate.path}",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=scenario.seconds + 30,
    )
    _, mark, report = done.stdout.partition("\nRESULT ")
    if not mark:
        raise SystemExit(f"wrk failed on {candidate.name}: {done.stderr or done.stdout}")
    return _json(report.splitlines()[0])


def _load(scenario: Scenario, candidate: Candidate, folder: Path) -> dict[str, Any]:
    prompt = f"pace={scenario.pace}" if scenario.is_stream else "Hello."
    headers, body = request_bytes(candidate, prompt=prompt, is_stream=scenario.is_stream)
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
