"""`GET /metrics` of a live server: who may read it, and what it says after real requests."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import upstream_settings
from tests.api.http import Response, Stream, chat, request, say
from tests.fake_upstream import Answer, FakeUpstream, Json, Stall
from tests.live_server import LiveServer


def wait_until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def page(server: LiveServer, **headers: str) -> Response:
    return request(server.url, "/metrics", headers={"accept": "text/plain", **headers})


def total(server: LiveServer, name: str, **labels: str) -> float:
    """The sum of the samples that have these labels."""
    answer = page(server)
    assert answer.status == 200
    return sum(
        sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


# Who may read it.


def test_this_machine_may_read_it(server: LiveServer) -> None:
    answer = page(server)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "proxy.example.com"},
        {"x-forwarded-for": "203.0.113.9"},
        {"forwarded": "for=203.0.113.9"},
        {"via": "1.1 cache"},
        {"authorization": "Bearer any-token"} | {"host": "proxy.example.com"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_through_somebody_else_it_does_not_exist(server: LiveServer, headers: dict[str, str]) -> None:
    answer = page(server, **headers)
    assert answer.status == 404
    assert b"patchbay_" not in answer.body


def test_elsewhere_it_does_not_exist_without_a_token() -> None:
    with LiveServer({"HOST": "0.0.0.0"}) as server:
        assert page(server).status == 404


def test_with_a_token_it_takes_the_token_from_wherever(upstream: FakeUpstream) -> None:
    settings = upstream_settings(upstream) | {"HOST": "0.0.0.0", "METRICS_TOKEN": "let-me-read-7d1"}
    with LiveServer(settings) as server:
        for wrong in (
            {},
            {"authorization": "Bearer let-me-read-7d2"},
            {"authorization": "Basic let-me-read-7d1"},
        ):
            answer = page(server, **wrong)
            assert answer.status == 401
            assert "patchbay_" not in answer.body.decode()
        right = {"authorization": "Bearer let-me-read-7d1"}
        assert page(server, **right, host="proxy.example.com").status == 200
        assert page(server, **right, **{"x-forwarded-for": "203.0.113.9"}).status == 200
        assert "let-me-read" not in server.log()


def test_switched_off_it_does_not_exist_and_requests_are_answered(upstream: FakeUpstream) -> None:
    settings = upstream_settings(upstream) | {"METRICS": "off", "METRICS_TOKEN": "let-me-read-7d1"}
    with LiveServer(settings) as server:
        assert chat(server.url, say("gpt-4o-mini")).status == 200
        assert chat(server.url, say("never-heard-of-this")).status == 404
        assert page(server, authorization="Bearer let-me-read-7d1").status == 404
        assert "Traceback" not in server.log()


def test_only_get_is_answered(server: LiveServer) -> None:
    assert request(server.url, "/metrics", method="POST", body={}).status == 405


# What it says.


def test_requests_are_counted_by_what_came_of_them(server: LiveServer, upstream: FakeUpstream) -> None:
    def requests(status: str) -> float:
        return total(server, "patchbay_requests_total", model="gpt-4o-mini", status=status)

    before = {status: requests(status) for status in ("200", "500")}
    tokens = total(server, "patchbay_output_tokens_total", model="gpt-4o-mini")
    failures = total(server, "patchbay_failures_total", kind="upstream_error")
    assert chat(server.url, say("gpt-4o-mini")).status == 200
    with Stream(server.url, say("gpt-4o-mini", stream=True)) as stream:
        assert stream.chunks()[-1] == "[DONE]"
    upstream.script(Json(500, {"error": {"message": "boom"}}))
    assert chat(server.url, say("gpt-4o-mini")).status == 500
    wait_until(lambda: requests("200") == before["200"] + 2)
    assert requests("500") == before["500"] + 1
    assert total(server, "patchbay_output_tokens_total", model="gpt-4o-mini") > tokens
    assert total(server, "patchbay_failures_total", kind="upstream_error") == failures + 1
    assert total(server, "patchbay_attempts_total", provider="openai", outcome="upstream_error") >= 1
    assert total(server, "patchbay_time_to_first_token_seconds_count", model="gpt-4o-mini") >= 1


def test_what_a_client_wrote_is_on_no_page(server: LiveServer) -> None:
    for name in ("never-heard-of-this", 'x"} 1\npatchbay_evil{a="', "GPT-4o-MINI"):
        chat(server.url, say(name), headers={"x-request-id": "id-never-told"})
    text = page(server).body.decode()
    assert "never" not in text
    assert "evil" not in text
    assert 'model="(unknown)",status="404"' in text
    assert "sk-" not in text


def test_a_request_under_way_is_in_flight(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(Answer() + Stall("headers", 20))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    body = json.dumps(say("gpt-4o-mini"))
    connection.request("POST", "/v1/chat/completions", body=body, headers={"authorization": "Bearer t"})
    upstream.wait_for_request()
    assert total(server, "patchbay_requests_in_flight") == 1
    connection.close()
    wait_until(lambda: total(server, "patchbay_requests_in_flight") == 0)
    assert total(server, "patchbay_requests_total", status="499") >= 1
    assert total(server, "patchbay_attempts_total", outcome="cancelled") >= 1


def test_a_deployment_that_rests_is_told(upstream: FakeUpstream) -> None:
    settings = upstream_settings(upstream) | {"RETRIES": "0", "COOLDOWN_AFTER": "2"}
    with LiveServer(settings) as server:
        for _ in range(2):
            upstream.script(Json(500, {"error": {"message": "boom"}}))
            chat(server.url, say("gpt-4o-mini"))
        assert total(server, "patchbay_cooldowns_open", provider="openai") == 1
        assert total(server, "patchbay_cooldowns_total") == 1


# Several workers.


@pytest.fixture
def two_workers(upstream: FakeUpstream) -> Iterator[LiveServer]:
    with LiveServer(upstream_settings(upstream) | {"WEB_CONCURRENCY": "2", "RETRIES": "0"}) as server:
        yield server


def workers_of(server: LiveServer) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == server.pid and fields[0] != "Z":
                found.append(int(path.parent.name))
    return found


def test_a_worker_that_nobody_asks_tells_of_itself_too(two_workers: LiveServer) -> None:
    # One connection: always the same worker.
    connection = http.client.HTTPConnection("127.0.0.1", two_workers.port, timeout=10)

    def tells_of_both() -> bool:
        connection.request("GET", "/metrics")
        return "\npatchbay_workers 2.0\n" in connection.getresponse().read().decode()

    wait_until(tells_of_both)
    connection.close()


def test_two_workers_are_one_sum_whichever_is_asked(two_workers: LiveServer) -> None:
    wait_until(lambda: total(two_workers, "patchbay_workers") == 2)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: chat(two_workers.url, say("gpt-4o-mini")).status, range(40)))
    assert answers == [200] * 40
    found = {total(two_workers, "patchbay_requests_total", model="gpt-4o-mini") for _ in range(12)}
    assert found == {40}


def test_what_a_killed_worker_counted_is_still_told(two_workers: LiveServer) -> None:
    wait_until(lambda: total(two_workers, "patchbay_workers") == 2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: chat(two_workers.url, say("gpt-4o-mini")), range(20)))
    before = workers_of(two_workers)
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)

    def is_replaced() -> bool:
        with suppress(OSError):
            return before[0] not in workers_of(two_workers) and total(two_workers, "patchbay_workers") == 2
        return False

    wait_until(is_replaced)
    found = {total(two_workers, "patchbay_requests_total", model="gpt-4o-mini") for _ in range(6)}
    assert found == {20}


# Its line in the log.


def test_the_log_of_a_live_server_is_one_json_object_a_request(server: LiveServer) -> None:
    chat(server.url, say("gpt-4o-mini"), headers={"x-request-id": "as-json"})
    wait_until(lambda: "as-json" in server.log())
    (line,) = [line for line in server.log().splitlines() if "as-json" in line]
    told = json.loads(line)
    assert told["status"] == 200
    assert told["attempts"][0]["deployment"].startswith("openai/")
    assert told["input_tokens"] > 0


# What is refused at the door.


@pytest.mark.parametrize(
    ("body", "headers", "kind"),
    [
        (say("gpt-4o-mini"), {"authorization": ""}, "authentication_missing"),
        (say("gpt-4o-mini"), {"authorization": "Bearer sk-pb-unknown-0123456789abcdef"}, "invalid_api_key"),
        (b"{", {}, "invalid_request"),
    ],
    ids=["no key", "an unknown key", "no JSON"],
)
def test_a_refused_request_has_its_line_and_its_count(
    server: LiveServer, body: object, headers: dict[str, str], kind: str
) -> None:
    before = total(server, "patchbay_failures_total", kind=kind)
    request_id = f"refused-{kind}"
    answer = chat(server.url, body, headers=headers | {"x-request-id": request_id})
    wait_until(lambda: request_id in server.log())
    (line,) = [json.loads(line) for line in server.log().splitlines() if request_id in line]
    assert line["message"] == "refused"
    assert line["status"] == answer.status
    assert line["failure"] == kind
    assert "0123456789abcdef" not in server.log()
    assert total(server, "patchbay_failures_total", kind=kind) == before + 1


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_error(server: LiveServer) -> None:
    logged = len(server.log())
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer t\r\n"
            b"content-length: 1000\r\n\r\n{"
        )
        # Its place is taken once the head was read; another request shows that it was.
        assert request(server.url, "/healthz").status == 200
    assert chat(server.url, say("gpt-4o-mini"), headers={"x-request-id": "after-it"}).status == 200
    wait_until(lambda: "after-it" in server.log())
    assert "Traceback" not in server.log()[logged:]
    assert "Unhandled" not in server.log()[logged:]
