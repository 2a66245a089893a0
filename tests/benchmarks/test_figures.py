"""What wrk prints, what the rounds say together, whose samples are whose."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from benchmarks import processes
from benchmarks.profiling import REST, share_out
from benchmarks.scenarios import read_wrk
from benchmarks.summary import flatten, summarize

WRK = """Running 3s test @ http://127.0.0.1:8000/v1/chat/completions
  1 threads and 32 connections
Requests/sec:   3100.20

RESULT {"finished":9300,"seconds":3.000110,"errors":2,"p50_ms":9.1,"p99_ms":20.5}
"""


def test_wrk_s_figures_are_those_that_our_script_prints() -> None:
    found = read_wrk(WRK)
    assert found is not None
    assert (found["finished"], found["errors"], found["p99_ms"]) == (9300, 2, 20.5)
    assert read_wrk("unable to connect to 127.0.0.1:8000 Connection refused") is None


def one(candidate: str, scenario: str, **figures: Any) -> dict[str, Any]:
    return {"round": 1, "candidate": candidate, "scenario": scenario, **figures}


def test_figures_are_medians_and_errors_the_worst_round_s() -> None:
    rounds = [one("patchbay", "busy", rps=rps, errors=errors) for rps, errors in ((3, 0), (1, 5), (2, 0))]
    assert summarize(rounds, ["patchbay"], ["busy"]) == {"patchbay": {"busy": {"rps": 2, "errors": 5}}}


def test_added_latency_is_over_the_mock_s_own() -> None:
    rounds = [
        one("direct", "unloaded", total={"p50_ms": 0.1, "p99_ms": 0.2}),
        one("patchbay", "unloaded", total={"p50_ms": 0.4, "p99_ms": 1.2}),
    ]
    found = summarize(rounds, ["direct", "patchbay"], ["unloaded"])["patchbay"]["unloaded"]
    assert found["added_p50_ms"] == pytest.approx(0.3)
    assert found["added_p99_ms"] == pytest.approx(1.0)


def test_what_a_scenario_has_no_figure_for_is_left_out() -> None:
    assert flatten({"round": 3, "total": {"count": 4}, "chunk": None, "name": "x", "rps": 2}) == {
        "count": 4,
        "rps": 2,
    }


def test_a_sample_belongs_to_the_innermost_frame_that_is_ours() -> None:
    stacks = [
        "main (manage.py:18);run (uvicorn/server.py:70);serve (api/services/gateway.py:90);find (api/auth.py:9) 3",
        "main (manage.py:18);run (uvicorn/server.py:70);emit (logging/__init__.py:10);f (json/encoder.py:1) 2",
        "main (manage.py:18);run (uvicorn/server.py:70) 4",
        "main (manage.py:18) 1",
        "_bootstrap (threading.py:1002);_run (routing/lookup/watcher.py:91) 50",
        "not a stack",
    ]
    shares = share_out(stacks)
    assert shares == pytest.approx(
        {
            "the client's connection: uvicorn, socket": 0.4,
            "key check": 0.3,
            "log line and record": 0.2,
            REST: 0.1,
        }
    )
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert share_out([]) == {}


_SPENDER = """
import sys, time
time.sleep(0.3)
while time.process_time() < 0.3:
    pass
print(time.process_time(), flush=True)
sys.stdin.read()
"""


def test_cpu_time_is_what_was_spent_and_not_what_went_by() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _SPENDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        spent = float(child.stdout.readline())
        counted, user = processes.cpu_seconds(child.pid)
        child.communicate()
    # Of a thread that runs, the scheduler counts up to its last tick.
    assert counted == pytest.approx(spent, abs=0.05)
    assert user <= counted + 0.05
