"""The overrides that the admin accepts are those that the translation reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services.translation import capabilities as translation
from routing.domain.capabilities import OVERRIDES, problem_with_overrides

JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 10**9)
    | st.floats(allow_nan=False)
    | st.sampled_from(
        ["none", "budget", "adaptive", "always", "refused", "one_of", "both", "low", "2026-11-30", "x"]
    ),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=2),
    max_leaves=4,
)


def test_both_know_the_same_names() -> None:
    assert list(OVERRIDES) == list(translation.OVERRIDES)


@given(st.dictionaries(st.sampled_from([*OVERRIDES, "unknown"]), JSON_VALUES, max_size=3))
def test_both_accept_the_same_values(overrides: dict[str, Any]) -> None:
    accepted = problem_with_overrides(overrides) is None
    assert accepted == (translation.check_overrides(overrides) == [])


@pytest.mark.parametrize("wrong", [[], "x", None, 3])
def test_overrides_are_an_object(wrong: Any) -> None:
    assert "JSON object" in (problem_with_overrides(wrong) or "")


def test_a_refusal_names_what_is_possible() -> None:
    assert "max_output_tokens" in (problem_with_overrides({"max_tokens": 3}) or "")
    assert "low, medium" in (problem_with_overrides({"efforts": ["huge"]}) or "")
