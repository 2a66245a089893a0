"""What each model takes is found whatever stands around its name, and can be corrected."""

from __future__ import annotations

import dataclasses
from datetime import date
from typing import Any

import pytest

from api.services.translation.capabilities import (
    OVERRIDES,
    Capabilities,
    InvalidOverride,
    Sampling,
    Thinking,
    check_overrides,
    find_capabilities,
    override,
)
from routing.domain.capabilities import OVERRIDES as OFFERED_OVERRIDES
from routing.domain.capabilities import problem_with_overrides

OPUS_4_5 = find_capabilities("claude-opus-4-5")
NEWEST = find_capabilities("claude-opus-5-5")


@pytest.mark.parametrize(
    "upstream_id",
    [
        "claude-opus-4-5-20251101",
        "claude-opus-4-5-latest",
        "claude-opus-4-5@20251101",
        "Claude-Opus-4.5",
        "anthropic/claude-opus-4.5",
        "openrouter/anthropic/claude-opus-4-5",
        "us.anthropic.claude-opus-4-5-20251101-v1:0",
        "global.anthropic.claude-opus-4-5-20251101-v1:0",
        "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-opus-4-5-20251101-v1:0",
        "claude-opus-4-5-thinking-16k",
        "claude-opus-4-5:beta",
    ],
)
def test_a_model_is_known_under_every_provider_s_name_for_it(upstream_id: str) -> None:
    assert find_capabilities(upstream_id) == OPUS_4_5


@pytest.mark.parametrize(
    "upstream_id",
    [
        "claude-opus-4-9",
        "claude-sonnet-6",
        "claude-nova",
        "my-claude-opus-4-5-clone-2",
        "llama",
        "",
        "claude-",
    ],
)
def test_an_unknown_model_gets_the_newest_profile(upstream_id: str) -> None:
    assert find_capabilities(upstream_id) == NEWEST


@pytest.mark.parametrize(
    ("upstream_id", "retired_on"),
    [
        ("claude-3-5-sonnet-20241022", date(2025, 10, 28)),
        ("claude-3-5-haiku-20241022", date(2026, 2, 19)),
        ("claude-3-opus-20240229", date(2026, 1, 5)),
        ("claude-opus-4-20250514", date(2026, 6, 15)),
        ("claude-opus-4-0", date(2026, 6, 15)),
        ("claude-sonnet-4-5", date(2026, 11, 30)),
        ("claude-opus-4-5", None),
        ("gpt-4o", None),
    ],
)
def test_a_retired_model_says_since_when(upstream_id: str, retired_on: date | None) -> None:
    assert find_capabilities(upstream_id).retired_on == retired_on


@pytest.mark.parametrize(
    ("upstream_id", "window", "output", "thinking", "sampling"),
    [
        ("claude-opus-5-5", 1_000_000, 128_000, Thinking.ALWAYS, Sampling.REFUSED),
        ("claude-sonnet-5-5", 1_000_000, 128_000, Thinking.BETWEEN_TOOLS, Sampling.REFUSED),
        ("claude-haiku-5-5", 1_000_000, 128_000, Thinking.DEFAULT_ON, Sampling.REFUSED),
        ("claude-fable-5-1", 1_000_000, 128_000, Thinking.ALWAYS, Sampling.REFUSED),
        ("claude-opus-5", 1_000_000, 128_000, Thinking.DEFAULT_ON, Sampling.REFUSED),
        ("claude-opus-4-8", 1_000_000, 128_000, Thinking.ADAPTIVE, Sampling.REFUSED),
        ("claude-sonnet-4-6", 1_000_000, 128_000, Thinking.ADAPTIVE, Sampling.ONE_OF),
        ("claude-haiku-4-5", 200_000, 64_000, Thinking.BUDGET, Sampling.ONE_OF),
        ("claude-opus-4-1", 200_000, 32_000, Thinking.BUDGET, Sampling.ONE_OF),
        ("claude-sonnet-4", 200_000, 64_000, Thinking.BUDGET, Sampling.BOTH),
        ("claude-3-7-sonnet-latest", 200_000, 64_000, Thinking.BUDGET, Sampling.BOTH),
        ("claude-3-5-haiku-latest", 200_000, 8192, Thinking.NONE, Sampling.BOTH),
        ("claude-3-opus-20240229", 200_000, 4096, Thinking.NONE, Sampling.BOTH),
    ],
)
def test_the_table(
    upstream_id: str, window: int, output: int, thinking: Thinking, sampling: Sampling
) -> None:
    row = find_capabilities(upstream_id)
    assert (row.context_window, row.max_output_tokens) == (window, output)
    assert (row.thinking, row.sampling) == (thinking, sampling)


