"""What each Claude model accepts: the table that drives half of the translation.

Owns the facts (data, no code paths), the way from an upstream id to its row, and the
check of an operator's corrections to a row. An id that is not in the table gets the
newest profile, since that one never sends what a newer model refuses.

Sources: the model overview and the "thinking" and "structured outputs" pages of
https://platform.claude.com/docs/en, the migration guide, and the list of deprecated
models in the `anthropic` package 2.12 (read 2026-11).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final


class Thinking(StrEnum):
    """How a model is told to think, or not to."""

    NONE = "none"
    """It cannot."""
    BUDGET = "budget"
    """Off unless asked for, with a budget of tokens."""
    ADAPTIVE = "adaptive"
    """Off unless asked for; the model decides how much."""
    DEFAULT_ON = "default_on"
    """On unless switched off."""
    BETWEEN_TOOLS = "between_tools"
    """Always on; at the least between tool calls only."""
    ALWAYS = "always"


class Sampling(StrEnum):
    """Which of `temperature`, `top_p` and `top_k` a model takes."""

    REFUSED = "refused"
    ONE_OF = "one_of"
    """`temperature` or `top_p`, not both."""
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One row. `efforts` are the levels of `output_config.effort`, weakest first.

    `hides_thinking`: the thinking's text stays away unless `display` asks for it.
    `takes_system_turns`: system messages may stand between turns.
    `needs_tools_for_history`: tool blocks in the conversation need a `tools` list.
    `retired_on`: the day on which Anthropic's own API stops, or stopped, serving the model.
    """

    context_window: int
    max_output_tokens: int
    thinking: Thinking
    sampling: Sampling
    efforts: tuple[str, ...] = ()
    hides_thinking: bool = False
    takes_forced_tool: bool = True
    takes_prefill: bool = False
    structured_outputs: bool = True
    takes_system_turns: bool = False
    needs_tools_for_history: bool = False
    retired_on: date | None = None


EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")

_NEWEST: Final = Capabilities(
    context_window=1_000_000,
    max_output_tokens=128_000,
    thinking=Thinking.ALWAYS,
    sampling=Sampling.REFUSED,
    efforts=EFFORTS,
    hides_thinking=True,
    takes_forced_tool=False,
    takes_system_turns=True,
)
_GEN_5: Final = dataclasses.replace(_NEWEST, thinking=Thinking.DEFAULT_ON, takes_forced_tool=True)
_GEN_4_7: Final = dataclasses.replace(_GEN_5, thinking=Thinking.ADAPTIVE, takes_system_turns=False)
_GEN_4_6: Final = dataclasses.replace(
    _GEN_4_7, sampling=Sampling.ONE_OF, efforts=("low", "medium", "high", "max"), hides_thinking=False
)
_GEN_4_5: Final = Capabilities(
    context_window=200_000,
    max_output_tokens=64_000,
    thinking=Thinking.BUDGET,
    sampling=Sampling.ONE_OF,
    takes_prefill=True,
)
_GEN_4: Final = dataclasses.replace(
    _GEN_4_5,
    sampling=Sampling.BOTH,
    structured_outputs=False,
    needs_tools_for_history=True,
    retired_on=date(2026, 6, 15),
)
_GEN_3: Final = dataclasses.replace(_GEN_4, max_output_tokens=4096, thinking=Thinking.NONE, retired_on=None)

_MODELS: Final[Mapping[str, Capabilities]] = {
    "claude-opus-5-5": _NEWEST,
    "claude-sonnet-5-5": dataclasses.replace(_NEWEST, thinking=Thinking.BETWEEN_TOOLS),
    "claude-haiku-5-5": _GEN_5,
    "claude-fable-5-2": _NEWEST,
    "claude-fable-5-1": _NEWEST,
    "claude-fable-5": dataclasses.replace(_NEWEST, takes_forced_tool=True),
    "claude-mythos-5-2": _NEWEST,
    "claude-mythos-5-1": _NEWEST,
    "claude-mythos-5": dataclasses.replace(_NEWEST, takes_forced_tool=True),
    "claude-mythos-preview": dataclasses.replace(_NEWEST, retired_on=date(2026, 6, 30)),
    "claude-opus-5": _GEN_5,
    "claude-sonnet-5": dataclasses.replace(_GEN_5, takes_system_turns=False),
    "claude-opus-4-8": dataclasses.replace(_GEN_4_7, takes_system_turns=True),
    "claude-opus-4-7": _GEN_4_7,
    "claude-opus-4-6": _GEN_4_6,
    "claude-sonnet-4-6": _GEN_4_6,
    "claude-opus-4-5": dataclasses.replace(_GEN_4_5, efforts=("low", "medium", "high")),
    "claude-sonnet-4-5": dataclasses.replace(_GEN_4_5, retired_on=date(2026, 11, 30)),
    "claude-haiku-4-5": _GEN_4_5,
    "claude-opus-4-1": dataclasses.replace(_GEN_4_5, max_output_tokens=32_000),
    "claude-opus-4": dataclasses.replace(_GEN_4, max_output_tokens=32_000),
    "claude-sonnet-4": _GEN_4,
    "claude-3-7-sonnet": dataclasses.replace(_GEN_4, retired_on=date(2026, 2, 19)),
    "claude-3-5-haiku": dataclasses.replace(_GEN_3, max_output_tokens=8192, retired_on=date(2026, 2, 19)),
    "claude-3-5-sonnet": dataclasses.replace(_GEN_3, max_output_tokens=8192, retired_on=date(2025, 10, 28)),
    "claude-3-opus": dataclasses.replace(_GEN_3, retired_on=date(2026, 1, 5)),
    "claude-3-sonnet": dataclasses.replace(_GEN_3, retired_on=date(2025, 7, 21)),
    "claude-3-haiku": _GEN_3,
}

