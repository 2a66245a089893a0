"""The state of one deployment with one key: closed, open (resting), half-open. PURE.

The clock is passed in, in seconds of any monotonic clock; so are the random numbers.

Every verdict comes with the moment at which its attempt began. What began before the
state last changed tells of the time before, and changes nothing: an answer that was on
its way when the upstream fell over does not end the rest, and a late timeout does not
begin the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from api.services.cooldowns.verdicts import Reason, Verdict

WINDOW_SECONDS: Final = 30.0
"""How far back the share of failures looks."""
WINDOW_CALLS: Final = 20
"""Fewer calls than this have no share worth speaking of."""
WINDOW_SHARE: Final = 0.5

PROBE_SECONDS: Final = 30.0
"""A probe that nothing was heard of for so long no longer keeps others from trying."""

_BUCKET_SECONDS: Final = 5.0
_BUCKETS: Final = int(WINDOW_SECONDS / _BUCKET_SECONDS)
# A refused key or an empty account seldom mends itself within seconds.
_KEY_TROUBLE_FACTOR: Final = 6.0
_SHORTEST_SECONDS: Final = 1.0
_JITTER: Final = 0.1


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Rules:
    """`after` failures in a row begin a rest of `seconds`, which doubles with each failed probe up to
    `maximum`. `after` 0: nothing ever rests."""

    after: int = 5
    seconds: float = 10.0
    maximum: float = 300.0


class Circuit:
    """One state machine. Begins closed.

    `opened_at` and `until` bound the current or last rest. `streak` counts the probes
    that failed since it was last closed. `probe_since` is when our own probe was let
    through; until `held_until` somebody else's is under way.
    """

    __slots__ = (
        "_bucket",
        "_calls",
        "_changed_at",
        "_failures",
        "_past",
        "consecutive",
        "held_until",
        "is_closed",
        "opened_at",
        "probe_since",
        "reason",
        "streak",
        "until",
    )

    def __init__(self) -> None:
        self.is_closed = True
        self.reason = Reason.FAILURES
        self.opened_at = 0.0
        self.until = 0.0
        self.streak = 0
        self.held_until = 0.0
        self.consecutive = 0
        self._changed_at = float("-inf")
        self.probe_since: float | None = None
        # Calls and failures of the current bucket, and of those before it: (bucket, calls, failures).
        self._bucket = 0.0
        self._calls = 0
        self._failures = 0
        self._past: list[tuple[float, int, int]] = []

    def state(self, now: float) -> State:
        if self.is_closed:
            return State.CLOSED
        return State.OPEN if now < self.until else State.HALF_OPEN

    def is_resting(self, now: float) -> bool:
        """Whether a request had better go elsewhere: the rest goes on, or a probe is under way."""
        return not self.is_closed and (now < self.until or self._is_probed(now))

    def admit(self, now: float) -> bool:
        """Whether a request may be sent. After a rest, the one that hears yes is the probe."""
        if self.is_closed:
            return True
        if self.is_resting(now):
            return False
        self.probe_since = now
        return True

    def succeed(self, now: float, began: float) -> bool:
        """An attempt that began at `began` was answered. True: that closed the circuit."""
        if self.is_closed:
            if now // _BUCKET_SECONDS != self._bucket:
                self._turn(now)
            self._calls += 1
            self.consecutive = 0
            return False
        if began < self._changed_at:
            return False
        self.close(now)
        return True

    def fail(
        self,
        now: float,
        began: float,
        verdict: Verdict,
        rules: Rules,
        *,
        retry_after: float | None = None,
        jitter: float = 0.5,
    ) -> bool:
        """An attempt that began at `began` failed. True: that began a rest, the first or a longer one.

        `verdict` is not NOTHING. `retry_after` is what the upstream asked for. `jitter` is
        a random number from 0 to 1.
        """
        if not rules.after or began < self._changed_at:
            return False
        if not self.is_closed:
            if now < self.until:
                # It was tried for want of anything better. The upstream may ask for more time.
                if retry_after is not None:
                    self.until = max(self.until, min(now + retry_after, self.opened_at + rules.maximum))
                return False
            self.streak += 1
            self._rest(now, _reason_of(verdict, self.reason), verdict, rules, retry_after, jitter)
            return True
        if now // _BUCKET_SECONDS != self._bucket:
            self._turn(now)
        self._calls += 1
        self._failures += 1
        self.consecutive += 1
        if verdict is not Verdict.COUNTS:
            reason = _reason_of(verdict, Reason.FAILURES)
        elif self.consecutive >= rules.after:
            reason = Reason.FAILURES
        elif self._is_share_reached():
            reason = Reason.FAILURE_SHARE
        else:
            return False
        self.streak = 0
        self._rest(now, reason, verdict, rules, retry_after, jitter)
        return True

    def abandon(self, began: float) -> bool:
        """An attempt that began at `began` ended without saying anything. True: now another may probe."""
        if self.probe_since is None or began < self._changed_at:
            return False
        self.probe_since = None
        self.held_until = 0.0
        return True

    def open(self, now: float, seconds: float, reason: Reason, streak: int) -> None:
        """Begin a rest that somebody else found necessary."""
        self.is_closed = False
        self.opened_at = self._changed_at = now
        self.until = now + seconds
        self.reason = reason
        self.streak = streak
        self.probe_since = None
        self.held_until = 0.0
        self._forget_calls()

    def close(self, now: float) -> None:
        """Serve again as if nothing had been."""
        self.is_closed = True
        self._changed_at = now
        self.until = now
        self.streak = 0
        self.probe_since = None
        self.held_until = 0.0
        self._forget_calls()

    def end_rest(self, now: float) -> None:
        """Let a probe through now rather than when the rest is over."""
        if not self.is_closed:
            self.until = min(self.until, now)

    def _is_probed(self, now: float) -> bool:
        if now < self.held_until:
            return True
        return self.probe_since is not None and now - self.probe_since < PROBE_SECONDS

    def _rest(
        self,
        now: float,
        reason: Reason,
        verdict: Verdict,
        rules: Rules,
        retry_after: float | None,
        jitter: float,
    ) -> None:
        # So many doublings are beyond any maximum.
        seconds = rules.seconds * 2.0 ** min(self.streak, 32)
        spread = 1.0 + _JITTER * (2.0 * jitter - 1.0)
        if verdict in (Verdict.KEY_REFUSED, Verdict.QUOTA):
            seconds *= _KEY_TROUBLE_FACTOR
        if retry_after is not None:
            asked = max(retry_after, min(_SHORTEST_SECONDS, rules.seconds))
            # A rate limit says exactly when it ends; of other trouble the upstream can only guess.
            seconds = asked if verdict is Verdict.RATE_LIMITED else max(seconds, asked)
            spread = 1.0 + _JITTER * jitter
        self.open(now, min(seconds * spread, rules.maximum), reason, self.streak)

    def _is_share_reached(self) -> bool:
        calls, failures = self._calls, self._failures
        for _, past_calls, past_failures in self._past:
            calls += past_calls
            failures += past_failures
        return calls >= WINDOW_CALLS and failures >= calls * WINDOW_SHARE

    def _turn(self, now: float) -> None:
        """Begin the bucket of `now`, and drop those that are too old."""
        bucket = now // _BUCKET_SECONDS
        oldest = bucket - _BUCKETS + 1
        self._past = [
            entry
            for entry in (*self._past, (self._bucket, self._calls, self._failures))
            if entry[0] >= oldest and entry[1]
        ]
        self._bucket, self._calls, self._failures = bucket, 0, 0

    def _forget_calls(self) -> None:
        self.consecutive = 0
        self._calls = self._failures = 0
        self._past = []


def _reason_of(verdict: Verdict, otherwise: Reason) -> Reason:
    match verdict:
        case Verdict.KEY_REFUSED:
            return Reason.KEY_REFUSED
        case Verdict.QUOTA:
            return Reason.QUOTA
        case Verdict.RATE_LIMITED:
            return Reason.RATE_LIMITED
        case _:
            return otherwise
