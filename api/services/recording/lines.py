"""The log record of a request that is over, and the facts that its line tells."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from api.services.metrics import ANSWERED

if TYPE_CHECKING:
    from api.services.recording.record import Attempt, Record
    from api.services.translation.usage import Usage

LOGGER: Final = "patchbay.request"

# What formatters may ask any record for, and, in its place, what each line has of its own.
_FIXED: Final[dict[str, Any]] = {
    "name": LOGGER,
    "msg": "chat",
    "args": (),
    **dict.fromkeys(("created", "msecs", "levelno", "levelname", "told", "seconds", "trace_id")),
    "pathname": __file__,
    "filename": "lines.py",
    "module": "lines",
    "funcName": "tell",
    "lineno": 0,
    "relativeCreated": 0.0,
    **dict.fromkeys(("exc_info", "exc_text", "stack_info", "process", "processName")),
    **dict.fromkeys(("thread", "threadName", "taskName")),
    # Whoever tells of requests flushes the handlers after the last one.
    "may_wait": True,
}


class RequestLine(logging.LogRecord):
    """The log record of one request.

    Made without what `logging` collects for every record (the caller's place in the
    source, thread and process): that alone would cost more than the whole line does.
    """

    def __init__(
        self, request: Record, level: int, created: float, seconds: float, trace_id: str | None
    ) -> None:
        self.__dict__ = _FIXED.copy()
        self.created = created
        self.msecs = created % 1 * 1000
        self.levelno = level
        self.levelname = logging.getLevelName(level)
        self.told = request
        self.seconds = seconds
        self.trace_id = trace_id

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
            if only.upstream_request_id is not None:
                fields["upstream_request_id"] = only.upstream_request_id
        else:
            fields = self._describe("; ".join(map(_attempt_text, attempts)) or None)
        fields["stream"] = str(self.told.is_stream)
        return fields

    @property
    def usual_text(self) -> tuple[str, str] | None:
        """`readable_fields` as text, for a request that went as nearly all do, and all words in it.

        It costs a third of what making and joining them does. Others have chosen the words:
        whoever writes the text sees first that none of them needs quotes.
        """
        request, usage = self.told, self.told.usage
        if usage is None or self.trace_id is not None or not _is_usual(request, usage):
            return None
        only = request.attempts[0]
        words = (
            f"{request.request_id}{request.key_prefix}{request.requested_model}{request.finish}"
            f"{only.deployment}{only.upstream_request_id}"
        )
        ttft = upstream_id = ""
        if request.first_output is not None:
            ttft = f" ttft_ms={(request.first_output - request.started) * 1000:.1f}"
        if only.upstream_request_id is not None:
            upstream_id = f" upstream_request_id={only.upstream_request_id}"
        overhead = f"{max(0.0, self.seconds - request.upstream_seconds) * 1000:.2f}".removesuffix("0")
        text = (
            f" request_id={request.request_id} status={request.status} key={request.key_prefix}"
            f" model={request.requested_model} stream={request.is_stream}"
            f" ms={self.seconds * 1000:.1f} overhead_ms={overhead}{ttft}"
            f" finish={request.finish} config={request.config_version}"
            f" input_tokens={usage.input_tokens} output_tokens={usage.output_tokens}"
            f" upstream={only.deployment} upstream_ms={only.seconds * 1000:.1f}{upstream_id}"
        )
        return text, words

    def _describe(self, attempts: list[dict[str, Any]] | str | None) -> dict[str, Any]:
        request, failure, usage = self.told, self.told.failure, self.told.usage
        fields: dict[str, Any] = {"request_id": request.request_id, "status": request.status}
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


def _is_usual(request: Record, usage: Usage) -> bool:
    """Whether `RequestLine.usual_text` has all that there is to tell of it."""
    return (
        request.requested_model == request.model != ""
        and request.key_prefix is not None
        and request.finish is not None
        and request.config_version is not None
        and request.alias is None
        and request.fallback is None
        and request.failure is None
        and not request.ignored
        and not (usage.cache_read_tokens or usage.cache_write_tokens or usage.reasoning_tokens)
        and len(request.attempts) == 1
        and request.attempts[0].outcome == ANSWERED
    )


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
