"""`make chaos`: every fault in every form, then docs/reliability.md's tables anew.

CHAOS_COUNT requests a cell (20), CHAOS_SECONDS of absence for databases and stores (60).
`--dry` writes nothing. Ends with status 1 where anything was not as expected.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import sys
import time
from collections.abc import Sequence

from tests.chaos import cells, events, report, rig
from tests.chaos.cells import Cell
from tests.chaos.faults import ANTHROPIC, HTTP, OPENAI
from tests.chaos.rig import ALONE, NEXT_DEPLOYMENT, Rig, speaks

AT_ONCE = 8

# Off: each request is to meet the fault.
NO_COOLDOWNS = {"COOLDOWN_AFTER": "0"}


class Run:
    """One run: what it found, told as it goes."""

    def __init__(self, *, count: int, seconds: float) -> None:
        self.results: list[cells.Result] = []
        self.cuts: list[report.CutEverywhere] = []
        self.events: list[events.EventResult] = []
        self.problems: list[str] = []
        self.tracebacks = 0
        self._count = count
        self._seconds = seconds
        self._began = time.monotonic()

    async def everything(self) -> None:
        todo = cells.all_cells()
        with rig.start(NO_COOLDOWNS) as whole:
            await self._cells(whole, [cell for cell in todo if cell.fault.share == 1])
            await self._cut_everywhere(whole)
            self._read_log(whole)
        # A proxy of their own for faults that are rare: lasting ones use the retries up.
        with rig.start(NO_COOLDOWNS) as whole:
            await self._cells(whole, [cell for cell in todo if cell.fault.share > 1])
            self._read_log(whole)
        await self._events()

    async def _cells(self, whole: Rig, todo: Sequence[Cell]) -> None:
        for number, cell in enumerate(todo, 1):
            is_slow = cell.fault.place != HTTP or "silence" in cell.fault.name
            at_once = self._count if is_slow else min(self._count, AT_ONCE)
            result = await cells.run(whole, cell, count=self._count, at_once=at_once)
            self.results.append(result)
            self._say(f"{number}/{len(todo)} {cell}: {result.tally.sent}", result.problems)

    async def _cut_everywhere(self, whole: Rig) -> None:
        for dialect in (OPENAI, ANTHROPIC):
            for stream in (False, True):
                for setup in (ALONE, NEXT_DEPLOYMENT):
                    tally, length, problems = await cells.cut_everywhere(
                        whole, dialect=dialect, stream=stream, setup=setup, step=1, at_once=AT_ONCE
                    )
                    name = f"{speaks(dialect)}, {'stream' if stream else 'whole reply'}, {setup}"
                    self.cuts.append((name, tally, length))
                    self._say(f"cut everywhere: {name}: {tally.sent}", problems)

    async def _events(self) -> None:
        for event in (
            events.database_file_away(self._seconds),
            events.database_locked(self._seconds),
            events.postgres_away(self._seconds),
            events.valkey_away(self._seconds),
            events.worker_killed(),
            events.rolling_restart(),
            events.terminated(10, replies_last=1.0),
            events.terminated(1, replies_last=6.0),
            events.clients_leave(200),
        ):
            result = await event
            self.events.append(result)
            self._say(f"{result.name}: {result.tally} ({result.note})", result.problems)

    def _read_log(self, whole: Rig) -> None:
        found = whole.server.log().count("Traceback (most recent call last)")
        self.tracebacks += found
        if found:
            self.problems.append(f"{found} tracebacks in the log")

    def _say(self, line: str, problems: Sequence[str]) -> None:
        print(f"{time.monotonic() - self._began:6.0f} s  {line}", flush=True)
        for problem in problems:
            print(f"          PROBLEM: {problem[:1500]}", flush=True)
            self.problems.append(f"{line}: {problem}")


def main(*, writes: bool) -> int:
    run = Run(
        count=int(os.environ.get("CHAOS_COUNT", "20")), seconds=float(os.environ.get("CHAOS_SECONDS", "60"))
    )
    asyncio.run(run.everything())
    if writes:
        day = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
        report.write(report.render(run.results, run.cuts, run.events, tracebacks=run.tracebacks, day=day))
    tallies = [*(r.tally for r in run.results), *(c[1] for c in run.cuts), *(e.tally for e in run.events)]
    print(f"\n{report.merged(tallies)}\n{len(run.problems)} problems")
    return 1 if run.problems else 0


if __name__ == "__main__":
    sys.exit(main(writes="--dry" not in sys.argv[1:]))
