"""What each Claude model accepts: the table that decides half of Anthropic's refusals.

Kept apart from the proxy's own capability table on purpose: two tables written from the
same documentation find each other's mistakes, one shared table finds none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

Sampling = Literal["both", "either", "defaults_only", "refused"]
_LOW_TO_MAX = ("low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Capabilities:
    max_output: int = 128_000
    thinks_by_default: bool = True
    thinking: frozenset[str] = frozenset({"adaptive"})
    """The values of `thinking.type` that it takes."""
    sampling: Sampling = "refused"
    limits_effort_when_off: bool = False
    """Whether `disabled` and `between_tools` take no effort above high."""
    takes_forced_tool: bool = False
    takes_prefill: bool = False
    efforts: tuple[str, ...] = _LOW_TO_MAX
    has_structured_outputs: bool = True
    shows_thinking: bool = False
    """Whether thinking text comes back when `display` is not asked for."""
    needs_tools_for_history: bool = False
    takes_system_turns: bool = False
    binds_prefix: bool = False
    """Signatures hold only behind the same model, system, tools and messages."""


_NEWEST = Capabilities(takes_system_turns=True, binds_prefix=True)
_ALWAYS_THINKING = replace(_NEWEST, binds_prefix=False, takes_forced_tool=True)
_ADAPTIVE = Capabilities(
    thinks_by_default=False,
    thinking=frozenset({"adaptive", "disabled"}),
    takes_forced_tool=True,
)
_4_6 = Capabilities(
    thinks_by_default=False,
    thinking=frozenset({"adaptive", "enabled", "disabled"}),
    sampling="either",
    takes_forced_tool=True,
    efforts=("low", "medium", "high", "max"),
    shows_thinking=True,
)
_4_5 = Capabilities(
    max_output=64_000,
    thinks_by_default=False,
    thinking=frozenset({"enabled", "disabled"}),
    sampling="either",
    takes_forced_tool=True,
    takes_prefill=True,
    efforts=(),
    shows_thinking=True,
)
_4_0 = replace(
    _4_5, max_output=32_000, sampling="both", has_structured_outputs=False, needs_tools_for_history=True
)
_3_5 = replace(_4_0, max_output=8_192, thinking=frozenset({"disabled"}))

# Longest prefix wins.
_TABLE: dict[str, Capabilities] = {
    "claude-opus-5-5": replace(_NEWEST, sampling="defaults_only"),
    "claude-sonnet-5-5": replace(
        _NEWEST, thinking=frozenset({"adaptive", "between_tools"}), limits_effort_when_off=True
    ),
    "claude-haiku-5-5": replace(
        _NEWEST,
        thinking=frozenset({"adaptive", "disabled"}),
        takes_forced_tool=True,
        limits_effort_when_off=True,
    ),
    "claude-fable-5-1": _NEWEST,
    "claude-fable-5-2": _NEWEST,
    "claude-mythos-5-1": _NEWEST,
    "claude-mythos-5-2": _NEWEST,
    "claude-fable-5": _ALWAYS_THINKING,
    "claude-mythos-5": _ALWAYS_THINKING,
    "claude-opus-5": replace(
        _ALWAYS_THINKING, thinking=frozenset({"adaptive", "disabled"}), limits_effort_when_off=True
    ),
    "claude-sonnet-5": replace(_ADAPTIVE, thinks_by_default=True, takes_system_turns=True),
    "claude-opus-4-8": replace(_ADAPTIVE, takes_system_turns=True),
    "claude-opus-4-7": _ADAPTIVE,
    "claude-opus-4-6": _4_6,
    "claude-sonnet-4-6": _4_6,
    "claude-opus-4-5": replace(_4_5, efforts=("low", "medium", "high")),
    "claude-sonnet-4-5": _4_5,
    "claude-haiku-4-5": _4_5,
    "claude-opus-4-1": replace(_4_5, max_output=32_000),
    "claude-opus-4": _4_0,
    "claude-sonnet-4": replace(_4_0, max_output=64_000),
    "claude-3-7-sonnet": replace(_4_0, max_output=64_000),
    "claude-3-5-haiku": _3_5,
    "claude-3-5-sonnet": _3_5,
    "claude-3": replace(_3_5, max_output=4_096),
}


def capabilities_of(model: str) -> Capabilities:
    """The row of a model id, with or without date; an unknown id has the newest and strictest one."""
    plain = re.sub(r"-\d{8}$", "", model)
    fitting = [prefix for prefix in _TABLE if plain == prefix or plain.startswith(f"{prefix}-")]
    return _TABLE[max(fitting, key=len)] if fitting else _NEWEST
