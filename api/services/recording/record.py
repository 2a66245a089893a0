"""What is known of one request, noted as it becomes known."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from api.services import metrics
from api.services.admission import Admission
from api.services.attempts import Candidate
from api.services.limits import UNLIMITED, Lease
from api.services.recording.telling import telling
from api.services.translation.failures import Failure
from api.services.translation.usage import Usage

if TYPE_CHECKING:
    from opentelemetry.context import Context

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
    not the last one. `status`, `failure` and `ended` are those of a request that is over.
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
    status: int = 0
    failure: Failure | None = None
    ended: float | None = None

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
        """Count what was used, free the request's place, and have it told. Once, however it ended."""
        if self.ended is not None:
            return
        self.status = status
        self.failure = failure
        if self.lease is not UNLIMITED:
            if self.usage is not None:
                self.lease.settle(self.usage.total_tokens)
            self.lease.release()
        if self.place is not None:
            self.place.leave()
        self.ended = time.perf_counter()
        telling.add(self, self.ended)


def header_text(text: str) -> str:
    """`text` as a header value: printable ASCII, everything else as `?`, so that nothing is injected."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if " " <= c <= "~" else "?" for c in text)
