"""Spans reach the collector that the settings name, say what happened and no more, and never cost an answer."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import responses
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from api.services import tracing
from api.services.recording import CLIENT_CLOSED_REQUEST, Record
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.usage import Usage
from tests.api.conftest import upstream_settings
from tests.api.http import Stream, chat, say
from tests.fake_upstream import FakeUpstream, Json
from tests.live_server import LiveServer, free_port
from tests.observability.collector import Collector, attributes, read_spans

COLLECTOR = "http://collector.test:4318"
CLIENT_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENT_SPAN = "00f067aa0ba902b7"
TRACEPARENT = f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01"

# In the process of the test: the exporter speaks through `requests`.


@pytest.fixture
def tracer(settings: Any) -> Iterator[responses.RequestsMock]:
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = COLLECTOR
    settings.OTEL_EXPORTER_OTLP_HEADERS = "x-token=let%20me%20in"
    with responses.RequestsMock() as sent:
        sent.post(f"{COLLECTOR}/v1/traces")
        tracing.start()
        yield sent
        asyncio.run(tracing.stop())


def flush(sent: responses.RequestsMock) -> list[Span]:
    asyncio.run(tracing.stop())
    (call,) = sent.calls
    assert call.request.headers["x-token"] == "let me in"
    assert isinstance(call.request.body, bytes)
    return read_spans(call.request.body)


def a_record(**more: Any) -> Record:
    return Record("req_1", time.perf_counter() - 1.0, model="gpt-4o", **more)


def test_each_attempt_is_a_span_below_the_request_s(tracer: responses.RequestsMock) -> None:
    record = a_record(is_stream=True)
    first = record.begin_attempt("openai/gpt-4o-2024")
    first.upstream_status = 429
    first.end("upstream_rate_limited")
    record.fallback = "claude"
    second = record.begin_attempt("bedrock/claude-1")
    second.upstream_status, second.upstream_request_id = 200, "up_2"
    second.end("ok")
    record.finish_request(status=200)

    spans = {span.name: span for span in flush(tracer)}
    root, failed, answered = (spans[name] for name in ("chat gpt-4o", "chat gpt-4o-2024", "chat claude-1"))
    assert attributes(root)["gen_ai.request.model"] == "gpt-4o"
    assert attributes(root)["gen_ai.response.model"] == "claude"
    assert attributes(root)["gen_ai.provider.name"] == "bedrock"
    assert {failed.parent_span_id, answered.parent_span_id} == {root.span_id}
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert answered.status.code == Status.STATUS_CODE_UNSET
    assert failed.end_time_unix_nano <= answered.end_time_unix_nano
    assert attributes(failed) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-2024",
        "patchbay.deployment": "openai/gpt-4o-2024",
        "http.response.status_code": 429,
        "error.type": "upstream_rate_limited",
    }
    assert attributes(answered) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "bedrock",
        "gen_ai.request.model": "claude-1",
        "patchbay.deployment": "bedrock/claude-1",
        "patchbay.fallback_model": "claude",
        "patchbay.upstream_request_id": "up_2",
        "http.response.status_code": 200,
    }


def test_the_request_s_span_says_what_the_conventions_ask(tracer: responses.RequestsMock) -> None:
    usage = Usage(120, 34, cache_read_tokens=100, reasoning_tokens=5)
    record = a_record(key_prefix="sk-pb-abcd", alias="fast", is_stream=True, config_version=7, usage=usage)
    record.begin_attempt("openai/gpt-4o-2024").end("ok")
    record.first_output, record.finish = record.started + 0.25, "stop"
    now = time.time_ns()
    record.finish_request(status=200)
    child, root = sorted(flush(tracer), key=lambda span: span.kind == Span.SPAN_KIND_SERVER)
    assert (root.name, child.name) == ("chat gpt-4o", "chat gpt-4o-2024")
    assert child.kind == Span.SPAN_KIND_CLIENT
    assert child.parent_span_id == root.span_id
    assert child.trace_id == root.trace_id
    assert not root.parent_span_id
    assert root.status.code == Status.STATUS_CODE_UNSET
    assert root.end_time_unix_nano - root.start_time_unix_nano == pytest.approx(1e9, rel=0.5)
    assert abs(root.end_time_unix_nano - now) < 5e8
    told = attributes(root)
    assert told.pop("gen_ai.response.time_to_first_chunk") == pytest.approx(0.25)
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "gpt-4o",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.usage.output_tokens": 34,
        "gen_ai.usage.cache_read.input_tokens": 100,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "http.response.status_code": 200,
        "patchbay.request_id": "req_1",
        "patchbay.alias": "fast",
        "patchbay.key": "sk-pb-abcd",
        "patchbay.config": 7,
    }


@pytest.mark.parametrize(
    ("status", "kind", "error", "is_error"),
    [
        (404, FailureKind.MODEL_NOT_FOUND, "model_not_found", False),
        (502, FailureKind.UPSTREAM_UNAVAILABLE, "upstream_unavailable", True),
        (200, FailureKind.UPSTREAM_STREAM_INTERRUPTED, "upstream_stream_interrupted", True),
        (CLIENT_CLOSED_REQUEST, None, "client_closed_request", False),
        (500, None, "500", True),
    ],
)
def test_only_what_is_not_the_client_s_doing_is_an_error(
    tracer: responses.RequestsMock, status: int, kind: FailureKind | None, error: str, is_error: bool
) -> None:
    failure = Failure(kind, "Words of a client: correct horse battery staple") if kind else None
    a_record(requested_model="correct horse").finish_request(status=status, failure=failure)
    (span,) = flush(tracer)
    assert attributes(span)["error.type"] == error
    assert (span.status.code == Status.STATUS_CODE_ERROR) is is_error
    assert b"horse" not in span.SerializeToString()


def test_a_client_s_trace_goes_on(tracer: responses.RequestsMock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "patchbay.request")
    record = a_record()
    record.trace_context = tracing.read_context({"traceparent": TRACEPARENT})
    record.finish_request(status=200)
    (span,) = flush(tracer)
    assert span.trace_id.hex() == CLIENT_TRACE
    assert span.parent_span_id.hex() == CLIENT_SPAN
    (line,) = caplog.records
    assert line.fields["trace_id"] == CLIENT_TRACE  # type: ignore[attr-defined]


def test_what_a_client_does_not_want_traced_is_not(settings: Any) -> None:
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = COLLECTOR
    with responses.RequestsMock() as sent:
        tracing.start()
        record = a_record()
        record.trace_context = tracing.read_context({"traceparent": f"{TRACEPARENT[:-2]}00"})
        record.finish_request(status=200)
        asyncio.run(tracing.stop())
        assert len(sent.calls) == 0


@pytest.mark.parametrize(
    "nonsense", ["", "00-xyz", "\x00" * 55, TRACEPARENT.replace("4", "0") + "é", "x" * 9000]
)
def test_a_traceparent_that_is_none_begins_a_trace(tracer: responses.RequestsMock, nonsense: str) -> None:
    record = a_record()
    record.trace_context = tracing.read_context({"traceparent": nonsense})
    record.finish_request(status=200)
    (span,) = flush(tracer)
    assert not span.parent_span_id


def test_off_nothing_is_read_and_nothing_is_sent() -> None:
    tracing.start()
    assert tracing.read_context({"traceparent": TRACEPARENT}) is None
    a_record().finish_request(status=200)


def test_off_nothing_of_it_is_imported() -> None:
    program = (
        "import sys; import proxy_site.asgi; from api.services import tracing; tracing.start(); "
        "found = [name for name in sys.modules if name.startswith(('opentelemetry', 'google.protobuf'))]; "
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# A live server and a collector on a real socket.


def traced(upstream: FakeUpstream, endpoint: str, **more: str) -> dict[str, str]:
    return upstream_settings(upstream) | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "RETRIES": "0",
        **more,
    }


def test_spans_of_a_live_server_reach_the_collector_and_hold_no_secret(upstream: FakeUpstream) -> None:
    headers = {"traceparent": TRACEPARENT, "x-request-id": "traced-1"}
    with Collector() as collector:
        settings = traced(
            upstream,
            collector.url,
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20collector-secret-5",
            OTEL_SERVICE_NAME="proxy-of-the-test",
            LOG_FORMAT="json",
        )
        with LiveServer(settings) as server:
            assert chat(server.url, say("gpt-4o-mini", "a private thought"), headers=headers).status == 200
            with Stream(server.url, say("claude-sonnet-4", "a private thought", stream=True)) as stream:
                assert stream.chunks()[-1] == "[DONE]"
            upstream.script(Json(500, {"error": {"message": "boom"}}))
            assert chat(server.url, say("gpt-4o-mini", "a private thought")).status == 500
            spans = collector.wait_for(6)
            log = server.log()
    roots = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    assert sorted(attributes(span)["http.response.status_code"] for span in roots) == [200, 200, 500]  # type: ignore[type-var]
    continued = next(span for span in roots if span.trace_id.hex() == CLIENT_TRACE)
    assert continued.parent_span_id.hex() == CLIENT_SPAN
    assert attributes(continued)["gen_ai.usage.input_tokens"] > 0  # type: ignore[operator]
    (line,) = [json.loads(line) for line in log.splitlines() if "traced-1" in line]
    assert line["trace_id"] == CLIENT_TRACE

    everything = b"".join(collector.bodies)
    assert b"proxy-of-the-test" in everything
    for secret in (b"private thought", b"do-not-leak", b"Bearer", b"collector-secret", b"any-token"):
        assert secret not in everything
    assert {told["authorization"] for told in collector.headers} == {"Bearer collector-secret-5"}
    assert {told[":path"] for told in collector.headers} == {"/v1/traces"}
    assert "collector-secret" not in log
    # Whom an upstream's request belongs to is nobody's business there.
    assert all("traceparent" not in sent.headers for sent in upstream.requests)


def test_the_last_spans_are_sent_before_the_end(upstream: FakeUpstream) -> None:
    with Collector() as collector:
        with LiveServer(traced(upstream, collector.url, OTEL_BSP_SCHEDULE_DELAY="60000")) as server:
            assert chat(server.url, say("gpt-4o-mini")).status == 200
            assert not collector.spans
        assert len(collector.wait_for(2)) == 2


def test_a_dead_collector_is_told_once_and_fails_nothing(upstream: FakeUpstream) -> None:
    settings = traced(upstream, f"http://127.0.0.1:{free_port()}", OTEL_EXPORTER_OTLP_TIMEOUT="0.3")
    with LiveServer(settings) as server:
        for _ in range(3):
            assert chat(server.url, say("gpt-4o-mini")).status == 200
            deadline = time.monotonic() + 20
            while "The trace collector does not take spans" not in server.log():
                assert time.monotonic() < deadline
                time.sleep(0.05)
        log = server.log()
    assert log.count("The trace collector does not take spans") == 1
    assert "Traceback" not in log
    assert "urllib3" not in log


def test_a_collector_that_never_answers_holds_up_neither_answers_nor_the_end(upstream: FakeUpstream) -> None:
    with Collector(hold=True) as collector, LiveServer(traced(upstream, collector.url)) as server:
        assert chat(server.url, say("gpt-4o-mini")).status == 200
        assert collector.asked.wait(20)
        # Its only thread waits for the collector now.
        for _ in range(20):
            assert chat(server.url, say("gpt-4o-mini"), timeout=5).status == 200
        began = time.monotonic()
        assert server.stop() == 0
        # The SDK by itself would wait for half a minute.
        assert time.monotonic() - began < 12
        assert "the last spans are lost" in server.log()
