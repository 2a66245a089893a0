"""Every metric there is: its name, its labels and what it means. docs/metrics.md lists the same.

Nothing here counts: registry.py makes prometheus-client's objects of it where it is used,
so that the launcher of several workers has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


Merging = Literal["livesum", "livemin", "livemax"]
"""What the gauges of several living workers are together, in prometheus-client's words."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `bounds` are the upper bounds of a histogram's buckets, without the infinite one."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    merging: Merging = "livesum"


# Seconds: from a cached word to a long chain of thought.
_REPLY: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_FIRST_OUTPUT: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0)
_OURS: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def _counter(name: str, help: str, *labels: str) -> Family:
    return Family(name, Kind.COUNTER, help, labels)


def _gauge(name: str, help: str, *labels: str, merging: Merging = "livesum") -> Family:
    return Family(name, Kind.GAUGE, help, labels, merging=merging)


def _histogram(name: str, help: str, bounds: tuple[float, ...], *labels: str) -> Family:
    return Family(name, Kind.HISTOGRAM, help, labels, bounds)


REQUESTS: Final = _counter(
    "patchbay_requests_total",
    "Chat requests that are over, by the status told to the client (499: it hung up).",
    "model",
    "status",
    "stream",
)
REQUEST_SECONDS: Final = _histogram(
    "patchbay_request_duration_seconds",
    "From the request's head to the end of its answer.",
    _REPLY,
    "model",
    "stream",
)
FIRST_OUTPUT_SECONDS: Final = _histogram(
    "patchbay_time_to_first_token_seconds",
    "Streams: from the request's head to the first output.",
    _FIRST_OUTPUT,
    "model",
)
OVERHEAD_SECONDS: Final = _histogram(
    "patchbay_overhead_seconds",
    "Time that a request spent in the proxy itself, not waiting for an upstream or the client.",
    _OURS,
    "stream",
)
INPUT_TOKENS: Final = _counter(
    "patchbay_input_tokens_total", "Tokens of prompts, cached ones included.", "model"
)
OUTPUT_TOKENS: Final = _counter(
    "patchbay_output_tokens_total", "Tokens of replies, reasoning included.", "model"
)
CACHE_READ_TOKENS: Final = _counter(
    "patchbay_cache_read_tokens_total", "Part of the input tokens: read from the upstream's cache.", "model"
)
CACHE_WRITE_TOKENS: Final = _counter(
    "patchbay_cache_write_tokens_total", "Part of the input tokens: written to the upstream's cache.", "model"
)
REASONING_TOKENS: Final = _counter(
    "patchbay_reasoning_tokens_total", "Part of the output tokens: reasoning.", "model"
)
FAILURES: Final = _counter(
    "patchbay_failures_total", "Requests that ended in a failure, by its kind, refused ones included.", "kind"
)
LIMIT_REFUSALS: Final = _counter(
    "patchbay_limit_refusals_total", "Requests refused by a limit of key, team or model.", "model"
)
ATTEMPTS: Final = _counter(
    "patchbay_attempts_total",
    "Tries upstream that are over, by outcome: ok, cancelled, or the kind of the failure.",
    "provider",
    "upstream",
    "outcome",
)
ATTEMPT_SECONDS: Final = _histogram(
    "patchbay_attempt_duration_seconds",
    "Tries upstream that were answered: from sending to the end of the answer.",
    _REPLY,
    "provider",
    "upstream",
)
RETRIES: Final = _counter(
    "patchbay_retries_total",
    "Tries after a request's first, by where they went: the same deployment, another deployment "
    "of the model, or a fallback model.",
    "to",
)

IN_FLIGHT: Final = _gauge("patchbay_requests_in_flight", "Requests that are being worked on.")
QUEUED: Final = _gauge("patchbay_requests_queued", "Requests that wait for a place.")
OVERLOAD_REFUSALS: Final = _counter(
    "patchbay_overload_refusals_total", "Requests refused because no place came free in time."
)
COOLDOWNS_OPEN: Final = _gauge(
    "patchbay_cooldowns_open",
    "Keys of a deployment that rest after trouble.",
    "provider",
    "upstream",
    merging="livemax",
)
COOLDOWNS: Final = _counter(
    "patchbay_cooldowns_total", "Rests that began, longer ones after a failed probe included.", "reason"
)
CONFIG_VERSION: Final = _gauge(
    "patchbay_config_version",
    "Version of the configuration in force; of several workers, the oldest.",
    merging="livemin",
)
CONFIG_LOADED: Final = _gauge(
    "patchbay_config_loaded_timestamp_seconds",
    "When the configuration in force was read, in Unix time.",
    merging="livemin",
)
CONFIG_CHECKED: Final = _gauge(
    "patchbay_config_checked_timestamp_seconds",
    "When the database last said whether there is a newer one, in Unix time.",
    merging="livemin",
)
WORKERS: Final = _gauge("patchbay_workers", "Worker processes that run.")
CPU_SECONDS: Final = _counter(
    "patchbay_process_cpu_seconds_total", "CPU time of the worker processes, user and system."
)
MEMORY: Final = _gauge("patchbay_process_resident_memory_bytes", "Resident memory of the worker processes.")
LOG_LINES_LOST: Final = _counter(
    "patchbay_log_lines_lost_total", "Log lines that could not be written: a full disk, a reader that died."
)
BUILD: Final = _gauge("patchbay_build_info", "1, with the version that runs.", "version", merging="livemax")

FAMILIES: Final = (
    REQUESTS,
    REQUEST_SECONDS,
    FIRST_OUTPUT_SECONDS,
    OVERHEAD_SECONDS,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    CACHE_READ_TOKENS,
    CACHE_WRITE_TOKENS,
    REASONING_TOKENS,
    FAILURES,
    LIMIT_REFUSALS,
    ATTEMPTS,
    ATTEMPT_SECONDS,
    RETRIES,
    IN_FLIGHT,
    QUEUED,
    OVERLOAD_REFUSALS,
    COOLDOWNS_OPEN,
    COOLDOWNS,
    CONFIG_VERSION,
    CONFIG_LOADED,
    CONFIG_CHECKED,
    WORKERS,
    CPU_SECONDS,
    MEMORY,
    LOG_LINES_LOST,
    BUILD,
)
