"""The end of a process: told to the balancer first, nothing lost, and said in words where it must be cut short."""

from __future__ import annotations

import os
import signal
import time
from typing import Final

import pytest

from tests.api.conftest import upstream_settings
from tests.api.http import Stream, request, say
from tests.fake_upstream import Answer, Events, FakeUpstream, Gate, Hold, Paced, Stall
from tests.live_server import LiveServer
from tests.server.exchanges import Asked, KeptConnection, log_fields

LONG: Final = "30"
"""Longer than `LiveServer.wait` waits, which kills a process that does not end."""
workers = pytest.mark.parametrize("workers", ["1", "2"])


def _settings(upstream: FakeUpstream, **more: str) -> dict[str, str]:
    return {**upstream_settings(upstream), "LOG_FORMAT": "json", "DRAIN_DELAY": "0", **more}


@workers
def test_a_balancer_is_told_before_the_door_closes(upstream: FakeUpstream, workers: str) -> None:
    with LiveServer(_settings(upstream, WEB_CONCURRENCY=workers, DRAIN_DELAY="4")) as server:
        assert request(server.url, "/readyz").status == 200
        server.send_signal(signal.SIGTERM)
        end = time.monotonic() + 3
        while (probe := request(server.url, "/readyz")).status == 200:
            assert time.monotonic() < end, "/readyz stays green"
        assert probe.status == 503
        assert probe.json()["status"] == "draining"
        # Who still comes is served, and told not to come back on this connection.
        late = Asked(server.url).response()
        assert late.status == 200
        assert late.headers["connection"] == "close"
        assert request(server.url, "/healthz").status == 200
        assert server.wait() == 0
        with pytest.raises(ConnectionRefusedError):
            request(server.url, "/healthz")


@workers
def test_open_requests_finish_within_the_grace(upstream: FakeUpstream, workers: str) -> None:
    with LiveServer(_settings(upstream, WEB_CONCURRENCY=workers, SHUTDOWN_GRACE=LONG)) as server:
        gate = Gate()
        upstream.script(Answer() + Hold(gate))
        asked = Asked(server.url)
        gate.wait_reached()
        upstream.script(Answer() + Paced())
        with _open(server, upstream) as stream:
            server.send_signal(signal.SIGTERM)
            _wait_refused(server)
            gate.open()
            upstream.pace.release_all()
            response = asked.response()
            assert response.status == 200
            assert response.headers["connection"] == "close"
            assert stream.chunks()[-1] == "[DONE]"
        assert server.wait() == 0
        assert [line["status"] for line in log_fields(server.log())] == [200, 200]


def _open(server: LiveServer, upstream: FakeUpstream) -> Stream:
    """A stream that has begun, and then waits for its upstream's pace."""
    upstream.pace.release(3)
    return Stream(server.url, say("gpt-4o-mini", stream=True))


