"""docs/translation.md is what the golden cases say, and says something of every parameter."""

from __future__ import annotations

import re
from typing import get_args

from anthropic.types import StopReason

from tests.conformance_evidence import bugs, stop_reasons
from tests.conformance_matrix import NOTES, PAGE, generate, parameters
from tests.golden_cases import load_cases

# Numbers of the bugs that made other gateways and clients suffer, and that must not come back here.
KNOWN_BUGS = {
    "BerriAI/litellm": [
        *(16525, 21464, 22947, 5231, 5232, 38809, 25322, 27051, 27074, 33687, 41424, 21761, 33573),
        *(40578, 32237, 38606, 38610, 26067),
    ],
    "maximhq/bifrost": [1961, 3512, 6342, 6547, 1935, 5629, 2469, 2048, 5395],
    "vercel/ai": [13013],
    "anthropics/claude-code": [8210],
    "QuantumNous/new-api": [5528, 3124],
    "google/adk-python": [5437],
}


def test_the_page_is_what_the_cases_generate() -> None:
    assert PAGE.read_text(encoding="utf-8") == generate(), "run `make matrix` and commit docs/translation.md"


def test_every_parameter_of_openai_s_request_type_is_on_the_page() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("## Request parameters")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) >= set(parameters())
    assert len(parameters()) > 30, "the SDK's type was not read"


def test_no_note_is_about_a_parameter_that_is_gone() -> None:
    assert set(NOTES) == set(parameters())


def test_links_lead_to_what_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?://)([^)]+)\)", text)
    assert len(targets) > 200
    for target in set(targets):
        assert (PAGE.parent / target).exists(), target


def test_every_stop_reason_of_the_sdk_is_mapped_by_a_case() -> None:
    # A paused turn is continued and never seen by a client: tests/api/test_streaming.py.
    assert {stop for stop, _ in stop_reasons()} >= set(get_args(StopReason)) - {"pause_turn"}


def test_every_known_bug_has_a_case() -> None:
    addresses = " ".join(bugs())
    for repository, numbers in KNOWN_BUGS.items():
        for number in numbers:
            assert re.search(rf"{repository}/(issues|pull)/{number}\b", addresses), f"{repository}#{number}"


def test_a_case_named_after_a_bug_names_its_address() -> None:
    for case in load_cases():
        if found := re.match(r"(?:litellm|bifrost|new-api|vercel|adk|claude-code)-(\d+)", case.name):
            assert found[1] in case.source, case.name
