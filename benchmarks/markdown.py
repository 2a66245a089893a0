"""Tables as Markdown has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def cell(found: Mapping[str, Any], name: str, digits: int) -> str:
    """Empty where there is no such figure."""
    value = found.get(name)
    return "" if value is None else f"{value:,.{digits}f}"
