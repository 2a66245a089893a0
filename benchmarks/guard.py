"""Whether a change made us slower: a goal counts as missed where two runs of three exceed it by 15 %."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SLACK = 1.15
MISSES = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    goal: str
    bound: float
    measured: tuple[float, ...]

    @property
    def is_missed(self) -> bool:
        return sum(value > self.bound * SLACK for value in self.measured) >= MISSES


def judge_runs(runs: Sequence[Sequence[dict[str, Any]]]) -> list[Verdict]:
    """`runs` are the goals of each run, as `goals.judge` gives them."""
    bounds = {goal["goal"]: goal["at_most"] for run in runs for goal in run if "at_most" in goal}
    return [
        Verdict(name, bound, tuple(goal["measured"] for run in runs for goal in run if goal["goal"] == name))
        for name, bound in bounds.items()
    ]


def report(verdicts: Sequence[Verdict]) -> str:
    lines = []
    for verdict in verdicts:
        measured = ", ".join(f"{value:.2f}" for value in verdict.measured)
        word = "MISSED" if verdict.is_missed else "kept"
        lines.append(f"{word:<6}  {verdict.goal}: {measured}  (at most {verdict.bound:g}, and 15 % more)")
    return "\n".join(lines)