# "us.anthropic.claude-opus-4-5-20251101-v1:0", "anthropic/claude-opus-4.5",
# "claude-opus-4-5@20251101", "claude-opus-4-0": what stands around the name of a model.
_NAME: Final = re.compile(r"(?:^|[/.:])(claude-[a-z0-9.\-]+)")
_SUFFIX: Final = re.compile(r"(?:-\d{8}|-latest|-v\d+|-0)+$")


@lru_cache(maxsize=1024)
def find_capabilities(upstream_id: str) -> Capabilities:
    """The row of a model, whatever a provider or a snapshot's date puts around its name.

    A version that is not in the table ("claude-opus-4-9") is an unknown model, not the
    next older one.
    """
    found = _NAME.search(upstream_id.lower())
    if found is None:
        return _NEWEST
    name = _SUFFIX.sub("", found[1].replace(".", "-"))
    while name not in _MODELS:
        name, dash, last = name.rpartition("-")
        # "claude-opus-4-5-fast" is a 4.5; what ends in a number has a version of its own.
        if not dash or last.isdigit():
            return _NEWEST
    return _MODELS[name]


@dataclass(frozen=True, slots=True)
class OverrideField:
    """One column that an operator may correct, with what it takes in words."""

    name: str
    expects: str
    read: Callable[[Any], Any]
    """Turns JSON into the column's value, or raises ValueError."""


class InvalidOverride(ValueError):
    """An operator's correction that is not one. The text is for the operator."""


def _read_tokens(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError
    return value


def _read_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _read_date(value: Any) -> date | None:
    return None if value is None else date.fromisoformat(_read_text(value))


def _read_efforts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or any(level not in EFFORTS for level in value):
        raise ValueError
    return tuple(level for level in EFFORTS if level in value)


def _choice(kind: type[Thinking] | type[Sampling]) -> tuple[str, Callable[[Any], Any]]:
    return "one of " + ", ".join(kind), lambda value: kind(_read_text(value))


_KINDS_OF_OVERRIDE: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "context_window": ("a whole number of tokens", _read_tokens),
    "max_output_tokens": ("a whole number of tokens", _read_tokens),
    "thinking": _choice(Thinking),
    "sampling": _choice(Sampling),
    "efforts": ("a list of " + ", ".join(EFFORTS), _read_efforts),
    "retired_on": ("a date (YYYY-MM-DD) or null", _read_date),
}

OVERRIDES: Final[Mapping[str, OverrideField]] = {
    column.name: OverrideField(
        column.name, *_KINDS_OF_OVERRIDE.get(column.name, ("true or false", _read_bool))
    )
    for column in dataclasses.fields(Capabilities)
}
"""Every column, by name: all of them can be overridden per deployment."""


def check_overrides(mapping: Mapping[str, Any]) -> list[str]:
    """What is wrong with an operator's corrections, one sentence each; empty when nothing is."""
    problems = []
    for name, value in mapping.items():
        column = OVERRIDES.get(name)
        if column is None:
            problems.append(f"There is no capability '{name}'. There are: {', '.join(OVERRIDES)}.")
            continue
        try:
            column.read(value)
        except ValueError:
            problems.append(f"Capability '{name}' must be {column.expects}.")
    return problems


def override(capabilities: Capabilities, mapping: Mapping[str, Any]) -> Capabilities:
    """The row with an operator's corrections (as JSON values). Raises InvalidOverride for a wrong one."""
    if not mapping:
        return capabilities
    problems = check_overrides(mapping)
    if problems:
        raise InvalidOverride(" ".join(problems))
    return dataclasses.replace(
        capabilities, **{name: OVERRIDES[name].read(value) for name, value in mapping.items()}
    )
