"""More than one process can do: a bounded queue, bounded connections, bounded memory, and many at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import time
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest

from tests.api.conftest import upstream_settings
from tests.api.http import Stream, chat, request, say
from tests.fake_upstream import Answer, Events, FakeUpstream, Gate, Hold, Paced, frame
from tests.live_server import LiveServer
from tests.server.exchanges import Asked, KeptConnection, head_and_body, log_fields

MANY: Final = 1000
MIB: Final = 1024 * 1024


def _settings(upstream: FakeUpstream, **more: str) -> dict[str, str]:
    return {**upstream_settings(upstream), "LOG_FORMAT": "json", **more}


def _chunk(text: str) -> dict[str, object]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
    }


def _long_stream(size: int) -> Events:
    """A reply of `size` bytes, and some."""
    piece = 64 * 1024
    body = frame(_chunk("x" * piece))
    end = _chunk("")
    end["choices"] = [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    return Events([*[body] * (size // piece), frame(end), b"data: [DONE]\n\n"])


# The queue.


def test_a_request_waits_for_a_place_and_gets_it(upstream: FakeUpstream) -> None:
    with LiveServer(_settings(upstream, MAX_UPSTREAM_CALLS="1", QUEUE_TIMEOUT="30")) as server:
        gate = Gate()
        upstream.script(Answer() + Hold(gate))
        first = Asked(server.url)
        gate.wait_reached()
        second = Asked(server.url)
        # Its turn comes only when the first is over, however long one waits here.
        second.join(0.3)
        assert second.is_alive()
        assert len(upstream.requests) == 1
        gate.open()
        assert first.response().status == 200
        assert second.response().status == 200


def test_a_stream_gives_its_place_back_at_its_end_and_when_its_client_leaves(upstream: FakeUpstream) -> None:
    with LiveServer(_settings(upstream, MAX_UPSTREAM_CALLS="1", MAX_QUEUED="0")) as server:
        upstream.always(Answer() + Paced())
        upstream.pace.release(3)
        with Stream(server.url, say("gpt-4o-mini", stream=True)) as stream:
            assert chat(server.url, say("gpt-4o-mini")).status == 503
            upstream.pace.release_all()
            assert stream.chunks()[-1] == "[DONE]"
        upstream.pace.reset()
        upstream.pace.release(3)
        with Stream(server.url, say("gpt-4o-mini", stream=True)):
            assert chat(server.url, say("gpt-4o-mini")).status == 503
        upstream.wait_for_disconnect()
        upstream.pace.release_all()
        assert chat(server.url, say("gpt-4o-mini")).status == 200


def test_where_the_queue_is_full_the_answer_is_no_at_once(upstream: FakeUpstream) -> None:
    settings = _settings(upstream, MAX_UPSTREAM_CALLS="1", MAX_QUEUED="1", QUEUE_TIMEOUT="60")
    with LiveServer(settings) as server:
        gate = Gate()
        upstream.script(Answer() + Hold(gate))
        held = [Asked(server.url)]
        gate.wait_reached()
        # One of two waits in the queue, the other is refused.
        held += [Asked(server.url) for _ in range(2)]
        end = time.monotonic() + 10
        while all(one.is_alive() for one in held[1:]):
            assert time.monotonic() < end, "nobody is refused"
            time.sleep(0.01)
        [refused] = [one for one in held[1:] if not one.is_alive()]
        response = refused.response()
        assert response.status == 503
        assert response.error["code"] == "overloaded"
        assert "MAX_UPSTREAM_CALLS" in response.error["message"]
        assert response.headers["retry-after"] in {"1", "2", "3"}
        assert response.headers["x-should-retry"] == "true"
        # What needs no upstream is not held up.
        assert request(server.url, "/readyz").status == 200
        assert request(server.url, "/v1/models", headers={"authorization": "Bearer t"}).status == 200
        gate.open()
        assert sorted(one.response().status for one in held) == [200, 200, 503]
        assert sorted(line["status"] for line in log_fields(server.log())) == [200, 200, 503]


def test_the_wait_for_a_place_ends(upstream: FakeUpstream) -> None:
    with LiveServer(_settings(upstream, MAX_UPSTREAM_CALLS="1", QUEUE_TIMEOUT="0.2")) as server:
        gate = Gate()
        upstream.script(Answer() + Hold(gate))
        first = Asked(server.url)
        gate.wait_reached()
        assert chat(server.url, say("gpt-4o-mini")).error["code"] == "overloaded"
        gate.open()
        assert first.response().status == 200
        assert chat(server.url, say("gpt-4o-mini")).status == 200


def test_a_client_that_leaves_the_queue_is_never_sent_upstream(upstream: FakeUpstream) -> None:
    settings = _settings(upstream, MAX_UPSTREAM_CALLS="1", MAX_QUEUED="1", QUEUE_TIMEOUT="60")
    with LiveServer(settings) as server:
        gate = Gate()
        upstream.script(Answer() + Hold(gate))
        first = Asked(server.url)
        gate.wait_reached()
        with KeptConnection(server.url) as leaving:
            leaving.send(say("gpt-4o-mini", "I will not wait"))
            end = time.monotonic() + 5
            while chat(server.url, say("gpt-4o-mini"), timeout=60).status != 503:
                assert time.monotonic() < end
        # The place in the queue is free again: this one waits instead of being refused.
        left = time.monotonic()
        next_one = Asked(server.url)
        while not next_one.is_alive():
            assert time.monotonic() - left < 1.0, "the queue is still full"
            next_one = Asked(server.url)
        next_one.join(0.3)
        assert next_one.is_alive()
        gate.open()
        assert [one.response().status for one in (first, next_one)] == [200, 200]
    assert not any(b"I will not wait" in seen.body for seen in upstream.requests)


# Clients that do not read.


def test_clients_that_do_not_read_cost_no_memory(upstream: FakeUpstream) -> None:
    """Their upstreams are held back instead: 50 replies of 20 MB would be a gigabyte."""
    with LiveServer(_settings(upstream)) as server, contextlib.ExitStack() as deaf_ones:
        upstream.always(_long_stream(20 * MIB))
        chat(server.url, say("demo"))
        before = server.memory()
        for _ in range(50):
            deaf = deaf_ones.enter_context(KeptConnection(server.url))
            deaf.send(say("gpt-4o-mini", stream=True))
        end = time.monotonic() + 30
        peak = settled = 0
        while settled < 10:
            assert time.monotonic() < end
            time.sleep(0.1)
            size = server.memory()
            settled = settled + 1 if size <= peak and upstream.replies_under_way == 50 else 0
            peak = max(peak, size)
        assert upstream.replies_under_way == 50
        assert peak - before < 100 * MIB, f"{(peak - before) / MIB:.0f} MiB for 50 slow readers"


def test_a_slow_reader_is_not_taken_for_a_silent_upstream(upstream: FakeUpstream) -> None:
    with LiveServer(_settings(upstream, UPSTREAM_IDLE_TIMEOUT="0.5", KEEPALIVE_INTERVAL="0.2")) as server:
        upstream.script(_long_stream(20 * MIB))
        with Stream(server.url, say("gpt-4o-mini", stream=True)) as stream:
            time.sleep(1.5)  # It is the pause of the client that is on trial here.
            chunks = stream.chunks()
        assert chunks[-1] == "[DONE]"
        assert len(chunks) > 300


def test_a_client_that_never_reads_is_cut_off(upstream: FakeUpstream) -> None:
    with LiveServer(_settings(upstream, RESPONSE_READ_TIMEOUT="0.5", MAX_UPSTREAM_CALLS="1")) as server:
        upstream.script(_long_stream(40 * MIB))
        with KeptConnection(server.url) as deaf:
            deaf.send(say("gpt-4o-mini", stream=True))
            upstream.wait_for_disconnect(timeout=15)
        assert chat(server.url, say("gpt-4o-mini")).status == 200, "its place is free"


# Many connections.


def test_connections_beyond_the_bound_are_told_so(upstream: FakeUpstream) -> None:
    with LiveServer(_settings(upstream, MAX_CONNECTIONS="3")) as server, contextlib.ExitStack() as held:
        for _ in range(3):
            assert held.enter_context(KeptConnection(server.url)).get("/healthz").status == 200
        refused = chat(server.url, say("gpt-4o-mini"))
        assert refused.status == 503
        assert refused.error["code"] == "overloaded"
        assert refused.headers["connection"] == "close"
        assert refused.headers["x-should-retry"] == "true"
        assert request(server.url, "/healthz").status == 200, "a busy process is not a dead one"
        held.close()
        end = time.monotonic() + 5
        while chat(server.url, say("gpt-4o-mini")).status != 200:
            assert time.monotonic() < end, "the connections that ended still count"


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 5 * MANY:
        pytest.skip(f"this machine lets a process open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_thousand_streams_at_once_on_one_worker(upstream: FakeUpstream) -> None:
    """All connect in the same moment, all are open together, all come to their end."""

    first = frame(_chunk("Hello"))
    gate = Gate()
    upstream.always(Events([first, b"data: [DONE]\n\n"]) + Hold(gate, before=len(first)))

    async def read_stream(port: int) -> bytes:
        async with _connection(port) as (reader, writer):
            writer.write(head_and_body("http://127.0.0.1", say("gpt-4o-mini", stream=True)))
            begin = await reader.readuntil(b'"Hello"')
            opened.append(True)
            if len(opened) == MANY:
                gate.open()
            return begin + await reader.readuntil(b"\r\n0\r\n\r\n")

    async def scenario(port: int) -> list[bytes]:
        async with asyncio.timeout(120):
            return await asyncio.gather(*[read_stream(port) for _ in range(MANY)])

    opened: list[bool] = []
    # A file limit as a shell has it: the server raises it by itself.
    with _soft_limit(1024), LiveServer(_settings(upstream)) as server, _soft_limit(5 * MANY):
        replies = asyncio.run(scenario(server.port))
    assert all(reply.startswith(b"HTTP/1.1 200") for reply in replies)
    assert all(b"data: [DONE]" in reply for reply in replies)
    assert not any(b'"error"' in reply for reply in replies)


@contextlib.asynccontextmanager
async def _connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.contextmanager
def _soft_limit(files: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_thousand_connects_at_once(upstream: FakeUpstream) -> None:
    async def ask(port: int) -> bytes:
        async with _connection(port) as (reader, writer):
            writer.write(head_and_body("http://127.0.0.1", say("demo")))
            return await reader.readuntil(b"\r\n\r\n")

    async def scenario(port: int) -> list[bytes]:
        async with asyncio.timeout(60):
            return await asyncio.gather(*[ask(port) for _ in range(MANY)])

    with LiveServer({"LOG_FORMAT": "json"}) as server:
        replies = asyncio.run(scenario(server.port))
    assert {reply.split(b"\r\n", 1)[0] for reply in replies} == {b"HTTP/1.1 200 OK"}


def test_too_few_files_are_said_so(upstream: FakeUpstream) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with LiveServer(_settings(upstream, MAX_UPSTREAM_CALLS=str(hard))) as server:
        warnings = [json.loads(line) for line in server.log().splitlines() if "may open" in line]
    assert warnings, "the operator is not told"
    assert "LimitNOFILE" in warnings[0]["message"]
