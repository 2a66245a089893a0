"""How many retries a worker may send for a model: few of many, lest trouble is multiplied. PURE."""

from __future__ import annotations

from typing import Final

SECONDS: Final = 10
"""The span that is looked back on, in buckets of a second each."""
SHARE: Final = 0.1
LEAST: Final = 3
"""Retries that are allowed however few requests there were."""


class RetryBudget:
    """Retries among the requests of the last ten seconds. Every operation takes the same short time.

    Times are seconds of one clock that never goes back. A request that began earlier than
    the newest one counts as if it had begun with it.
    """

    __slots__ = ("_newest", "_requests", "_requests_total", "_retries", "_retries_total")

    def __init__(self) -> None:
        self._requests = [0] * SECONDS
        self._retries = [0] * SECONDS
        self._requests_total = 0
        self._retries_total = 0
        self._newest = 0

    def count_request(self, now: float) -> None:
        second = int(now)
        if second > self._newest:
            self._forget(second)
        self._requests[self._newest % SECONDS] += 1
        self._requests_total += 1

    def take(self, now: float) -> bool:
        """One retry, if there is one left."""
        second = int(now)
        if second > self._newest:
            self._forget(second)
        if self._retries_total >= max(LEAST, int(self._requests_total * SHARE)):
            return False
        self._retries[self._newest % SECONDS] += 1
        self._retries_total += 1
        return True

    def _forget(self, second: int) -> None:
        """Empty the buckets of the seconds that have passed without anybody looking."""
        for passed in range(max(self._newest + 1, second - SECONDS + 1), second + 1):
            bucket = passed % SECONDS
            self._requests_total -= self._requests[bucket]
            self._retries_total -= self._retries[bucket]
            self._requests[bucket] = self._retries[bucket] = 0
        self._newest = second


MODELS_AT_MOST: Final = 10_000


class RetryBudgets:
    """A budget for each model: what fails behind one does not use up the retries of another."""

    __slots__ = ("_budgets",)

    def __init__(self) -> None:
        self._budgets: dict[str, RetryBudget] = {}

    def of(self, model: str) -> RetryBudget:
        budget = self._budgets.get(model)
        if budget is None:
            if len(self._budgets) >= MODELS_AT_MOST:
                # Names come from the catalog; a larger one starts its counts anew now and then.
                self._budgets.clear()
            budget = self._budgets[model] = RetryBudget()
        return budget
