"""The tables of docs/reliability.md, made from a run. PURE but for the writing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.chaos.cells import Result
from tests.chaos.events import EventResult
from tests.chaos.load import Tally
from tests.chaos.outcomes import Outcome
from tests.chaos.rig import ALONE, FALLBACK_MODEL, NEXT_DEPLOYMENT

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN: Final = "<!-- tables: begin (make chaos) -->"
END: Final = "<!-- tables: end -->"

CutEverywhere = tuple[str, Tally, int]
"""What was cut and how it was served; the outcomes; how many bytes the reply has."""


def render(
    results: Sequence[Result],
    cuts: Sequence[CutEverywhere],
    events: Sequence[EventResult],
    *,
    tracebacks: int,
    day: str,
) -> str:
    """The whole text between the marks."""
    total = merged([*(r.tally for r in results), *(c[1] for c in cuts), *(e.tally for e in events)])
    return "\n".join(
        [
            BEGIN,
            f"Run on {day}: **{total.sent:,} requests, {total.outcomes[Outcome.WRONG]} wrong outcomes**, "
            f"{total.outcomes[Outcome.ANSWERED]:,} answered, {total.outcomes[Outcome.FAILED]:,} with an HTTP error, "
            f"{total.outcomes[Outcome.BROKEN_OFF]:,} streams ended by an error event, "
            f"{total.outcomes[Outcome.CUT]} cut (by the worker that was killed), "
            f"{total.outcomes[Outcome.NOT_TAKEN]} not taken (by a proxy that had stopped); "
            f"{tracebacks} tracebacks in the logs.",
            "",
            "### Upstreams that fail",
            "",
            *_fault_rows(results),
            "",
            "### A reply cut behind each of its bytes",
            "",
            *_cut_rows(cuts),
            "",
            "### The proxy, and what it leans on",
            "",
            *_event_rows(events),
            END,
        ]
    )


def write(text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(before + text + rest.split(END)[1], encoding="utf-8")


def merged(tallies: Iterable[Tally]) -> Tally:
    whole = Tally()
    for tally in tallies:
        whole.sent += tally.sent
        whole.outcomes += tally.outcomes
        whole.codes += tally.codes
    return whole


def _fault_rows(results: Sequence[Result]) -> Iterable[str]:
    yield (
        "| fault | sent | alone, whole reply | alone, stream | next deployment, whole reply / stream "
        "| fallback model, whole reply / stream | wrong |"
    )
    yield "|---|---|---|---|---|---|---|"
    names = dict.fromkeys(result.cell.fault.name for result in results)
    for name in names:
        rows = [result for result in results if result.cell.fault.name == name]
        total = merged(row.tally for row in rows)
        shown = {
            (setup, stream): _told(
                merged(r.tally for r in rows if r.cell.setup == setup and r.cell.stream is stream)
            )
            for setup in (ALONE, NEXT_DEPLOYMENT, FALLBACK_MODEL)
            for stream in (False, True)
        }
        yield (
            f"| {name} | {total.sent} | {shown[ALONE, False]} | {shown[ALONE, True]} "
            f"| {_pair(shown, NEXT_DEPLOYMENT)} | {_pair(shown, FALLBACK_MODEL)} "
            f"| {total.outcomes[Outcome.WRONG]} |"
        )


def _pair(shown: dict[tuple[str, bool], str], setup: str) -> str:
    whole, stream = shown[setup, False], shown[setup, True]
    return whole if whole == stream else f"{whole} / {stream}"


def _cut_rows(cuts: Sequence[CutEverywhere]) -> Iterable[str]:
    yield "| reply | bytes | sent | outcomes | wrong |"
    yield "|---|---|---|---|---|"
    for name, tally, length in cuts:
        yield f"| {name} | {length} | {tally.sent} | {_told(tally)} | {tally.outcomes[Outcome.WRONG]} |"


def _event_rows(events: Sequence[EventResult]) -> Iterable[str]:
    yield "| what happens | expected | sent | outcomes | lost | wrong | remarks |"
    yield "|---|---|---|---|---|---|---|"
    for event in events:
        yield (
            f"| {event.name} | {event.expected} | {event.tally.sent} | {_told(event.tally)} | {event.lost} "
            f"| {event.tally.outcomes[Outcome.WRONG]} | {event.note} |"
        )


def _told(tally: Tally) -> str:
    if tally.sent and tally.outcomes[Outcome.ANSWERED] == tally.sent:
        return "all answered"
    parts: list[str] = []
    counts: Counter[Outcome] = tally.outcomes
    for outcome in Outcome:
        if counts[outcome]:
            parts.append(f"{counts[outcome]} {outcome}")
    if tally.codes:
        parts.append(", ".join(f"`{code}`" for code in sorted(tally.codes)))
    return "; ".join(parts) or "–"
