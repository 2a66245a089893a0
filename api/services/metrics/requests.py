"""What a request that is over counts as: plain numbers first, then, of many requests together, the library's.

The library takes ten calls and as many locks a request otherwise. Its objects are looked
up once for each name.

Labels are names that an operator gave, never a client's words, and at most so many of
them have figures of their own: further ones count together as `(other)`.
"""

from __future__ import annotations

from bisect import bisect_left
from enum import StrEnum
from typing import Final

from prometheus_client import Counter

from api.services.metrics import families
from api.services.metrics.families import Family
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


class _Tally:
    """What a counter is to be raised by."""

    __slots__ = ("_counter", "amount")

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self.amount = 0

    def flush(self) -> None:
        if self.amount:
            self._counter.inc(self.amount)
            self.amount = 0


class _Spread:
    """What a histogram is to be told of."""

    __slots__ = ("_bounds", "_counts", "_histogram", "_total")

    def __init__(self, registry: Registry, family: Family, *labels: str) -> None:
        self._histogram = registry.histogram(family, *labels)
        self._bounds = family.bounds
        self._counts = [0] * (len(family.bounds) + 1)
        self._total = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._total += seconds

    def flush(self) -> None:
        if any(self._counts):
            self._histogram.observe_many(self._counts, self._total)
            self._counts = [0] * len(self._counts)
            self._total = 0.0


class _ModelSeries:
    """Those of one model's requests, streams or not. `is_touched`: some of them wait for `flush`."""

    __slots__ = (
        "first_output",
        "input_tokens",
        "is_touched",
        "labels",
        "output_tokens",
        "seconds",
        "tallies",
    )

    def __init__(self, registry: Registry, model: str, stream: str) -> None:
        self.labels = model, stream
        self.is_touched = False
        self.seconds = _Spread(registry, families.REQUEST_SECONDS, model, stream)
        self.input_tokens = _Tally(registry.counter(families.INPUT_TOKENS, model))
        self.output_tokens = _Tally(registry.counter(families.OUTPUT_TOKENS, model))
        # The rest is made when it is first needed: requests by their status, other tokens by their family.
        self.tallies: dict[int | str, _Tally] = {}
        self.first_output: _Spread | None = None

    def flush(self) -> None:
        self.is_touched = False
        self.seconds.flush()
        self.input_tokens.flush()
        self.output_tokens.flush()
        for tally in self.tallies.values():
            tally.flush()
        if self.first_output is not None:
            self.first_output.flush()


class _DeploymentSeries:
    """Those of the attempts at one deployment."""

    __slots__ = ("is_touched", "outcomes", "seconds")

    def __init__(self) -> None:
        self.is_touched = False
        self.outcomes: dict[str, _Tally] = {}
        self.seconds: _Spread | None = None

    def flush(self) -> None:
        self.is_touched = False
        for tally in self.outcomes.values():
            tally.flush()
        if self.seconds is not None:
            self.seconds.flush()


class RequestCounts:
    """`names_at_most` bounds the models, and the deployments, that are told apart.

    Requests and attempts are on no page before `flush`. What is rare is there at once.
    """

    def __init__(self, registry: Registry, *, names_at_most: int) -> None:
        self._registry = registry
        self._names_at_most = names_at_most
        self._models: dict[tuple[str, bool], _ModelSeries] = {}
        self._model_names: set[str] = set()
        self._deployments: dict[str, _DeploymentSeries] = {}
        self._touched: list[_ModelSeries | _DeploymentSeries] = []
        self._overhead = {
            is_stream: _Spread(registry, families.OVERHEAD_SECONDS, _stream_label(is_stream))
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
        if not series.is_touched:
            self._touch(series)
        (series.tallies.get(status) or self._add_status(series, status)).amount += 1
        series.seconds.add(seconds)
        self._overhead[is_stream].add(overhead)
        if first_output is not None and is_stream:
            if series.first_output is None:
                series.first_output = _Spread(self._registry, families.FIRST_OUTPUT_SECONDS, series.labels[0])
            series.first_output.add(first_output)
        if usage is not None:
            series.input_tokens.amount += usage.input_tokens
            series.output_tokens.amount += usage.output_tokens
            if usage.cache_read_tokens or usage.cache_write_tokens or usage.reasoning_tokens:
                self._count_part(series, families.CACHE_READ_TOKENS, usage.cache_read_tokens)
                self._count_part(series, families.CACHE_WRITE_TOKENS, usage.cache_write_tokens)
                self._count_part(series, families.REASONING_TOKENS, usage.reasoning_tokens)

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
        if not series.is_touched:
            self._touch(series)
        tally = series.outcomes.get(outcome)
        if tally is None:
            counter = self._registry.counter(families.ATTEMPTS, *self._deployment_labels(deployment), outcome)
            tally = series.outcomes[outcome] = _Tally(counter)
        tally.amount += 1
        if outcome == ANSWERED:
            if series.seconds is None:
                labels = self._deployment_labels(deployment)
                series.seconds = _Spread(self._registry, families.ATTEMPT_SECONDS, *labels)
            series.seconds.add(seconds)

    def count_retry(self, way: Way) -> None:
        self._retries[way].inc()

    def flush(self) -> None:
        """Have the library know of everything that was counted."""
        touched, self._touched = self._touched, []
        for series in touched:
            series.flush()
        for spread in self._overhead.values():
            spread.flush()

    def _touch(self, series: _ModelSeries | _DeploymentSeries) -> None:
        series.is_touched = True
        self._touched.append(series)

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

    def _add_status(self, series: _ModelSeries, status: int) -> _Tally:
        model, stream = series.labels
        added = _Tally(self._registry.counter(families.REQUESTS, model, str(status), stream))
        series.tallies[status] = added
        return added

    def _count_part(self, series: _ModelSeries, family: Family, tokens: int) -> None:
        if tokens:
            tally = series.tallies.get(family.name)
            if tally is None:
                tally = _Tally(self._registry.counter(family, series.labels[0]))
                series.tallies[family.name] = tally
            tally.amount += tokens

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
