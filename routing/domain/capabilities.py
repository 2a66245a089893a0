"""The capability overrides that a deployment may carry: names, types, and what they are for.

Only the spelling is known here. What a capability does is the translation's business; a
test holds the two lists against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class OverrideRule:
    """`kind` is bool, int or str; `choices` limits a str, or the items of a list of them."""

    kind: type
    choices: tuple[str, ...] = ()
    is_list: bool = False


OVERRIDES: Final[Mapping[str, OverrideRule]] = MappingProxyType({})


def problem_with_overrides(overrides: Any) -> str | None:
    """Why `overrides` cannot be used, as a sentence for the operator, or None."""
    if not isinstance(overrides, Mapping):
        return 'Write a JSON object, for example {"max_output_tokens": 8192}.'
    for name, value in overrides.items():
        rule = OVERRIDES.get(name)
        if rule is None:
            return f"{name!r} is no capability. Known are: {', '.join(sorted(OVERRIDES))}."
        if problem := _problem_with_value(name, value, rule):
            return problem
    return None


def _problem_with_value(name: str, value: Any, rule: OverrideRule) -> str | None:
    if rule.is_list:
        if not isinstance(value, list) or any(item not in rule.choices for item in value):
            return f"{name} is a list of: {', '.join(rule.choices)}."
        return None
    if rule.kind is bool:
        return None if isinstance(value, bool) else f"{name} is true or false."
    if rule.kind is int:
        is_whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
        return None if is_whole else f"{name} is a whole number from 1 up."
    if rule.choices:
        return None if value in rule.choices else f"{name} is one of: {', '.join(rule.choices)}."
    return None if isinstance(value, str) else f"{name} is text."
