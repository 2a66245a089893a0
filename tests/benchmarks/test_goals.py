"""A goal is a ratio within one run; the guard lets one bad run of three pass."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import guard
from benchmarks.goals import judge
from tests.benchmarks.reports import make_report


def judged(**changed: float) -> dict[str, dict[str, Any]]:
    report = make_report(**changed)
    return {goal["goal"]: goal for goal in judge(report["summary"], report["facts"], report["changes"])}


def test_every_goal_is_judged_by_a_whole_run() -> None:
    goals = judged()
    assert len(goals) == 21
    assert goals["CPU per request, to the aiohttp proxy"]["measured"] == pytest.approx(0.8)
    assert goals["CPU per request, to nginx"]["measured"] == pytest.approx(12)
    assert goals["all features, to the bare lane"]["measured"] == pytest.approx(1.2)
    assert goals["p99 while that catalog is rebuilt, to quiet"]["measured"] == pytest.approx(1.5)
    assert goals["idle memory of a worker"] == {
        "goal": "idle memory of a worker",
        "at_most": 95,
        "unit": " MiB",
        "measured": 80.0,
        "met": True,
    }
    assert all(goal["met"] for goal in goals.values())


def test_what_costs_more_misses_the_goal_it_concerns() -> None:
    goals = judged(patchbay=0.29)
    assert not goals["CPU per request, to the aiohttp proxy"]["met"]
    assert not goals["CPU per request, to the floor"]["met"]
    assert goals["1,000 streams: errors and stuck"]["met"]


def test_fewer_chunks_than_asked_are_a_miss() -> None:
    report = make_report()
    report["summary"]["patchbay"]["many streams"]["chunks_per_second"] = 30_000.0
    goals = {goal["goal"]: goal for goal in judge(report["summary"], {}, {})}
    assert goals["1,000 streams: chunks/s, to nginx"]["at_least"] == 0.85
    assert not goals["1,000 streams: chunks/s, to nginx"]["met"]


def test_what_was_not_measured_is_not_judged() -> None:
    report = make_report()
    summary = {name: report["summary"][name] for name in ("floor", "patchbay")}
    goals = {goal["goal"] for goal in judge(summary, {}, {})}
    assert "CPU per request, to the floor" in goals
    assert "CPU per request, to nginx" not in goals
    assert "start to first answer" not in goals


def runs(*measured: float, bound: float = 1.0) -> list[list[dict[str, Any]]]:
    return [[{"goal": "a goal", "at_most": bound, "measured": value}] for value in measured]


@pytest.mark.parametrize(
    ("measured", "is_missed"),
    [
        ((0.9, 0.9, 0.9), False),
        ((1.1, 1.14, 1.1), False),
        ((1.2, 0.9, 1.1), False),
        ((1.2, 0.9, 1.2), True),
        ((3.0, 3.0, 3.0), True),
    ],
)
def test_the_guard_speaks_up_where_two_runs_exceed_a_goal_by_15_percent(
    measured: tuple[float, ...], is_missed: bool
) -> None:
    (verdict,) = guard.judge_runs(runs(*measured))
    assert verdict.is_missed is is_missed
    assert ("MISSED" in guard.report([verdict])) is is_missed
