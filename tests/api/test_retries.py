"""What is tried again, how long that may take, and what a client that leaves meanwhile frees."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import upstream_settings
from tests.api.http import BEARER, Response, Stream, chat, say, text_of
from tests.api.prepared import prepared_server
from tests.fake_upstream import Answer, Behaviour, Cut, Disconnecting, FakeUpstream, Html, Json, Stall
from tests.fake_upstream.unreachable import black_hole
from tests.live_server import LiveServer

WAYS = pytest.mark.parametrize("stream", [False, True])
OPENAI, ANTHROPIC = "/openai", "/anthropic"

_PREPARE = """
from routing.models import Deployment, Provider, ServedModel
from tests.factories import make_fallback
def model(name):
    return ServedModel.objects.get(public_id=name)
claude = Provider.objects.get(name="anthropic")
# Two deployments; and one whose patience is its own.
Deployment.objects.create(model=model("gpt-4o"), provider=claude, upstream_id="claude-sonnet-4-5", priority=1)
Deployment.objects.filter(model=model("gpt-4.1")).update(headers_timeout=0.3, first_token_timeout=0.3)
make_fallback(model("gpt-4.1-mini"), model("claude-sonnet-4"))
"""

SETTINGS = {
    "RETRIES": "2",
    "RETRY_BACKOFF": "0.02",
    "RETRY_AFTER_MAX": "1.5",
    "KEEPALIVE_INTERVAL": "0.2",
    "UPSTREAM_CONNECT_TIMEOUT": "5",
    "UPSTREAM_FIRST_TOKEN_TIMEOUT": "0.6",
    "LOG_FORMAT": "json",
}


@pytest.fixture(scope="module")
def shared_retrying_server(
    shared_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    settings = upstream_settings(shared_upstream) | SETTINGS
    with prepared_server(settings, tmp_path_factory.mktemp("retries"), _PREPARE) as server:
        yield server


@pytest.fixture
def server(shared_retrying_server: LiveServer, upstream: FakeUpstream) -> LiveServer:
    """One worker that tries twice more, and has had enough requests lately to be allowed it."""
    _serve_many(shared_retrying_server, 40)
    upstream.reset()
    return shared_retrying_server


def _serve_many(server: LiveServer, count: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for _ in range(count):
        connection.request(
            "POST", "/v1/chat/completions", body=json.dumps(say("gpt-4o-mini")), headers=BEARER
        )
        assert connection.getresponse().read()
    connection.close()


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "x", "param": None, "code": None}}


BUSY = Json(503, _error("busy"))


def _text(answer: Response) -> str:
    if answer.headers["content-type"] == "application/json":
        return str(answer.json()["choices"][0]["message"]["content"])
    frames = answer.body.decode().strip().split("\n\n")
    assert frames[-1] == "data: [DONE]"
    return text_of([json.loads(frame[6:]) for frame in frames[:-1] if frame.startswith("data: ")])


@WAYS
@pytest.mark.parametrize(
    "behaviour",
    [
        BUSY,
        Json(500, _error("boom")),
        Json(408, _error("slow")),
        Json(409, _error("conflict")),
        Json(429, _error("slow down")),
        Json(529, _error("overloaded")),
        Html(502),
        Disconnecting(),
        Disconnecting() + Cut(0, reset=True),
        Answer() + Cut(40),
    ],
    ids=["503", "500", "408", "409", "429", "529", "html", "closed", "reset", "truncated"],
)
def test_what_passes_is_tried_again(
    server: LiveServer, upstream: FakeUpstream, behaviour: Behaviour, stream: bool
) -> None:
    upstream.script(behaviour, times=2)
    answer = chat(server.url, say("gpt-4o-mini", "third time", stream=stream))
    assert answer.status == 200, answer.body
    assert "third time" in _text(answer)
    # A connection that was closed while it was idle is no attempt: the pool takes another one.
    assert answer.headers["x-patchbay-attempts"] in {"2", "3"}
    assert len(upstream.requests) == 3


def test_no_more_than_that(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(BUSY)
    answer = chat(server.url, say("gpt-4o-mini"))
    assert answer.status == 503
    assert answer.error["message"] == "busy"
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    "behaviour",
    [
        Json(400, _error("wrong")),
        Json(401, _error("key")),
        Json(402, _error("money")),
        Json(404, _error("unknown")),
        Json(422, _error("wrong")),
        Json(503, _error("do not"), {"x-should-retry": "false"}),
        Json(429, _error("later"), {"retry-after": "2"}),
    ],
    ids=["400", "401", "402", "404", "422", "should-not", "later"],
)
def test_what_stays_is_not(server: LiveServer, upstream: FakeUpstream, behaviour: Behaviour) -> None:
    upstream.always(behaviour)
    answer = chat(server.url, say("gpt-4o-mini"))
    assert answer.status >= 400
    assert len(upstream.requests) == 1


def test_every_deployment_comes_before_a_retry(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(BUSY)
    chat(server.url, say("gpt-4o"))
    paths = [seen.path.split("/")[1] for seen in upstream.requests]
    assert paths == ["openai", "anthropic", "openai", "anthropic"]


def test_retries_come_before_a_stand_in(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(BUSY, path=OPENAI)
    answer = chat(server.url, say("gpt-4.1-mini"))
    assert answer.status == 200
    assert answer.headers["x-patchbay-model"] == "claude-sonnet-4"
    assert answer.headers["x-patchbay-attempts"] == "4"


def test_an_upstream_is_given_the_time_that_it_asks_for(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.script(Json(429, _error("slow down"), {"retry-after": "1"}))
    began = time.monotonic()
    assert chat(server.url, say("gpt-4o-mini")).status == 200
    assert time.monotonic() - began >= 1.0


def test_retries_have_a_budget(shared_upstream: FakeUpstream, upstream: FakeUpstream) -> None:
    with LiveServer(upstream_settings(shared_upstream) | SETTINGS) as server:
        upstream.always(BUSY)
        for _ in range(10):
            assert chat(server.url, say("gpt-4o-mini")).status == 503
    # Ten requests allow three retries, however many of them would like one.
    assert len(upstream.requests) == 13


def test_a_silent_upstream_that_says_nothing_is_asked_once_more(
    server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.script(Answer() + Stall("body", 20))
    with Stream(server.url, say("gpt-4o-mini", "now", stream=True)) as stream:
        chunks = stream.chunks()
    assert text_of(chunks) == text_of(chunks).strip()
    assert "now" in text_of(chunks)
    assert chunks[-1] == "[DONE]"
    assert len(upstream.requests) == 2


def test_a_deployment_has_time_limits_of_its_own(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(Answer() + Stall("headers", 20))
    began = time.monotonic()
    answer = chat(server.url, say("gpt-4.1"))
    assert (answer.status, answer.error["code"]) == (504, "upstream_headers_timeout")
    assert time.monotonic() - began < 10
    assert len(upstream.requests) == 1, "an answer that did not come in time is not asked for again"


# One deadline over everything.


@pytest.fixture(scope="module")
def shared_deadline_server(shared_upstream: FakeUpstream) -> Iterator[LiveServer]:
    settings = upstream_settings(shared_upstream) | {
        "REQUEST_DEADLINE": "0.8",
        "KEEPALIVE_INTERVAL": "0.3",
        "RETRIES": "20",
        "RETRY_BACKOFF": "0.2",
    }
    with LiveServer(settings) as server:
        yield server


@pytest.fixture
def deadline_server(shared_deadline_server: LiveServer, upstream: FakeUpstream) -> LiveServer:
    return shared_deadline_server


@WAYS
@pytest.mark.parametrize("where", ["headers", "body"])
def test_the_deadline_ends_an_attempt(
    deadline_server: LiveServer, upstream: FakeUpstream, where: Any, stream: bool
) -> None:
    upstream.always(Answer() + Stall(where, 20))
    answer = chat(deadline_server.url, say("gpt-4o-mini", stream=stream), timeout=5)
    if stream and where == "body":
        assert answer.status == 200
        error = json.loads(answer.body.strip().split(b"\n\n")[-1][6:])["error"]
    else:
        assert answer.status == 504
        error = answer.error
    assert error["code"] == "upstream_total_timeout"
    assert "REQUEST_DEADLINE" in error["message"]
    assert len(upstream.requests) == 1


def test_no_wait_goes_past_the_deadline(deadline_server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(BUSY)
    began = time.monotonic()
    answer = chat(deadline_server.url, say("gpt-4o-mini"), timeout=5)
    assert answer.status == 503
    assert answer.error["message"] == "busy"
    assert time.monotonic() - began < 3


# A client that leaves.


@pytest.fixture(scope="module")
def shared_patient_server(
    shared_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    """It waits as long as it is asked to, and its upstream `hole` never accepts a connection."""
    with black_hole() as hole:
        code = f"""
