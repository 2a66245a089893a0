"""What is told about each request once it is over: one log line, whatever happened."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

from api.services.limits import UNLIMITED, Lease
from api.services.translation.failures import Failure
from api.services.translation.usage import Usage

logger = logging.getLogger("patchbay.request")

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that hung up; it stands in the log only."""


@dataclass(slots=True)
class Attempt:
    """One try upstream."""

    deployment: str
    started: float
    outcome: str = "pending"
    seconds: float = 0.0
    upstream_status: int | None = None
    upstream_request_id: str | None = None

    def end(self, outcome: str) -> None:
        self.outcome = outcome
        self.seconds = time.perf_counter() - self.started


@dataclass(slots=True)
class Record:
    """What is known of one request so far. Bodies, prompts and secrets are never part of it.

    Times are `time.perf_counter()` seconds. `upstream_seconds` is what was spent
    waiting for upstreams (and, in an open stream, for the client); the rest is our own overhead.
    """

    request_id: str
    started: float
    key_prefix: str | None = None
    lease: Lease = UNLIMITED
    requested_model: str = ""
    alias: str | None = None
    model: str | None = None
    config_version: int | None = None
    is_stream: bool = False
    ignored: tuple[str, ...] = ()
    attempts: list[Attempt] = field(default_factory=list)
    upstream_seconds: float = 0.0
    first_output: float | None = None
    usage: Usage | None = None
    finish: str | None = None
    is_written: bool = False

    def begin_attempt(self, deployment: str) -> Attempt:
        attempt = Attempt(deployment, time.perf_counter())
        self.attempts.append(attempt)
        return attempt

    def headers(self) -> dict[str, str]:
        """The response headers that say how the request was served."""
        now = time.perf_counter()
        headers = {
            "openai-processing-ms": str(round((now - self.started) * 1000)),
            "x-patchbay-overhead-ms": f"{max(0.0, now - self.started - self.upstream_seconds) * 1000:.2f}",
        }
        if self.config_version is not None:
            headers["x-patchbay-config"] = str(self.config_version)
        if self.model is not None:
            headers["x-patchbay-model"] = header_text(self.model)
        if self.attempts:
            last = self.attempts[-1]
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
        """Count what was used, free the request's place, and write its line. Once, however it ended."""
        if self.is_written:
            return
        self.is_written = True
        if self.lease is not UNLIMITED:
            if self.usage is not None:
                self.lease.settle(self.usage.total_tokens)
            self.lease.release()
        level = logging.INFO if failure is None else failure.spec.log_level
        if not logger.isEnabledFor(level):
            return
        now = time.perf_counter()
        fields: dict[str, Any] = {
            "request_id": self.request_id,
            "status": status,
            "key": self.key_prefix,
            "model": self.requested_model or None,
            "alias": self.alias,
            "served_model": self.model if self.model != self.requested_model else None,
            "attempts": [
                {
                    "deployment": attempt.deployment,
                    "outcome": attempt.outcome,
                    "ms": round(attempt.seconds * 1000, 1),
                    "upstream_status": attempt.upstream_status,
                    "upstream_request_id": attempt.upstream_request_id,
                }
                for attempt in self.attempts
            ],
            "stream": self.is_stream,
            "ms": round((now - self.started) * 1000, 1),
            "overhead_ms": round((now - self.started - self.upstream_seconds) * 1000, 2),
            "ttft_ms": None
            if self.first_output is None
            else round((self.first_output - self.started) * 1000, 1),
            "finish": self.finish,
            "config": self.config_version,
        }
        if self.usage is not None:
            fields["input_tokens"] = self.usage.input_tokens
            fields["output_tokens"] = self.usage.output_tokens
            fields["cache_read_tokens"] = self.usage.cache_read_tokens or None
            fields["cache_write_tokens"] = self.usage.cache_write_tokens or None
            fields["reasoning_tokens"] = self.usage.reasoning_tokens or None
        if self.ignored:
            fields["ignored"] = list(self.ignored)
        if failure is not None:
            fields["failure"] = failure.kind.value
            fields["reason"] = failure.message
            fields["param"] = failure.param
        logger.log(level, "chat", extra={"fields": {k: v for k, v in fields.items() if v is not None}})


def header_text(text: str) -> str:
    """`text` as a header value: printable ASCII, everything else as `?`, so that nothing is injected."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)
