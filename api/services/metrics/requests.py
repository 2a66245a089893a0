"""What a request that is over counts as. The objects that count are looked up once for each name.

Labels are names that an operator gave, never a client's words, and at most so many of
them have figures of their own: further ones count together as `(other)`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from prometheus_client import Counter, Histogram

from api.services.metrics import families
from api.services.metrics.registry import Registry
from api.services.translation.failures import FailureKind
from api.services.translation.usage import Usage

UNKNOWN: Final = "(unknown)"
"""Requests that were refused before it was clear which model they mean."""
OTHER: Final = "(other)"
ANSWERED: Final = "ok"


class Way(StrEnum):
    """Where a try after a request's first one went."""

    SAME_DEPLOYMENT = "same_deployment"
    ANOTHER_DEPLOYMENT = "another_deployment"
    FALLBACK_MODEL = "fallback_model"


_LIMITS: Final = frozenset({FailureKind.RATE_LIMITED, FailureKind.QUOTA_EXCEEDED})


class _ModelSeries:
    """Those of one model's requests, streams or not."""

    __slots__ = (
        "cache_read_tokens",
        "cache_write_tokens",
        "first_output",
        "input_tokens",
        "output_tokens",
        "reasoning_tokens",
        "seconds",
        "statuses",
    )

    def __init__(self, registry: Registry, model: str, stream: str) -> None:
        self.seconds = registry.histogram(families.REQUEST_SECONDS, model, stream)
        self.statuses: dict[int, Counter] = {}
        self.input_tokens = registry.counter(families.INPUT_TOKENS, model)
        self.output_tokens = registry.counter(families.OUTPUT_TOKENS, model)
        # The rest is made when it is first needed.
        self.first_output: Histogram | None = None
        self.cache_read_tokens: Counter | None = None
        self.cache_write_tokens: Counter | None = None
        self.reasoning_tokens: Counter | None = None


class _DeploymentSeries:
    __slots__ = ("outcomes", "seconds")

    def __init__(self) -> None:
        self.outcomes: dict[str, Counter] = {}
        self.seconds: Histogram | None = None


class RequestCounts:
    """`names_at_most` bounds the models, and the deployments, that are told apart."""

    def __init__(self, registry: Registry, *, names_at_most: int) -> None:
        self._registry = registry
        self._names_at_most = names_at_most
        self._models: dict[tuple[str, bool], _ModelSeries] = {}
        self._model_names: set[str] = set()
        self._deployments: dict[str, _DeploymentSeries] = {}
        self._overhead = {
            is_stream: registry.histogram(families.OVERHEAD_SECONDS, _stream_label(is_stream))
            for is_stream in (False, True)
        }
        self._retries = {way: registry.counter(families.RETRIES, way.value) for way in Way}
        self._failures: dict[str, Counter] = {}

    def count_request(
        self,
        model: str | None,
        is_stream: bool,
        status: int,
        seconds: float,
        overhead: float,
        first_output: float | None,
        usage: Usage | None,
    ) -> None:
        """`first_output` is in seconds from the request's beginning, as `seconds` are."""
        if model is None:
            labels = (UNKNOWN, str(status), _stream_label(is_stream))
            self._registry.counter(families.REQUESTS, *labels).inc()
            return
        series = self._models.get((model, is_stream)) or self._add_model(model, is_stream)
        (series.statuses.get(status) or self._add_status(series, model, is_stream, status)).inc()
        series.seconds.observe(seconds)
        self._overhead[is_stream].observe(overhead)
        if first_output is not None and is_stream:
            if series.first_output is None:
                series.first_output = self._registry.histogram(
                    families.FIRST_OUTPUT_SECONDS, self._told_apart(model)
                )
            series.first_output.observe(first_output)
        if usage is not None:
            series.input_tokens.inc(usage.input_tokens)
            series.output_tokens.inc(usage.output_tokens)
            if usage.cache_read_tokens or usage.cache_write_tokens or usage.reasoning_tokens:
                self._count_parts(series, self._told_apart(model), usage)

    def count_failure(self, kind: FailureKind, model: str | None = None) -> None:
        series = self._failures.get(kind)
        if series is None:
            series = self._failures[kind] = self._registry.counter(families.FAILURES, kind.value)
        series.inc()
        if kind in _LIMITS and model is not None:
            self._registry.counter(families.LIMIT_REFUSALS, self._told_apart(model)).inc()

    def count_attempt(self, deployment: str, outcome: str, seconds: float) -> None:
        """`deployment` is the provider's name, a slash and the upstream id."""
        series = self._deployments.get(deployment) or self._add_deployment(deployment)
        counter = series.outcomes.get(outcome)
        if counter is None:
            counter = series.outcomes[outcome] = self._registry.counter(
                families.ATTEMPTS, *self._deployment_labels(deployment), outcome
            )
        counter.inc()
        if outcome == ANSWERED:
            if series.seconds is None:
                series.seconds = self._registry.histogram(
                    families.ATTEMPT_SECONDS, *self._deployment_labels(deployment)
                )
            series.seconds.observe(seconds)

    def count_retry(self, way: Way) -> None:
        self._retries[way].inc()

    # What is met for the first time.

    def _told_apart(self, name: str) -> str:
        return name if name in self._model_names else OTHER

    def _add_model(self, name: str, is_stream: bool) -> _ModelSeries:
        if name not in self._model_names and len(self._model_names) < self._names_at_most:
            self._model_names.add(name)
        label = self._told_apart(name)
        found = self._models.get((label, is_stream))
        if found is None:
            found = _ModelSeries(self._registry, label, _stream_label(is_stream))
            self._models[label, is_stream] = found
        return found

    def _add_status(self, series: _ModelSeries, name: str, is_stream: bool, status: int) -> Counter:
        added = self._registry.counter(
            families.REQUESTS, self._told_apart(name), str(status), _stream_label(is_stream)
        )
        series.statuses[status] = added
        return added

    def _count_parts(self, series: _ModelSeries, label: str, usage: Usage) -> None:
        if usage.cache_read_tokens:
            if series.cache_read_tokens is None:
                series.cache_read_tokens = self._registry.counter(families.CACHE_READ_TOKENS, label)
            series.cache_read_tokens.inc(usage.cache_read_tokens)
        if usage.cache_write_tokens:
            if series.cache_write_tokens is None:
                series.cache_write_tokens = self._registry.counter(families.CACHE_WRITE_TOKENS, label)
            series.cache_write_tokens.inc(usage.cache_write_tokens)
        if usage.reasoning_tokens:
            if series.reasoning_tokens is None:
                series.reasoning_tokens = self._registry.counter(families.REASONING_TOKENS, label)
            series.reasoning_tokens.inc(usage.reasoning_tokens)

    def _add_deployment(self, deployment: str) -> _DeploymentSeries:
        if len(self._deployments) >= self._names_at_most:
            deployment = OTHER
        series = self._deployments.get(deployment)
        if series is None:
            series = self._deployments[deployment] = _DeploymentSeries()
        return series

    def _deployment_labels(self, deployment: str) -> tuple[str, str]:
        if deployment not in self._deployments or deployment == OTHER:
            return OTHER, OTHER
        provider, _, upstream = deployment.partition("/")
        return provider, upstream


def _stream_label(is_stream: bool) -> str:
    return "true" if is_stream else "false"
