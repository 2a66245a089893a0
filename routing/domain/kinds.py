"""The kinds of provider that an operator can choose from, and what the environment gives each.

How a kind is spoken to (paths, headers, dialect) is known elsewhere, under the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class KindRow:
    """`key_variable` and `base_url_variable` name settings; None: the environment gives nothing."""

    name: str
    label: str
    key_variable: str | None = None
    base_url_variable: str | None = None
    requires_base_url: bool = False


OPENAI: Final = KindRow("openai", "OpenAI", "OPENAI_API_KEY", "OPENAI_BASE_URL")
ANTHROPIC: Final = KindRow("anthropic", "Anthropic", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")
OPENAI_COMPATIBLE: Final = KindRow("openai_compatible", "OpenAI-compatible", requires_base_url=True)

KINDS: Final[Mapping[str, KindRow]] = MappingProxyType(
    {kind.name: kind for kind in (OPENAI, ANTHROPIC, OPENAI_COMPATIBLE)}
)

DEMO_KIND: Final = "demo"
"""The built-in upstream. Never a row of the database."""