from routing.models import Deployment, ServedModel
from tests.factories import make_provider
provider = make_provider("hole", kind="openai_compatible", base_url={hole!r} + "/v1",
                         requires_key=False, allows_private_network=True)
Deployment.objects.create(model=ServedModel.objects.create(public_id="hole"), provider=provider, upstream_id="m")
"""
        settings = upstream_settings(shared_upstream) | {
            "RETRIES": "2",
            "RETRY_AFTER_MAX": "60",
            "KEEPALIVE_INTERVAL": "0.2",
            "UPSTREAM_CONNECT_TIMEOUT": "60",
        }
        with prepared_server(settings, tmp_path_factory.mktemp("patient"), code) as server:
            yield server


@pytest.fixture
def patient_server(shared_patient_server: LiveServer, upstream: FakeUpstream) -> LiveServer:
    return shared_patient_server


def _leave_after(server: LiveServer, body: Any, request_id: str, is_time: Any) -> float:
    """Send a request, hang up when `is_time` returns; the seconds until the request's line is in the log."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request(
        "POST",
        "/v1/chat/completions",
        body=json.dumps(body),
        headers={**BEARER, "x-request-id": request_id},
    )
    is_time()
    left = time.monotonic()
    connection.close()
    while request_id not in server.log():
        assert time.monotonic() - left < 5, "the request goes on without its client"
        time.sleep(0.01)
    assert "status=499" in next(line for line in server.log().splitlines() if request_id in line)
    return time.monotonic() - left


