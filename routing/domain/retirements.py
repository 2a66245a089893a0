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
        "claude-mythos-preview": date(2026, 6, 30),
        "claude-sonnet-4-5": date(2026, 11, 30),
    }
)
"""By upstream id, without date and vendor prefix."""

SOON: Final = timedelta(days=90)

# us.anthropic.claude-3-5-sonnet-20241022-v2:0 (Bedrock), claude-3-5-sonnet-v2@20241022 (Vertex),
# anthropic/claude-3.5-sonnet: what stands around a model's name.
_NAME: Final = re.compile(r"(?:^|[/.:])(claude-[a-z0-9.-]+)")
_SUFFIX: Final = re.compile(r"(?:-\d{8}|-latest|-v\d+|-0)+$")


class Retirement(StrEnum):
    RETIRED = "retired"
    SOON = "soon"


def find_retirement(upstream_id: str) -> date | None:
    """The day from which the provider answers 404 for `upstream_id`, if one is known."""
    lowered = upstream_id.lower()
    if lowered in RETIREMENTS:
        return RETIREMENTS[lowered]
    found = _NAME.search(lowered)
    return RETIREMENTS.get(_SUFFIX.sub("", found[1].replace(".", "-"))) if found else None


def judge_retirement(day: date | None, today: date) -> Retirement | None:
    """Whether a model that retires on `day` is gone, or goes within three months."""
    if day is None:
        return None
    if day <= today:
        return Retirement.RETIRED
    return Retirement.SOON if day - today <= SOON else None
