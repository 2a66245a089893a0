"""The limits of two models at once: of the one that was asked for, and of the one that stands in for it."""

from __future__ import annotations

from api.services.limits import UNLIMITED, Lease


class SharedLease:
    """A request that another model answers counts towards its own limits with everything that was used.

    `own` is the lease of key, team and requested model. The model that stands in counts
    what it used itself. `spent` are tokens of answers that were put aside.
    """

    __slots__ = ("_is_settled", "_own", "_spent", "_stand_in")

    def __init__(self, own: Lease, stand_in: Lease = UNLIMITED, spent: int = 0) -> None:
        self._own = own
        self._stand_in = stand_in
        self._spent = spent
        self._is_settled = False

    def settle(self, tokens: int) -> None:
        self._is_settled = True
        self._own.settle(tokens + self._spent)
        self._stand_in.settle(tokens)

    def release(self) -> None:
        if not self._is_settled and self._spent:
            self._own.settle(self._spent)
        self._own.release()
        self._stand_in.release()

    def headers(self) -> dict[str, str]:
        return self._own.headers()
