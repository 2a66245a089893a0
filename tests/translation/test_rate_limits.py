from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services.translation.dialects.anthropic_messages.rate_limits import (
    convert_rate_limits,
    format_duration,
)
from tests.translation.messages import texts

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z


def test_names_and_units_become_openais() -> None:
    headers = {
        "Anthropic-RateLimit-Requests-Limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2023-11-14T22:13:21Z",
        "anthropic-ratelimit-tokens-limit": "80000",
        "anthropic-ratelimit-tokens-remaining": "79000",
        "anthropic-ratelimit-tokens-reset": "2023-11-14T23:19:20+01:00",
        "anthropic-ratelimit-input-tokens-remaining": "1",
        "anthropic-organization-id": "secret",
    }
    assert convert_rate_limits(headers, NOW) == {
        "x-ratelimit-limit-requests": "50",
        "x-ratelimit-remaining-requests": "49",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "80000",
        "x-ratelimit-remaining-tokens": "79000",
        "x-ratelimit-reset-tokens": "6m0s",
    }


@pytest.mark.parametrize(("left_in", "left_out", "limit"), [("100", "20", "8000"), ("10", "20", "40000")])
def test_without_a_common_token_limit_the_tighter_one_counts(left_in: str, left_out: str, limit: str) -> None:
    headers = {
        "anthropic-ratelimit-input-tokens-limit": "40000",
        "anthropic-ratelimit-input-tokens-remaining": left_in,
        "anthropic-ratelimit-output-tokens-limit": "8000",
        "anthropic-ratelimit-output-tokens-remaining": left_out,
    }
    converted = convert_rate_limits(headers, NOW)
    assert converted["x-ratelimit-limit-tokens"] == limit
    assert converted["x-ratelimit-remaining-tokens"] == min(left_in, left_out, key=int)


def test_a_moment_that_has_passed_is_now() -> None:
    headers = {"anthropic-ratelimit-requests-reset": "2023-11-14T22:13:19Z"}
    assert convert_rate_limits(headers, NOW) == {"x-ratelimit-reset-requests": "0ms"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0ms"),
        (0.12, "120ms"),
        (0.9999, "1s"),
        (1, "1s"),
        (1.01, "2s"),
        (59.5, "1m0s"),
        (360, "6m0s"),
        (3630, "1h0m30s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


_parts = st.sampled_from(["limit", "remaining", "reset"])
_names = st.sampled_from(["requests", "tokens", "input-tokens", "output-tokens"])


@given(
    st.dictionaries(
        st.builds(lambda name, part: f"anthropic-ratelimit-{name}-{part}", _names, _parts),
        texts | st.just("٣") | st.datetimes().map(str),
    )
)
def test_garbled_headers_are_left_out(headers: dict[str, str]) -> None:
    for value in convert_rate_limits(headers, NOW).values():
        assert value.isascii()
        assert value.isalnum()