def test_who_takes_a_forced_tool_and_a_prefill() -> None:
    takes_forced = [
        "claude-opus-5",
        "claude-haiku-5-5",
        "claude-fable-5",
        "claude-mythos-5",
        "claude-opus-4-5",
    ]
    refuses_forced = ["claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-2", "claude-mythos-5-1"]
    assert all(find_capabilities(name).takes_forced_tool for name in takes_forced)
    assert not any(find_capabilities(name).takes_forced_tool for name in refuses_forced)
    assert find_capabilities("claude-opus-4-5").takes_prefill
    assert not find_capabilities("claude-opus-4-6").takes_prefill


def test_every_column_can_be_overridden_and_is_offered_in_the_admin() -> None:
    columns = {column.name for column in dataclasses.fields(Capabilities)}
    assert set(OVERRIDES) == columns
    assert set(OFFERED_OVERRIDES) == columns


def test_an_override_replaces_what_it_names() -> None:
    mapping = {
        "max_output_tokens": 1000,
        "thinking": "adaptive",
        "sampling": "refused",
        "efforts": ["max", "low"],
        "takes_prefill": False,
        "retired_on": "2027-01-31",
    }
    assert check_overrides(mapping) == []
    assert override(OPUS_4_5, mapping) == dataclasses.replace(
        OPUS_4_5,
        max_output_tokens=1000,
        thinking=Thinking.ADAPTIVE,
        sampling=Sampling.REFUSED,
        efforts=("low", "max"),
        takes_prefill=False,
        retired_on=date(2027, 1, 31),
    )
    assert override(OPUS_4_5, {}) is OPUS_4_5
    assert override(override(OPUS_4_5, mapping), {"retired_on": None}).retired_on is None


WRONG: list[dict[str, Any]] = [
    {"unknown": 1},
    {"max_output_tokens": 0},
    {"max_output_tokens": "many"},
    {"max_output_tokens": True},
    {"context_window": None},
    {"context_window": 1.5},
    {"thinking": "sometimes"},
    {"thinking": 3},
    {"sampling": None},
    {"efforts": "low"},
    {"efforts": ["huge"]},
    {"efforts": [[]]},
    {"takes_prefill": 1},
    {"takes_prefill": None},
    {"retired_on": "tomorrow"},
    {"retired_on": 20270131},
]


@pytest.mark.parametrize("mapping", WRONG)
def test_a_wrong_override_is_told_to_the_operator(mapping: dict[str, Any]) -> None:
    assert len(check_overrides(mapping)) == 1
    with pytest.raises(InvalidOverride, match=next(iter(mapping))):
        override(OPUS_4_5, mapping)
    assert problem_with_overrides(mapping) is not None


@pytest.mark.parametrize("name", list(OVERRIDES))
def test_what_the_admin_takes_the_translation_takes(name: str) -> None:
    for value in (1, True, "budget", "one_of", ["low"], [], None, "2027-01-01", "x", 0, {}):
        is_offered = problem_with_overrides({name: value}) is None
        assert is_offered == (check_overrides({name: value}) == []), value
