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

from tests.chaos import cells, events, report, rig
from tests.chaos.faults import ANTHROPIC, HTTP, OPENAI
from tests.chaos.rig import ALONE, NEXT_DEPLOYMENT, speaks

AT_ONCE = 8


async def main(*, writes: bool) -> int:
    count = int(os.environ.get("CHAOS_COUNT", "20"))
    seconds = float(os.environ.get("CHAOS_SECONDS", "60"))
    problems: list[str] = []
    began = time.monotonic()

    def say(line: str, found: tuple[str, ...] | list[str]) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)
        for problem in found:
            print(f"          PROBLEM: {problem[:1500]}", flush=True)
            problems.append(f"{line}: {problem}")

    results, cuts = [], []
    # Cooldowns off: each request is to meet the fault.
    with rig.start({"COOLDOWN_AFTER": "0"}) as whole:
        todo = cells.all_cells()
        for number, cell in enumerate(todo, 1):
            slow = cell.fault.place != HTTP or "silence" in cell.fault.name
            result = await cells.run(whole, cell, count=count, at_once=count if slow else min(count, AT_ONCE))
            results.append(result)
            say(f"{number}/{len(todo)} {cell}: {result.tally.sent}", result.problems)
        for dialect in (OPENAI, ANTHROPIC):
            for stream in (False, True):
                for setup in (ALONE, NEXT_DEPLOYMENT):
                    tally, length, found = await cells.cut_everywhere(
                        whole, dialect=dialect, stream=stream, setup=setup, step=1, at_once=AT_ONCE
                    )
                    name = f"{speaks(dialect)}, {'stream' if stream else 'whole reply'}, {setup}"
                    cuts.append((name, tally, length))
                    say(f"cut everywhere: {name}: {tally.sent}", found)
        tracebacks = whole.server.log().count("Traceback (most recent call last)")
    if tracebacks:
        problems.append(f"{tracebacks} tracebacks in the log")
    happened = []
    for event in (
        events.database_file_away(seconds),
        events.database_locked(seconds),
        events.postgres_away(seconds),
        events.valkey_away(seconds),
        events.worker_killed(),
        events.rolling_restart(),
        events.terminated(10, replies_last=1.0),
        events.terminated(1, replies_last=6.0),
        events.clients_leave(200),
    ):
        outcome = await event
        happened.append(outcome)
        say(f"{outcome.name}: {outcome.tally} ({outcome.note})", outcome.problems)
    if writes:
        day = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
        report.write(report.render(results, cuts, happened, tracebacks=tracebacks, day=day))
    total = report.merged([*(r.tally for r in results), *(c[1] for c in cuts), *(e.tally for e in happened)])
    print(f"\n{total}\n{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(writes="--dry" not in sys.argv[1:])))
