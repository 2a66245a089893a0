"""Tells of requests that are over: counts them, hands over their traces, logs their lines.

Of many at once where that may be: what is done for a hundred requests in a row costs each
of them half of what it costs in the middle of another's answer. Everything else stays in
order: a request that failed is told at once, and those before it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from api.services import metrics
from api.services.metrics import RequestCounts, Way
from api.services.recording.lines import LOGGER, RequestLine
from api.services.translation.failures import Failure

if TYPE_CHECKING:
    from api.services.recording.record import Attempt, Record

logger = logging.getLogger(LOGGER)

Trace: TypeAlias = Callable[["Record", int, Failure | None, float], str | None]

_MOST_WAITING: Final = 200
"""So many requests are told of even before their time."""


class Telling:
    """The requests that are over and not told of yet. Until `start`, and after `stop`, none waits."""

    def __init__(self) -> None:
        self._delay = 0.0
        self._thread: int | None = None
        self._waiting: list[Record] = []
        self._counted = 0
        """How many of them the metrics know."""
        self._due = 0.0

    def start(self, delay: float) -> None:
        """From now on a request that went well may wait up to `delay` seconds. On the event loop."""
        self._delay = delay
        self._thread = threading.get_ident()

    def stop(self) -> None:
        """Tell of all that wait, and of every later one at once."""
        self._delay = 0.0
        self.tell()
        self._thread = None

    def add(self, record: Record, now: float) -> None:
        """The request is over. `now` is `time.perf_counter()`."""
        waiting = self._waiting
        waiting.append(record)
        if self._delay and record.failure is None:
            if len(waiting) == 1:
                self._due = now + self._delay
                asyncio.get_running_loop().call_later(self._delay, self.tell)
                return
            # A timer that is late has a busy loop before it, or a loop that is no more.
            if len(waiting) < _MOST_WAITING and now < self._due:
                return
        self.tell()

    def tell(self) -> None:
        """Tell of all that wait."""
        self.count()
        records, self._waiting, self._counted = self._waiting, [], 0
        if not records:
            return
        to_wall_clock = time.time() - time.perf_counter()
        for record in records:
            try:
                _tell(record, to_wall_clock)
            except Exception:  # Somebody's log filter: the others are told all the same.
                logging.getLogger("patchbay.server").exception("A request could not be told of")
        _flush_handlers()

    def tell_before_others(self) -> None:
        """For whoever writes lines: one comes that does not wait. Those of other threads have no order."""
        if self._waiting and threading.get_ident() == self._thread:
            self.tell()

    def count(self) -> None:
        """Have the metrics know of all requests that are over."""
        begin, self._counted = self._counted, len(self._waiting)
        counts = metrics.current().requests
        if counts is None or begin == self._counted:
            return
        for record in self._waiting[begin:]:
            _count(counts, record)
        counts.flush()


telling: Final = Telling()
"""This process's."""

_trace: Trace | None = None


def trace_with(tell: Trace | None) -> None:
    """Have each finished request told to `tell` with its status and seconds; it returns the trace's id."""
    global _trace
    _trace = tell


def note_refusal(request_id: str, path: str, failure: Failure) -> None:
    """Tell of a request that was refused before there was a record of it: no key, no JSON, no such page."""
    if (counts := metrics.current().requests) is not None:
        counts.count_failure(failure.kind)
    fields: dict[str, Any] = {
        "request_id": request_id,
        "status": failure.status,
        "path": path,
        "failure": failure.kind.value,
        "reason": failure.message,
    }
    if failure.param is not None:
        fields["param"] = failure.param
    logger.log(failure.spec.log_level, "refused", extra={"fields": fields})


def _tell(record: Record, to_wall_clock: float) -> None:
    assert record.ended is not None
    failure, seconds = record.failure, record.ended - record.started
    trace_id = _trace(record, record.status, failure, seconds) if _trace is not None else None
    level = logging.INFO if failure is None else failure.spec.log_level
    if logger.isEnabledFor(level):
        logger.handle(RequestLine(record, level, to_wall_clock + record.ended, seconds, trace_id))


def _flush_handlers() -> None:
    """Have the lines written: a handler may keep lines that `may_wait` until then."""
    current: logging.Logger | None = logger
    while current is not None:
        for handler in current.handlers:
            handler.flush()
        current = current.parent if current.propagate else None


def _count(counts: RequestCounts, record: Record) -> None:
    assert record.ended is not None
    model, seconds = record.fallback or record.model, record.ended - record.started
    counts.count_request(
        model,
        record.is_stream,
        record.status,
        seconds,
        max(0.0, seconds - record.upstream_seconds),
        None if record.first_output is None else record.first_output - record.started,
        record.usage,
    )
    previous: Attempt | None = None
    for attempt in record.attempts:
        counts.count_attempt(attempt.deployment, attempt.outcome, attempt.seconds)
        if previous is not None:
            counts.count_retry(_way(previous, attempt))
        previous = attempt
    if record.failure is not None:
        counts.count_failure(record.failure.kind, model)


def _way(previous: Attempt, attempt: Attempt) -> Way:
    """Where an attempt went that was not the first."""
    if attempt.model != previous.model:
        return Way.FALLBACK_MODEL
    return Way.SAME_DEPLOYMENT if attempt.deployment == previous.deployment else Way.ANOTHER_DEPLOYMENT
