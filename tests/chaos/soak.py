"""`make soak`: steady load for SOAK_SECONDS (600), and whether the memory of the workers stays where it was.

Everything at once: relays and translations, whole replies and streams, failing upstreams
behind some of them. Prints the first quarter against the last, in MiB (PSS) of the
process tree; ends with status 1 where it grew by more than SOAK_GROWTH (5 %) or any outcome was wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import time
from pathlib import Path

from tests.chaos import rig
from tests.chaos.events import workers_of
from tests.chaos.faults import ANTHROPIC, HTTP, OPENAI
from tests.chaos.load import SteadyLoad, word_of
from tests.chaos.outcomes import Outcome
from tests.chaos.report import merged
from tests.chaos.rig import ALONE, FALLBACK_MODEL, NEXT_DEPLOYMENT, Rig, model_name
from tests.fake_upstream import Answer, Behaviour, Cut, Json, RecordedRequest

SAMPLE_SECONDS = 5.0
MODELS = tuple(
    model_name(HTTP, dialect, setup)
    for dialect in (OPENAI, ANTHROPIC)
    for setup in (ALONE, NEXT_DEPLOYMENT, FALLBACK_MODEL)
)


async def main() -> int:
    seconds = float(os.environ.get("SOAK_SECONDS", "600"))
    growth = float(os.environ.get("SOAK_GROWTH", "0.05"))
    samples: list[float] = []
    with rig.start(workers=2) as whole:
        whole.troubled.on_request = _now_and_then
        loads = [SteadyLoad(whole.server.port, model, clients=4, pause=0.2) for model in MODELS]
        began = time.monotonic()
        async with contextlib.AsyncExitStack() as stack:
            for load in loads:
                await stack.enter_async_context(load)
            while (passed := time.monotonic() - began) < seconds:
                await asyncio.sleep(min(SAMPLE_SECONDS, seconds - passed))
                whole.troubled.forget()
                whole.well.forget()
                samples.append(_memory(whole))
                if len(samples) % 12 == 0:
                    total = merged(load.tally for load in loads)
                    print(f"{passed:5.0f} s  {total.sent:,} requests  {samples[-1]:.1f} MiB", flush=True)
        tracebacks = whole.server.log().count("Traceback (most recent call last)")
    total = merged(load.tally for load in loads)
    quarter = max(1, len(samples) // 4)
    first, last = statistics.median(samples[:quarter]), statistics.median(samples[-quarter:])
    print(f"\n{total}")
    print(f"{total.sent / seconds:.0f} requests/s for {seconds:.0f} s, two workers and their supervisor")
    print(f"memory: first quarter {first:.1f} MiB, last quarter {last:.1f} MiB ({last / first - 1:+.1%})")
    print(f"tracebacks in the log: {tracebacks}")
    wrong = total.count((Outcome.WRONG, Outcome.CUT, Outcome.NOT_TAKEN))
    return 1 if wrong or tracebacks or last > first * (1 + growth) else 0


def _now_and_then(request: RecordedRequest) -> Behaviour | None:
    """One request in ten meets a fault; which one depends on its word."""
    match sum(word_of(request).encode()) % 40:
        case 0 | 1:
            return Json(500, {"error": {"message": "a fault", "type": "x", "param": None, "code": None}})
        case 2:
            return Answer() + Cut(900)
        case 3:
            return Answer() + Cut(0, reset=True)
    return None


def _memory(whole: Rig) -> float:
    pids = {whole.server.pid} | workers_of(whole.server.pid)
    return sum(_pss(pid) for pid in pids)


def _pss(pid: int) -> float:
    """MiB of one process, what it shares counted by its share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no PSS of process {pid}")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
