"""Spans of a finished request, by the GenAI conventions. Only imported when tracing is on.

One span for the request, one below it for each attempt. Names, counts and times only:
no message, no parameter's value, nothing that a client wrote.
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/ (read 2026-11)
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Final

from django.conf import settings
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.re import parse_env_headers
from opentelemetry.util.types import AttributeValue

from api.services.recording import ANSWERED, CLIENT_CLOSED_REQUEST, Attempt, Record
from api.services.translation.failures import Failure

logger = logging.getLogger("patchbay.tracing")

Attributes = dict[str, AttributeValue]

# The conventions' own words, for the kinds that they know.
_PROVIDERS: Final = {"openai": "openai", "anthropic": "anthropic"}


class Spans:
    """Makes spans and hands them to the SDK, which sends them in batches from its own thread."""

    def __init__(self) -> None:
        # What the exporter says of every batch is said once, by the class below.
        for library in ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal"):
            logging.getLogger(library).setLevel(logging.CRITICAL)
        name = settings.OTEL_SERVICE_NAME
        if not name and "service.name" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
            name = "patchbay"
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": name} if name else {}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(_Exporter(_make_exporter())))
        self._tracer = self._provider.get_tracer("patchbay")
        self._propagator = TraceContextTextMapPropagator()

    def read_context(self, headers: Mapping[str, str]) -> Context:
        return self._propagator.extract(headers)

    def shut_down(self) -> None:
        """Send what is left. May take as long as the collector does."""
        self._provider.shutdown()

    def tell(self, record: Record, status: int, failure: Failure | None, seconds: float) -> str | None:
        """The spans of a request that ended just now, after `seconds`. Its trace's id, if it is kept."""
        now, clock = time.time_ns(), time.perf_counter()
        started = now - int((clock - record.started) * 1e9)
        span = self._tracer.start_span(
            f"chat {record.model}" if record.model is not None else "chat",
            context=record.trace_context,
            kind=SpanKind.SERVER,
            attributes=_describe_request(record, status),
            start_time=started,
        )
        if not span.is_recording():
            return None
        error = _error_type(status, failure)
        if error is not None:
            span.set_attribute("error.type", error)
        if (error is not None and status >= 500) or (failure is not None and status == 200):
            span.set_status(StatusCode.ERROR)
        below = set_span_in_context(span)
        for attempt in record.attempts:
            begun = now - int((clock - attempt.started) * 1e9)
            child = self._tracer.start_span(
                f"chat {_upstream_id(attempt)}",
                context=below,
                kind=SpanKind.CLIENT,
                attributes=_describe_attempt(attempt),
                start_time=begun,
            )
            if attempt.outcome != ANSWERED:
                child.set_attribute("error.type", attempt.outcome)
                child.set_status(StatusCode.ERROR)
            child.end(begun + int(attempt.seconds * 1e9))
        span.end(started + int(seconds * 1e9))
        return f"{span.get_span_context().trace_id:032x}"


def _make_exporter() -> SpanExporter:
    """As the environment says, including what came from a file (NAME_FILE), which the SDK does not read."""
    endpoint: str | None = None
    if settings.OTEL_EXPORTER_OTLP_ENDPOINT and not os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        endpoint = f"{settings.OTEL_EXPORTER_OTLP_ENDPOINT.rstrip('/')}/v1/traces"
    headers: Mapping[str, str] | None = None
    if settings.OTEL_EXPORTER_OTLP_HEADERS:
        headers = parse_env_headers(settings.OTEL_EXPORTER_OTLP_HEADERS, liberal=True)
    return OTLPSpanExporter(endpoint=endpoint, headers=headers)


class _Exporter(SpanExporter):
    """Says once that the collector does not take spans, and once that it does again."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away and not self._is_away:
            logger.warning("The trace collector does not take spans. Requests go on; these spans are lost.")
        elif self._is_away and not is_away:
            logger.info("The trace collector takes spans again.")
        self._is_away = is_away
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


def _describe_request(record: Record, status: int) -> Attributes:
    attributes: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.stream": record.is_stream,
        "http.response.status_code": status,
        "patchbay.request_id": record.request_id,
    }
    if record.model is not None:
        attributes["gen_ai.request.model"] = record.model
        attributes["gen_ai.response.model"] = record.fallback or record.model
    if record.alias is not None:
        attributes["patchbay.alias"] = record.alias
    if record.key_prefix is not None:
        attributes["patchbay.key"] = record.key_prefix
    if record.config_version is not None:
        attributes["patchbay.config"] = record.config_version
    if record.attempts:
        attributes["gen_ai.provider.name"] = _provider(record.answered or record.attempts[-1])
    if record.finish is not None:
        attributes["gen_ai.response.finish_reasons"] = (record.finish,)
    if record.first_output is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = record.first_output - record.started
    # Here and not on the attempts: whoever adds up tokens over spans would count them twice.
    if record.usage is not None:
        attributes["gen_ai.usage.input_tokens"] = record.usage.input_tokens
        attributes["gen_ai.usage.output_tokens"] = record.usage.output_tokens
        if record.usage.cache_read_tokens:
            attributes["gen_ai.usage.cache_read.input_tokens"] = record.usage.cache_read_tokens
        if record.usage.cache_write_tokens:
            attributes["gen_ai.usage.cache_creation.input_tokens"] = record.usage.cache_write_tokens
        if record.usage.reasoning_tokens:
            attributes["gen_ai.usage.reasoning.output_tokens"] = record.usage.reasoning_tokens
    return attributes


def _describe_attempt(attempt: Attempt) -> Attributes:
    attributes: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _provider(attempt),
        "gen_ai.request.model": _upstream_id(attempt),
        "patchbay.deployment": attempt.deployment,
    }
    if attempt.model is not None:
        attributes["patchbay.fallback_model"] = attempt.model
    if attempt.upstream_status is not None:
        attributes["http.response.status_code"] = attempt.upstream_status
    if attempt.upstream_request_id is not None:
        attributes["patchbay.upstream_request_id"] = attempt.upstream_request_id
    return attributes


def _provider(attempt: Attempt) -> str:
    name, _, _ = attempt.deployment.partition("/")
    if attempt.candidate is None:
        return name
    return _PROVIDERS.get(attempt.candidate.deployment.provider.kind, name)


def _upstream_id(attempt: Attempt) -> str:
    return attempt.deployment.partition("/")[2]


def _error_type(status: int, failure: Failure | None) -> str | None:
    if failure is not None:
        return failure.kind.value
    if status == CLIENT_CLOSED_REQUEST:
        return "client_closed_request"
    return str(status) if status >= 400 else None
