"""Traces for an OpenTelemetry collector, off unless the environment names one.

Nothing of OpenTelemetry is imported before `start` finds it switched on. Spans are made
when a request is over, from what its record says, and leave in a thread of their own:
a slow or dead collector costs spans, never an answer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from django.conf import settings

from api.services import recording

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from api.services.tracing.spans import Spans

logger = logging.getLogger("patchbay.tracing")

_STOP_SECONDS: Final = 2.0
"""How long the end of the process waits for spans that are still to be sent."""

_spans: Spans | None = None


def is_wanted() -> bool:
    """Whether the environment names a collector, for all that is told or for traces."""
    names_one = settings.OTEL_EXPORTER_OTLP_ENDPOINT or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return bool(names_one) and not settings.OTEL_SDK_DISABLED


def start() -> None:
    """Begin to trace, where that is wanted."""
    global _spans
    if _spans is not None or not is_wanted():
        return
    from api.services.tracing.spans import Spans

    _spans = Spans()
    recording.trace_with(_spans.tell)


async def stop() -> None:
    """Send what is left, if that is a matter of a moment."""
    global _spans
    if _spans is None:
        return
    recording.trace_with(None)
    spans, _spans = _spans, None
    # The SDK would wait for half a minute, and asyncio's own threads are waited for at exit.
    ending = threading.Thread(target=spans.shut_down, name="tracing-end", daemon=True)
    ending.start()
    await asyncio.to_thread(ending.join, _STOP_SECONDS)
    if ending.is_alive():
        logger.warning("The trace collector is slow: the last spans are lost.")


def read_context(headers: Mapping[str, str]) -> Context | None:
    """The trace that a client's request belongs to, as its `traceparent` says. Names in lower case."""
    if _spans is None or "traceparent" not in headers:
        return None
    return _spans.read_context(headers)