def _wait_refused(server: LiveServer) -> None:
    """Until the listener is closed."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            request(server.url, "/healthz")
        except ConnectionError:
            return
    raise AssertionError("the listener stays open")


@workers
def test_what_outlives_the_grace_is_ended_in_words(upstream: FakeUpstream, workers: str) -> None:
    settings = _settings(upstream, WEB_CONCURRENCY=workers, SHUTDOWN_GRACE="1", MAX_UPSTREAM_CALLS="2")
    with LiveServer(settings) as server:
        gate = Gate()
        upstream.script(Answer() + Paced())
        with _open(server, upstream) as stream:
            upstream.script(Answer() + Hold(gate), times=2)
            asked = [Asked(server.url) for _ in range(2)]
            gate.wait_reached()
            server.send_signal(signal.SIGTERM)
            chunks = stream.chunks()  # Reads to the terminating chunk; a cut stream would raise.
            assert chunks[-1]["error"]["code"] == "server_shutting_down"
            assert "[DONE]" not in chunks
            for response in [one.response() for one in asked]:
                assert response.status == 503
                assert response.error["code"] == "server_shutting_down"
                assert response.headers["retry-after"] == "1"
                assert response.headers["x-should-retry"] == "true"
                assert response.headers["connection"] == "close"
        assert server.wait() == 0
        lines = log_fields(server.log())
        assert [line["failure"] for line in lines] == ["shutting_down"] * 3
        assert sorted(line["status"] for line in lines) == [200, 503, 503]
        assert "Traceback" not in server.log()
        gate.open()


def test_a_request_in_the_queue_is_told_too(upstream: FakeUpstream) -> None:
    settings = _settings(upstream, SHUTDOWN_GRACE="1", MAX_UPSTREAM_CALLS="1", QUEUE_TIMEOUT=LONG)
    with LiveServer(settings) as server:
        gate = Gate()
        upstream.script(Answer() + Hold(gate))
        first = Asked(server.url)
        gate.wait_reached()
        second = Asked(server.url)
        server.send_signal(signal.SIGTERM)
        assert [one.response().error["code"] for one in (first, second)] == ["server_shutting_down"] * 2
        assert server.wait() == 0
        gate.open()
    assert len(upstream.requests) == 1


def test_a_body_that_never_came_whole_is_answered_too(upstream: FakeUpstream) -> None:
    with (
        LiveServer(_settings(upstream, SHUTDOWN_GRACE="1")) as server,
        KeptConnection(server.url) as api,
        KeptConnection(server.url) as admin,
    ):
        api.send_half("/v1/chat/completions")
        admin.send_half("/admin/login/")
        assert request(server.url, "/healthz").status == 200  # By now both have been read.
        server.send_signal(signal.SIGTERM)
        told = api.read()
        assert (told.status, told.error["code"]) == (503, "server_shutting_down")
        page = admin.read()
        assert page.status == 503
        assert b"shutting down" in page.body
        assert server.wait() == 0
        assert "Traceback" not in server.log()


def test_an_idle_connection_still_serves_a_request_that_was_on_its_way(upstream: FakeUpstream) -> None:
    with LiveServer(_settings(upstream)) as server, KeptConnection(server.url) as kept:
        kept.send(say("gpt-4o-mini"))
        assert "connection" not in kept.read().headers
        with KeptConnection(server.url) as quiet, KeptConnection(server.url) as fresh:
            assert quiet.get("/healthz").status == 200
            server.send_signal(signal.SIGTERM)
            _wait_refused(server)
            for connection in (kept, fresh):
                connection.send(say("gpt-4o-mini"))
                response = connection.read()
                assert response.status == 200
                assert response.headers["connection"] == "close"
                assert connection.is_closed()
            assert quiet.is_closed()
        assert server.wait() == 0


def test_a_connection_is_kept_after_an_answer_that_had_begun_before(upstream: FakeUpstream) -> None:
    """Its head promised no end: the client may use it again, and hears of the end then."""
    with LiveServer(_settings(upstream)) as server, KeptConnection(server.url) as kept:
        upstream.script(Answer() + Paced())
        upstream.pace.release(3)
        kept.send(say("gpt-4o-mini", stream=True))
        upstream.pace.wait_sent(3)
        assert b"connection: close" not in kept.peek()
        server.send_signal(signal.SIGTERM)
        _wait_refused(server)
        upstream.pace.release_all()
        assert kept.read().body.endswith(b"data: [DONE]\n\n")
        kept.send(say("gpt-4o-mini"))
        after = kept.read()
        assert (after.status, after.headers["connection"]) == (200, "close")
        assert server.wait() == 0


@pytest.mark.parametrize(
    ("workers", "sent"), [("1", signal.SIGTERM), ("1", signal.SIGINT), ("2", signal.SIGTERM)]
)
def test_a_second_signal_ends_at_once(upstream: FakeUpstream, workers: str, sent: signal.Signals) -> None:
    with LiveServer(_settings(upstream, WEB_CONCURRENCY=workers, SHUTDOWN_GRACE=LONG)) as server:
        upstream.script(Answer() + Stall("headers"))
        asked = Asked(server.url)
        upstream.wait_for_request()
        server.send_signal(sent)
        _wait_refused(server)
        server.send_signal(sent)
        assert server.wait() == 0
        # Even so in words.
        assert asked.response().error["code"] == "server_shutting_down"


def test_a_client_that_does_not_read_does_not_hold_the_process(upstream: FakeUpstream) -> None:
    with LiveServer(_settings(upstream, SHUTDOWN_GRACE="1")) as server:
        flood = b"data: " + b'{"choices":[{"index":0,"delta":{"content":"' + b"x" * 60_000 + b'"}}]}\n\n'
        upstream.script(Events([flood] * 300))
        with KeptConnection(server.url) as deaf:
            deaf.send(say("gpt-4o-mini", stream=True))
            upstream.wait_for_request()
            server.send_signal(signal.SIGTERM)
            assert server.wait() == 0


def test_the_development_server_ends_quickly(upstream: FakeUpstream) -> None:
    with LiveServer(_settings(upstream, SHUTDOWN_GRACE=LONG), command="runserver") as server:
        upstream.script(Answer() + Paced())
        with _open(server, upstream) as stream, KeptConnection(server.url) as idle:
            assert idle.get("/healthz").status == 200
            server.send_signal(signal.SIGINT)
            assert stream.chunks()[-1]["error"]["code"] == "server_shutting_down"
            assert server.wait() == 0


def test_an_orphan_gives_the_port_back(upstream: FakeUpstream) -> None:
    """The supervisor was killed: its workers end by themselves."""
    with LiveServer(_settings(upstream, WEB_CONCURRENCY="2")) as server:
        orphans = server.workers()
        assert len(orphans) == 2
        server.send_signal(signal.SIGKILL)
        server.wait()
        _wait_refused(server)
        end = time.monotonic() + 10
        while any(_is_alive(pid) for pid in orphans):
            assert time.monotonic() < end, "a worker outlived its supervisor"
            time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