@WAYS
def test_whoever_leaves_during_a_wait_is_not_waited_for(
    patient_server: LiveServer, upstream: FakeUpstream, stream: bool
) -> None:
    upstream.always(Json(429, _error("slow down"), {"retry-after": "50"}))

    def refused() -> None:
        upstream.wait_for_request()
        time.sleep(0.2)  # It has to reach the wait, which nothing shows from outside.

    body = say("gpt-4o-mini", stream=stream)
    assert _leave_after(patient_server, body, f"left-waiting-{stream}", refused) < 1.0
    assert len(upstream.requests) == 1


@WAYS
def test_whoever_leaves_while_we_connect_ends_it(patient_server: LiveServer, stream: bool) -> None:
    body = say("hole", stream=stream)
    assert _leave_after(patient_server, body, f"left-connecting-{stream}", lambda: time.sleep(0.3)) < 1.0


def test_whoever_leaves_a_stream_without_output_frees_the_upstream(
    patient_server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.always(Answer() + Stall("body", 20))
    stream = Stream(patient_server.url, say("gpt-4o-mini", stream=True))
    assert stream.read_some().startswith(b":")
    left = time.monotonic()
    stream.close()
    assert upstream.wait_for_disconnect(timeout=3).at - left < 1.0


def test_whoever_leaves_while_a_second_upstream_is_asked_frees_that_one(
    server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.always(Answer() + Stall("body", 20), path=OPENAI)
    upstream.always(Answer() + Stall("headers", 20), path=ANTHROPIC)
    stream = Stream(server.url, say("gpt-4o", stream=True))
    assert stream.read_some().startswith(b":")
    for _ in range(2):
        upstream.wait_for_request()
    first = upstream.wait_for_disconnect(timeout=3)
    left = time.monotonic()
    stream.close()
    second = upstream.wait_for_disconnect(timeout=3)
    assert first.at < left
    assert second.at - left < 1.0


# Rests.


def test_what_rests_is_passed_over_and_tried_when_nothing_else_is_left(
    shared_upstream: FakeUpstream, upstream: FakeUpstream, tmp_path: Any
) -> None:
    settings = upstream_settings(shared_upstream) | {"COOLDOWN_AFTER": "2", "COOLDOWN_SECONDS": "60"}
    with prepared_server(settings, tmp_path, _PREPARE) as server:
        upstream.always(BUSY, path=OPENAI)
        attempts = [chat(server.url, say("gpt-4o")).headers["x-patchbay-attempts"] for _ in range(4)]
        assert attempts == ["2", "2", "1", "1"]
        for _ in range(3):
            assert chat(server.url, say("gpt-4o-mini")).status == 503
        upstream.reset()
        # It rests, and nobody else serves the model.
        assert chat(server.url, say("gpt-4o-mini")).status == 200
        # With a stand-in, that goes first.
        upstream.always(BUSY, path=OPENAI)
        for _ in range(2):
            chat(server.url, say("gpt-4.1-mini"))
        before = len(upstream.requests)
        answer = chat(server.url, say("gpt-4.1-mini"))
        assert (answer.headers["x-patchbay-model"], len(upstream.requests) - before) == ("claude-sonnet-4", 1)


def test_a_stream_that_breaks_off_counts_as_a_failure(
    shared_upstream: FakeUpstream, upstream: FakeUpstream, tmp_path: Any
) -> None:
    settings = upstream_settings(shared_upstream) | {"COOLDOWN_AFTER": "2", "COOLDOWN_SECONDS": "60"}
    with prepared_server(settings, tmp_path, _PREPARE) as server:
        upstream.always(Answer() + Cut(after_bytes=1500), path=OPENAI)
        seen = []
        for _ in range(3):
            with Stream(server.url, say("gpt-4o", "word " * 60, stream=True)) as stream:
                seen.append((stream.headers["x-patchbay-upstream"], "[DONE]" in stream.chunks()))
        broken, whole = ("openai/gpt-4o", False), ("anthropic/claude-sonnet-4-5", True)
        assert seen == [broken, broken, whole]
