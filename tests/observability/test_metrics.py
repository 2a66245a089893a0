"""What is counted, and the page that tells of it, as Prometheus' own parser reads it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from api.services.metrics import Way, families
from api.services.metrics.families import FAMILIES, Kind
from api.services.metrics.registry import Registry
from api.services.metrics.requests import RequestCounts
from api.services.translation.failures import FailureKind
from api.services.translation.usage import Usage

Page = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(registry: Registry, counts: RequestCounts | None = None) -> Page:
    """Every sample of the page, by name and labels."""
    if counts is not None:
        counts.flush()
    found: Page = {}
    for family in text_string_to_metric_families(registry.render().decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"twice on the page: {key}"
            found[key] = sample.value
    return found


def value(page: Page, name: str, **labels: str) -> float | None:
    return page.get((name, frozenset(labels.items())))


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def counts(registry: Registry) -> RequestCounts:
    return RequestCounts(registry, names_at_most=3)


def count(
    counts: RequestCounts,
    model: str | None = "gpt",
    *,
    is_stream: bool = False,
    status: int = 200,
    seconds: float = 1.0,
    overhead: float = 0.001,
    first_output: float | None = None,
    usage: Usage | None = None,
) -> None:
    counts.count_request(model, is_stream, status, seconds, overhead, first_output, usage)


def test_a_request_counts_once_in_each_of_its_figures(registry: Registry, counts: RequestCounts) -> None:
    usage = Usage(input_tokens=100, output_tokens=30, cache_read_tokens=60, reasoning_tokens=7)
    count(counts, is_stream=True, seconds=3.0, first_output=0.4, usage=usage)
    page = read(registry, counts)
    assert value(page, "patchbay_requests_total", model="gpt", status="200", stream="true") == 1
    for name, total in {
        "input": 100,
        "output": 30,
        "cache_read": 60,
        "reasoning": 7,
        "cache_write": None,
    }.items():
        assert value(page, f"patchbay_{name}_tokens_total", model="gpt") == total
    bucket = "patchbay_request_duration_seconds_bucket"
    assert value(page, bucket, model="gpt", stream="true", le="2.5") == 0
    assert value(page, bucket, model="gpt", stream="true", le="5.0") == 1
    assert value(page, "patchbay_request_duration_seconds_sum", model="gpt", stream="true") == 3.0
    assert value(page, "patchbay_time_to_first_token_seconds_count", model="gpt") == 1
    assert value(page, "patchbay_overhead_seconds_count", stream="true") == 1


def test_a_reply_that_is_not_streamed_has_no_first_token(registry: Registry, counts: RequestCounts) -> None:
    count(counts, first_output=0.4)
    assert value(read(registry, counts), "patchbay_time_to_first_token_seconds_count", model="gpt") is None


def test_a_request_without_a_model_says_nothing_of_latency(registry: Registry, counts: RequestCounts) -> None:
    count(counts, None, status=404)
    page = read(registry, counts)
    assert value(page, "patchbay_requests_total", model="(unknown)", status="404", stream="false") == 1
    assert value(page, "patchbay_overhead_seconds_count", stream="false") == 0


def test_failures_and_limits(registry: Registry, counts: RequestCounts) -> None:
    counts.count_failure(FailureKind.RATE_LIMITED, "gpt")
    counts.count_failure(FailureKind.RATE_LIMITED, None)
    counts.count_failure(FailureKind.UPSTREAM_ERROR, "gpt")
    page = read(registry, counts)
    assert value(page, "patchbay_failures_total", kind="rate_limited") == 2
    assert value(page, "patchbay_failures_total", kind="upstream_error") == 1
    # Before its first request a model has no figures of its own.
    assert value(page, "patchbay_limit_refusals_total", model="(other)") == 1


def test_an_attempt_is_told_by_provider_upstream_and_outcome(
    registry: Registry, counts: RequestCounts
) -> None:
    counts.count_attempt("openai/ft:gpt-4o/acme", "ok", 0.7)
    counts.count_attempt("openai/ft:gpt-4o/acme", "upstream_rate_limited", 0.1)
    counts.count_retry(Way.SAME_DEPLOYMENT)
    page = read(registry, counts)
    where = {"provider": "openai", "upstream": "ft:gpt-4o/acme"}
    assert value(page, "patchbay_attempts_total", **where, outcome="ok") == 1
    assert value(page, "patchbay_attempts_total", **where, outcome="upstream_rate_limited") == 1
    assert value(page, "patchbay_attempt_duration_seconds_count", **where) == 1
    assert value(page, "patchbay_retries_total", to="same_deployment") == 1
    assert value(page, "patchbay_retries_total", to="fallback_model") == 0


def test_names_beyond_the_bound_count_together(registry: Registry, counts: RequestCounts) -> None:
    for turn in range(2):
        for number in range(6):
            usage = Usage(input_tokens=1, output_tokens=1, reasoning_tokens=1)
            count(counts, f"model-{number}", is_stream=turn == 1, first_output=0.1, usage=usage)
            counts.count_attempt(f"openai/up-{number}", "ok", 0.1)
            counts.count_failure(FailureKind.RATE_LIMITED, f"model-{number}")
    page = read(registry, counts)
    models = {dict(labels)["model"] for _, labels in page if "model" in dict(labels)}
    upstreams = {dict(labels)["upstream"] for _, labels in page if "upstream" in dict(labels)}
    assert models == {"model-0", "model-1", "model-2", "(other)"}
    assert upstreams == {"up-0", "up-1", "up-2", "(other)"}
    for stream in ("true", "false"):
        assert value(page, "patchbay_requests_total", model="(other)", status="200", stream=stream) == 3
    assert value(page, "patchbay_reasoning_tokens_total", model="(other)") == 6
    assert value(page, "patchbay_attempts_total", provider="(other)", upstream="(other)", outcome="ok") == 6
    assert value(page, "patchbay_limit_refusals_total", model="(other)") == 6


@given(st.lists(st.floats(0, 1e6), max_size=50))
def test_buckets_are_cumulative_and_miss_nothing(values: list[float]) -> None:
    registry = Registry()
    series = registry.histogram(families.REQUEST_SECONDS, "m", "false")
    for seconds in values:
        series.observe(seconds)
    page = read(registry)
    for bound in (*families.REQUEST_SECONDS.bounds, math.inf):
        le = "+Inf" if bound == math.inf else str(bound)
        found = value(page, "patchbay_request_duration_seconds_bucket", model="m", stream="false", le=le)
        assert found == sum(seconds <= bound for seconds in values)
    total = value(page, "patchbay_request_duration_seconds_sum", model="m", stream="false")
    assert total == pytest.approx(sum(values))


@given(st.text())
def test_any_name_is_one_label(name: str) -> None:
    registry = Registry()
    registry.counter(families.INPUT_TOKENS, name).inc(5)
    assert value(read(registry), "patchbay_input_tokens_total", model=name) == 5


def test_a_count_kept_elsewhere_is_followed_and_never_falls(registry: Registry) -> None:
    for total, told in ((3, 3), (5, 5), (5, 5), (0, 5)):
        registry.follow(families.COOLDOWNS, total, "overloaded")
        assert value(read(registry), "patchbay_cooldowns_total", reason="overloaded") == told


def test_nothing_is_told_of_what_is_not_known(registry: Registry) -> None:
    """A 0 would be the oldest configuration there is."""
    assert read(registry) == {}


def test_every_family_is_written_as_what_it_is(registry: Registry) -> None:
    for family in FAMILIES:
        labels = ["x" for _ in family.labels]
        match family.kind:
            case Kind.COUNTER:
                registry.counter(family, *labels).inc(3)
            case Kind.GAUGE:
                registry.gauge(family, *labels).set(3)
            case Kind.HISTOGRAM:
                registry.histogram(family, *labels).observe(0.3)
    told = {
        family.name: (family.type, {sample.name for sample in family.samples})
        for family in text_string_to_metric_families(registry.render().decode())
    }
    endings = {Kind.COUNTER: ("",), Kind.GAUGE: ("",), Kind.HISTOGRAM: ("_bucket", "_count", "_sum")}
    # The parser names a counter without its ending.
    assert told == {
        (family.name.removesuffix("_total") if family.kind is Kind.COUNTER else family.name): (
            family.kind,
            {f"{family.name}{ending}" for ending in endings[family.kind]},
        )
        for family in FAMILIES
    }
