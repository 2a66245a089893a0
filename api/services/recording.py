"""What is told about each request once it is over: one log line, its metrics, its trace, whatever happened.

Everything is observed in one place, `Record.finish_request`, from what was noted on the
way. Nothing of a body, a prompt or a secret is ever noted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from api.services import metrics
from api.services.admission import Admission
from api.services.attempts import Candidate
from api.services.limits import UNLIMITED, Lease
from api.services.translation.failures import Failure
from api.services.translation.usage import Usage

if TYPE_CHECKING:
    from opentelemetry.context import Context

logger = logging.getLogger("patchbay.request")

ANSWERED: Final = metrics.ANSWERED
"""The outcome of an attempt that was answered."""

CLIENT_CLOSED_REQUEST: Final = 499
"""nginx's status for a client that hung up; it stands in the log and the metrics only."""


@dataclass(slots=True)
class Attempt:
    """One try upstream. `model` is the public id it was made for, where that is a fallback's."""

    deployment: str
    started: float
    model: str | None = None
    outcome: str = "pending"
    seconds: float = 0.0
    upstream_status: int | None = None
    upstream_request_id: str | None = None
    candidate: Candidate | None = None

    def end(self, outcome: str) -> None:
        self.outcome = outcome
        self.seconds = time.perf_counter() - self.started


@dataclass(slots=True)
class Record:
    """What is known of one request so far. Bodies, prompts and secrets are never part of it.

    Times are `time.perf_counter()` seconds. `upstream_seconds` is what was spent
    waiting for upstreams (and, in an open stream, for the client); the rest is our own overhead.
    `model` is the public id that was asked for, by whatever name; `fallback` that of the model
    which is asked in its place. `answered` is the attempt whose answer goes out, where that is
    not the last one.
    """

    request_id: str
    started: float
    key_prefix: str | None = None
    lease: Lease = UNLIMITED
    place: Admission | None = None
    requested_model: str = ""
    alias: str | None = None
    model: str | None = None
    fallback: str | None = None
    config_version: int | None = None
    is_stream: bool = False
    ignored: tuple[str, ...] = ()
    attempts: list[Attempt] = field(default_factory=list)
    answered: Attempt | None = None
    upstream_seconds: float = 0.0
    first_output: float | None = None
    usage: Usage | None = None
    finish: str | None = None
    trace_context: Context | None = None
    is_written: bool = False

    def begin_attempt(self, deployment: str, candidate: Candidate | None = None) -> Attempt:
        attempt = Attempt(deployment, time.perf_counter(), self.fallback, candidate=candidate)
        self.attempts.append(attempt)
        return attempt

    def headers(self) -> dict[str, str]:
        """The response headers that say how the request was served."""
        elapsed = time.perf_counter() - self.started
        headers = {
            "openai-processing-ms": f"{elapsed * 1000:.0f}",
            "x-patchbay-overhead-ms": f"{max(0.0, elapsed - self.upstream_seconds) * 1000:.2f}",
        }
        if self.config_version is not None:
            headers["x-patchbay-config"] = str(self.config_version)
        if self.model is not None:
            headers["x-patchbay-model"] = header_text(self.fallback or self.model)
        if self.attempts:
            last = self.answered or self.attempts[-1]
            headers["x-patchbay-attempts"] = str(len(self.attempts))
            headers["x-patchbay-upstream"] = header_text(last.deployment)
            if last.upstream_request_id:
                headers["x-upstream-request-id"] = header_text(last.upstream_request_id)
        if self.lease is not UNLIMITED:
            headers |= self.lease.headers()
        if self.ignored:
            headers["x-patchbay-ignored"] = header_text(", ".join(self.ignored))[:1024]
        return headers

    def finish_request(self, *, status: int, failure: Failure | None = None) -> None:
        """Count what was used, free the request's place, and tell of it. Once, however it ended."""
        if self.is_written:
            return
        self.is_written = True
        if self.lease is not UNLIMITED:
            if self.usage is not None:
                self.lease.settle(self.usage.total_tokens)
            self.lease.release()
        if self.place is not None:
            self.place.leave()
        seconds = time.perf_counter() - self.started
        self._count(status, failure, seconds)
        trace_id = _trace(self, status, failure, seconds) if _trace is not None else None
        level = logging.INFO if failure is None else failure.spec.log_level
        if logger.isEnabledFor(level):
            logger.handle(RequestLine(level, self, status, failure, seconds, trace_id))

    def _count(self, status: int, failure: Failure | None, seconds: float) -> None:
        counts = metrics.current().requests
        if counts is None:
            return
        model = self.fallback or self.model
        counts.count_request(
            model,
            self.is_stream,
            status,
            seconds,
            max(0.0, seconds - self.upstream_seconds),
            None if self.first_output is None else self.first_output - self.started,
            self.usage,
        )
        previous: Attempt | None = None
        for attempt in self.attempts:
            counts.count_attempt(attempt.deployment, attempt.outcome, attempt.seconds)
            if previous is not None:
                counts.count_retry(_way(previous, attempt))
            previous = attempt
        if failure is not None:
            counts.count_failure(failure.kind, model)


_trace: Callable[[Record, int, Failure | None, float], str | None] | None = None


def trace_with(tell: Callable[[Record, int, Failure | None, float], str | None] | None) -> None:
    """Have each finished request told to `tell` with its status and seconds; it returns the trace's id."""
    global _trace
    _trace = tell


