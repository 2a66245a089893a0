"""When providers stop serving a model, as far as they have said so.

Dates from Anthropic's page of model deprecations and the list in its Python SDK
(read 2026-11). An id that is not here is not known to retire.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

RETIREMENTS: Final[Mapping[str, date]] = MappingProxyType(
    {
        "claude-2.0": date(2025, 7, 21),
        "claude-2.1": date(2025, 7, 21),
        "claude-3-sonnet": date(2025, 7, 21),
        "claude-3-5-sonnet": date(2025, 10, 28),
        "claude-3-opus": date(2026, 1, 5),
        "claude-3-7-sonnet": date(2026, 2, 19),
        "claude-3-5-haiku": date(2026, 2, 19),
        "claude-opus-4": date(2026, 6, 15),
        "claude-sonnet-4": date(2026, 6, 15),
        "claude-sonnet-4-5": date(2026, 11, 30),
    }
)
"""By upstream id, without date and vendor prefix."""

SOON: Final = timedelta(days=90)

_VENDOR_PREFIX: Final = re.compile(r"^(?:[a-z-]+[./])*(?=claude-)")
_VERSION: Final = re.compile(r"-v\d+(?::\d+)?$")
_DATE: Final = re.compile(r"[-@](?:20\d{6}|latest|0)$")


class Retirement(StrEnum):
    RETIRED = "retired"
    SOON = "soon"


def find_retirement(upstream_id: str) -> date | None:
    """The day from which the provider answers 404 for `upstream_id`, if one is known."""
    bare = _VENDOR_PREFIX.sub("", upstream_id.strip().lower())
    # Bedrock writes date and version (-20241022-v2:0), Vertex version and date (-v2@20241022).
    return RETIREMENTS.get(_VERSION.sub("", _DATE.sub("", _VERSION.sub("", bare))))


def judge_retirement(upstream_id: str, today: date) -> Retirement | None:
    """Whether `upstream_id` is gone, or goes within three months."""
    day = find_retirement(upstream_id)
    if day is None:
        return None
    if day <= today:
        return Retirement.RETIRED
    return Retirement.SOON if day - today <= SOON else None
