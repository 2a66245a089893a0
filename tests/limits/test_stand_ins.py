"""Whose limits count what, when another model answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.services.stand_ins import SharedLease


class CountedLease:
    """A Lease that keeps to the contract: what is said twice counts once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tokens: int | None = None
        self.is_released = False

    def settle(self, tokens: int) -> None:
        if self.tokens is None:
            self.tokens = tokens

    def release(self) -> None:
        self.is_released = True

    def headers(self) -> dict[str, str]:
        return {"whose": self.name}


@given(st.integers(0, 1000), st.integers(0, 1000), st.booleans())
def test_the_requested_model_counts_everything_and_the_other_what_it_used(
    used: int, spent: int, releases_first: bool
) -> None:
    own, other = CountedLease("own"), CountedLease("other")
    shared = SharedLease(own, other, spent)
    steps = [lambda: shared.settle(used), shared.release]
    for step in reversed(steps) if releases_first and not spent else steps:
        step()
    assert (own.tokens, other.tokens) == (used + spent, used)
    assert own.is_released
    assert other.is_released
    assert shared.headers() == {"whose": "own"}


def test_what_was_spent_on_refusals_counts_also_where_nothing_answered() -> None:
    own = CountedLease("own")
    SharedLease(own, CountedLease("other"), 70).release()
    assert own.tokens == 70


def test_a_request_that_used_nothing_is_not_settled() -> None:
    own = CountedLease("own")
    SharedLease(own).release()
    assert own.tokens is None
    assert own.is_released
