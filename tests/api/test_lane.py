"""The API lane keeps off threads: the regression that costs five times the CPU."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asgiref.sync
import pytest
from django.core.handlers.asgi import ASGIHandler

from proxy_site.handler import ApiLane
from routing.access import current_access
from tests.api.http import Stream, say
from tests.fake_upstream import Answer, FakeUpstream, Stall
from tests.live_server import LiveServer


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_fifty_open_streams_need_no_threads(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(Answer() + Stall(800, 60))
    streams = [Stream(server.url, say("gpt-4o-mini", "word " * 40, stream=True)) for _ in range(50)]
    try:
        for stream in streams:
            assert stream.status == 200
        assert _threads(server.pid) <= 8
    finally:
        for stream in streams:
            stream.close()


class _Counter:
    calls = 0


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> _Counter:
    """Counts every hop to a thread that asgiref makes."""
    counter = _Counter()
    original = asgiref.sync.SyncToAsync.__call__

    async def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        counter.calls += 1
        return await original(self, *args, **kwargs)

    monkeypatch.setattr(asgiref.sync.SyncToAsync, "__call__", counted)
    return counter


async def _call(handler: ASGIHandler, method: str, path: str, body: bytes = b"") -> int:
    sent: list[dict[str, Any]] = []
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    ended = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"authorization", b"Bearer t")],
    }
    await handler(scope, receive, send)
    ended.set()
    return int(sent[0]["status"])


@pytest.fixture
def any_bearer(settings: Any) -> Iterator[None]:
    settings.ACCESS_MODE = "any_bearer"
    current_access.cache_clear()
    yield
    current_access.cache_clear()


async def test_no_request_on_the_lane_hops_to_a_thread(hops: _Counter, any_bearer: None) -> None:
    lane = ApiLane()
    assert await _call(lane, "GET", "/healthz") == 200
    assert await _call(lane, "GET", "/api/v1/nothing") == 404
    assert await _call(lane, "POST", "/api/v1/chat/completions", b"{") == 400
    assert await _call(lane, "PATCH", "/api/v1/chat/completions") == 405
    assert hops.calls == 0


async def test_paths_that_lead_nowhere_take_no_place_among_those_that_are_remembered(
    any_bearer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane, resolved = ApiLane(), []
    resolve = ASGIHandler.resolve_request

    def count(handler: ASGIHandler, request: Any) -> Any:
        resolved.append(request.path_info)
        return resolve(handler, request)

    monkeypatch.setattr(ASGIHandler, "resolve_request", count)
    for number in range(100):
        assert await _call(lane, "GET", f"/api/v1/nothing/{number}") == 404
    for _ in range(3):
        assert await _call(lane, "GET", "/healthz") == 200
    assert resolved.count("/healthz") == 1
    assert await _call(lane, "GET", "/api/v1/nothing/1") == 404
    assert resolved.count("/api/v1/nothing/1") == 2


@pytest.mark.django_db
async def test_the_counter_sees_the_hops_of_the_stock_handler(hops: _Counter) -> None:
    assert await _call(ASGIHandler(), "GET", "/healthz") == 200
    assert hops.calls > 0
