"""prometheus-client's objects for the families, and the page that it writes of them.

A registry of its own: what other libraries put into the library's default one is not told.
A metric is made when it first has something to tell. A gauge without labels has a value as
soon as it exists, and 0 would be the oldest configuration of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from api.services.metrics.families import Family

CONTENT_TYPE: Final = prometheus_client.CONTENT_TYPE_PLAIN_0_0_4

# When a counter began is known to whoever scrapes it; the series for it would double the counters.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class SummedHistogram(Histogram):
    """The library's histogram, which also takes many observations at once."""

    def observe_many(self, counts: Sequence[int], total: float) -> None:
        """`counts` are of its own buckets, the infinite one too; `total` is the sum of what was observed."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class Registry:
    """This process's metrics. With a `directory`, what is told is that of all workers that count there."""

    def __init__(self, directory: str | None = None) -> None:
        self._own: Final = CollectorRegistry()
        self._told = self._own
        if directory is not None:
            self._told = CollectorRegistry()
            MultiProcessCollector(self._told, path=directory)  # type: ignore[no-untyped-call]
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, SummedHistogram] = {}
        self._followed: dict[tuple[str, tuple[str, ...]], float] = {}

    def counter(self, family: Family, *labels: str) -> Counter:
        """The counter with these values of the family's labels, made on first use."""
        found = self._counters.get(family.name)
        if found is None:
            found = Counter(family.name, family.help, family.labels, registry=self._own)
            self._counters[family.name] = found
        return found.labels(*labels) if labels else found

    def gauge(self, family: Family, *labels: str) -> Gauge:
        found = self._gauges.get(family.name)
        if found is None:
            found = Gauge(
                family.name,
                family.help,
                family.labels,
                registry=self._own,
                multiprocess_mode=family.merging,
            )
            self._gauges[family.name] = found
        return found.labels(*labels) if labels else found

    def histogram(self, family: Family, *labels: str) -> SummedHistogram:
        found = self._histograms.get(family.name)
        if found is None:
            found = SummedHistogram(
                family.name, family.help, family.labels, registry=self._own, buckets=family.bounds
            )
            self._histograms[family.name] = found
        return found.labels(*labels) if labels else found

    def follow(self, family: Family, total: float, *labels: str) -> None:
        """Raise a counter by what `total`, counted elsewhere in this process, grew since the last call."""
        key = family.name, labels
        before = self._followed.get(key, 0.0)
        counter = self.counter(family, *labels)
        if total > before:
            counter.inc(total - before)
            self._followed[key] = total

    def render(self) -> bytes:
        """The page for Prometheus. Takes long where much was counted: not for the event loop."""
        return generate_latest(self._told)
