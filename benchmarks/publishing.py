"""Puts a run into docs/performance.md: `python -m benchmarks.publishing RESULTS.json`.

What stands between two markers is replaced, the text around them is people's:

    <!-- generated: goals -->
    …
    <!-- /generated -->
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks import chart, tables
from benchmarks.candidates import ROOT

PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "images" / "performance.svg"

_MARKED = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)


class UnknownMarker(Exception):
    """The page asks for a table that no run gives, or the run gives one that the page has no place for."""


def publish(results: Path) -> None:
    report = json.loads(results.read_text())
    source = f"Every round is in [`{results.name}`](../benchmarks/results/{results.name}).\n"
    parts = {**tables.every_table(report), "source": source}
    PAGE.write_text(fill(PAGE.read_text(), parts, leave=("layers",)))
    CHART.write_text(chart.draw(tables.without_peers(report)))
    print(f"Published: {PAGE.relative_to(ROOT)} and {CHART.relative_to(ROOT)}.")


def names(page: str, *other_than: str) -> tuple[str, ...]:
    """The names of all markers but these."""
    return tuple(found["name"] for found in _MARKED.finditer(page) if found["name"] not in other_than)


def fill(page: str, parts: Mapping[str, str], *, leave: tuple[str, ...] = ()) -> str:
    """The page with each of `parts` between its markers. Those of `leave` stay as they are."""
    places = {found["name"] for found in _MARKED.finditer(page)} - set(leave)
    if places != parts.keys():
        wrong = ", ".join(sorted(places ^ parts.keys()))
        raise UnknownMarker(f"The markers of the page and the tables of the run differ: {wrong}.")

    def replaced(found: re.Match[str]) -> str:
        name = found["name"]
        return found[0] if name in leave else f"{found[1]}{parts[name].rstrip()}\n{found[3]}"

    return _MARKED.sub(replaced, page)


if __name__ == "__main__":
    publish(Path(sys.argv[1]))
