"""Which upstream ids retire, however a vendor decorates them."""

from __future__ import annotations

from datetime import date

import pytest

from api.services.translation.capabilities import find_capabilities
from routing.domain.retirements import RETIREMENTS, Retirement, find_retirement, judge_retirement


@pytest.mark.parametrize("upstream_id", sorted(name for name in RETIREMENTS if name > "claude-3"))
def test_the_dates_are_those_of_the_capability_table(upstream_id: str) -> None:
    assert find_capabilities(upstream_id).retired_on == RETIREMENTS[upstream_id]


@pytest.mark.parametrize(
    ("upstream_id", "day"),
    [
        ("claude-3-5-sonnet-20241022", date(2025, 10, 28)),
        ("claude-3-5-haiku-latest", date(2026, 2, 19)),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", date(2025, 10, 28)),
        ("claude-3-5-sonnet-v2@20241022", date(2025, 10, 28)),
        ("anthropic/claude-3.5-sonnet", date(2025, 10, 28)),
        ("claude-opus-4-0", date(2026, 6, 15)),
        ("claude-sonnet-4-5", date(2026, 11, 30)),
        ("claude-opus-4-5", None),
        ("claude-haiku-4-5-20251001", None),
        ("gpt-4o", None),
        ("", None),
        ("my-claude-3-opus-finetune", None),
    ],
)
def test_decorated_ids_are_known(upstream_id: str, day: date | None) -> None:
    assert find_retirement(upstream_id) == day


def test_a_day_is_judged_by_today() -> None:
    day = date(2026, 11, 30)
    assert judge_retirement(day, date(2026, 11, 30)) is Retirement.RETIRED
    assert judge_retirement(day, date(2026, 11, 29)) is Retirement.SOON
    assert judge_retirement(day, date(2026, 1, 1)) is None
    assert judge_retirement(None, date(2026, 1, 1)) is None