# What formatters may ask any record for.
_FIXED: Final[dict[str, Any]] = {
    "name": logger.name,
    "msg": "chat",
    "args": (),
    "pathname": __file__,
    "filename": "recording.py",
    "module": "recording",
    "funcName": "finish_request",
    "lineno": 0,
    "relativeCreated": 0.0,
    **dict.fromkeys(("exc_info", "exc_text", "stack_info", "process", "processName")),
    **dict.fromkeys(("thread", "threadName", "taskName")),
}


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


class RequestLine(logging.LogRecord):
    """The log record of one request.

    Made without what `logging` collects for every record (the caller's place in the
    source, thread and process): that alone would cost more than the whole line does.
    """

    def __init__(
        self,
        level: int,
        request: Record,
        status: int,
        failure: Failure | None,
        seconds: float,
        trace_id: str | None,
    ) -> None:
        self.__dict__.update(_FIXED)
        self.created = time.time()
        self.msecs = self.created % 1 * 1000
        self.levelno = level
        self.levelname = logging.getLevelName(level)
        self.seconds = seconds
        self.told = request
        self.status = status
        self.failure = failure
        self.trace_id = trace_id
        self.may_wait = failure is None

    @property
    def fields(self) -> dict[str, Any]:
        """For machines: every attempt is an object."""
        return self._describe([_attempt_fields(attempt) for attempt in self.told.attempts])

    @property
    def readable_fields(self) -> dict[str, Any]:
        """For people: an attempt is a few words, and a first one that was enough is not called one."""
        attempts = self.told.attempts
        if len(attempts) == 1 and attempts[0].outcome == ANSWERED:
            only = attempts[0]
            fields = self._describe(None)
            fields["upstream"] = only.deployment
            fields["upstream_ms"] = round(only.seconds * 1000, 1)
            fields["upstream_request_id"] = only.upstream_request_id
            return fields
        return self._describe("; ".join(map(_attempt_text, attempts)) or None)

    def _describe(self, attempts: list[dict[str, Any]] | str | None) -> dict[str, Any]:
        request, failure, usage = self.told, self.failure, self.told.usage
        fields: dict[str, Any] = {"request_id": request.request_id, "status": self.status}
        if request.key_prefix is not None:
            fields["key"] = request.key_prefix
        if request.requested_model:
            fields["model"] = request.requested_model
        if request.alias is not None:
            fields["alias"] = request.alias
        if request.model is not None and request.model != request.requested_model:
            fields["served_model"] = request.model
        if request.fallback is not None:
            fields["fallback"] = request.fallback
        if attempts is not None:
            fields["attempts"] = attempts
        fields["stream"] = request.is_stream
        fields["ms"] = round(self.seconds * 1000, 1)
        fields["overhead_ms"] = round(max(0.0, self.seconds - request.upstream_seconds) * 1000, 2)
        if request.first_output is not None:
            fields["ttft_ms"] = round((request.first_output - request.started) * 1000, 1)
        if request.finish is not None:
            fields["finish"] = request.finish
        if request.config_version is not None:
            fields["config"] = request.config_version
        if self.trace_id is not None:
            fields["trace_id"] = self.trace_id
        if usage is not None:
            fields["input_tokens"] = usage.input_tokens
            fields["output_tokens"] = usage.output_tokens
            if usage.cache_read_tokens:
                fields["cache_read_tokens"] = usage.cache_read_tokens
            if usage.cache_write_tokens:
                fields["cache_write_tokens"] = usage.cache_write_tokens
            if usage.reasoning_tokens:
                fields["reasoning_tokens"] = usage.reasoning_tokens
        if request.ignored:
            fields["ignored"] = request.ignored
        if failure is not None:
            fields["failure"] = failure.kind.value
            fields["reason"] = failure.message
            if failure.upstream_message not in (None, failure.message):
                fields["upstream_reason"] = failure.upstream_message
            if failure.param is not None:
                fields["param"] = failure.param
        return fields


def _way(previous: Attempt, attempt: Attempt) -> metrics.Way:
    """Where an attempt went that was not the first."""
    if attempt.model != previous.model:
        return metrics.Way.FALLBACK_MODEL
    same = attempt.deployment == previous.deployment
    return metrics.Way.SAME_DEPLOYMENT if same else metrics.Way.ANOTHER_DEPLOYMENT


def _attempt_fields(attempt: Attempt) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "deployment": attempt.deployment,
        "outcome": attempt.outcome,
        "ms": round(attempt.seconds * 1000, 1),
    }
    if attempt.model is not None:
        fields["model"] = attempt.model
    if attempt.upstream_status is not None:
        fields["upstream_status"] = attempt.upstream_status
    if attempt.upstream_request_id is not None:
        fields["upstream_request_id"] = attempt.upstream_request_id
    return fields


def _attempt_text(attempt: Attempt) -> str:
    words = [attempt.deployment if attempt.model is None else f"{attempt.model}: {attempt.deployment}"]
    if attempt.upstream_status is not None:
        words.append(str(attempt.upstream_status))
    words += [attempt.outcome, f"{attempt.seconds * 1000:.1f}ms"]
    if attempt.upstream_request_id is not None:
        words.append(attempt.upstream_request_id)
    return " ".join(words)


def header_text(text: str) -> str:
    """`text` as a header value: printable ASCII, everything else as `?`, so that nothing is injected."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if " " <= c <= "~" else "?" for c in text)
