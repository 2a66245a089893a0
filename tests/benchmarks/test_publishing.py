"""The page's tables come from a run; the words around them stay."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import chart
from benchmarks.goals import judge
from benchmarks.publishing import PAGE, UnknownMarker, fill, names
from benchmarks.tables import every_table
from tests.benchmarks.reports import CPU, make_report


def whole_report() -> dict[str, object]:
    report = make_report()
    return {**report, "goals": judge(report["summary"], report["facts"], report["changes"])}


def test_the_page_has_a_place_for_every_table_and_no_other() -> None:
    parts = {**every_table(whole_report()), "source": "the file"}
    page = fill(PAGE.read_text(), parts, leave=("layers",))
    assert "| patchbay | 0.240 | 0.216 |" in page
    assert "21 of the 21 goals that this run can judge are met, 0 missed." in page
    assert page.count("<!-- generated: ") == len(parts) + 1
    assert fill(page, parts, leave=("layers",)) == page, "doing it twice changes nothing"


def test_words_around_the_tables_stay() -> None:
    page = "before\n<!-- generated: goals -->\nold\nlines\n<!-- /generated -->\nafter\n"
    filled = fill(page, {"goals": "new\n"})
    assert filled == page.replace("old\nlines", "new")
    assert names(filled) == ("goals",)


def test_a_marker_without_a_table_is_an_error() -> None:
    with pytest.raises(UnknownMarker, match="goals, layers"):
        fill("<!-- generated: layers -->\n<!-- /generated -->", {"goals": ""})


def test_a_feature_s_cost_is_what_it_adds() -> None:
    assert "| bare | 0.200 | +40 µs | 0.83× |" in every_table(whole_report())["features"]


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    for name, text in every_table(whole_report()).items():
        for block in text.split("\n\n"):
            rows = [line for line in block.splitlines() if line.startswith("|")]
            assert len({row.count("|") for row in rows}) <= 1, name


def test_the_chart_shows_every_candidate_but_the_mock(tmp_path: Path) -> None:
    drawing = chart.draw(make_report()["summary"])
    texts = [element.text for element in ET.fromstring(drawing).iter() if element.tag.endswith("text")]
    assert all(name in texts for name in CPU if name != "direct")
    assert "direct" not in texts
    assert "0.240" in texts
