"""The capability overrides that a deployment may carry: names, types, and what they are for.

Only the spelling is known here. What a capability does is the translation's business; a
test holds the two lists against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from types import MappingProxyType
from typing import Any, Final


class ValueKind(Enum):
    TOKENS = "a whole number of tokens, from 1 up"
    SWITCH = "true or false"
    DAY = "a day (YYYY-MM-DD) or null"
    CHOICE = "one of {choices}"
    CHOICES = "a list of any of {choices}"


@dataclass(frozen=True, slots=True)
class OverrideRule:
    """What one capability takes. `choices` belong to the two kinds that choose."""

    kind: ValueKind
    choices: tuple[str, ...] = ()

    def describe(self) -> str:
        return self.kind.value.format(choices=", ".join(self.choices))

    def accepts(self, value: Any) -> bool:
        match self.kind:
            case ValueKind.TOKENS:
                return isinstance(value, int) and not isinstance(value, bool) and value > 0
            case ValueKind.SWITCH:
                return isinstance(value, bool)
            case ValueKind.DAY:
                return value is None or _is_day(value)
            case ValueKind.CHOICE:
                return isinstance(value, str) and value in self.choices
            case ValueKind.CHOICES:
                return isinstance(value, list) and all(
                    isinstance(item, str) and item in self.choices for item in value
                )


OVERRIDES: Final[Mapping[str, OverrideRule]] = MappingProxyType(
    {
        "context_window": OverrideRule(ValueKind.TOKENS),
        "max_output_tokens": OverrideRule(ValueKind.TOKENS),
        "thinking": OverrideRule(
            ValueKind.CHOICE, ("none", "budget", "adaptive", "default_on", "between_tools", "always")
        ),
        "sampling": OverrideRule(ValueKind.CHOICE, ("refused", "one_of", "both")),
        "efforts": OverrideRule(ValueKind.CHOICES, ("low", "medium", "high", "xhigh", "max")),
        "hides_thinking": OverrideRule(ValueKind.SWITCH),
        "takes_forced_tool": OverrideRule(ValueKind.SWITCH),
        "takes_prefill": OverrideRule(ValueKind.SWITCH),
        "structured_outputs": OverrideRule(ValueKind.SWITCH),
        "takes_system_turns": OverrideRule(ValueKind.SWITCH),
        "needs_tools_for_history": OverrideRule(ValueKind.SWITCH),
        "retired_on": OverrideRule(ValueKind.DAY),
    }
)


def problem_with_overrides(overrides: Any) -> str | None:
    """Why `overrides` cannot be used, as a sentence for the operator, or None."""
    if not isinstance(overrides, Mapping):
        return 'Write a JSON object, for example {"max_output_tokens": 8192}.'
    for name, value in overrides.items():
        rule = OVERRIDES.get(name)
        if rule is None:
            return f"“{name}” is no capability. There are: {', '.join(OVERRIDES)}."
        if not rule.accepts(value):
            return f"“{name}” must be {rule.describe()}."
    return None


def _is_day(value: Any) -> bool:
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True
