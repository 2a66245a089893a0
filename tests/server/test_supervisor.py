"""Several workers under load: replaced, killed, crashing; nobody notices who was not in the dead one's hands."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from proxy_site.supervisor import NUMBER_VARIABLE, Supervisor
from tests.api.conftest import upstream_settings
from tests.api.http import request
from tests.fake_upstream import FakeUpstream
from tests.live_server import LiveServer
from tests.server.load import Load


@pytest.fixture
def server(upstream: FakeUpstream) -> LiveServer:
    return LiveServer({**upstream_settings(upstream), "WEB_CONCURRENCY": "2", "DRAIN_DELAY": "0"})


async def _until(is_so: Callable[[], bool], what: str, timeout: float = 45.0) -> float:
    """Seconds until `is_so`."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < timeout, what
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def test_a_rolling_restart_loses_no_request(server: LiveServer) -> None:
    async def scenario() -> None:
        before = set(server.workers())
        async with Load(server.url, model="gpt-4o-mini") as load:
            await load.until(100)
            server.send_signal(signal.SIGHUP)
            await _until(lambda: "Every worker is replaced" in server.log(), "the restart does not end")
            await _until(lambda: len(server.workers()) == 2, "an old worker stays")
            await load.until(100)
        assert not before & set(server.workers())
        assert load.lost == []
        assert load.refused == []
        assert all(load.answered[kind] > 0 for kind in ("plain", "stream", "fresh"))

    with server:
        asyncio.run(scenario())


def test_a_killed_worker_is_replaced_and_the_other_goes_on(server: LiveServer) -> None:
    async def scenario() -> None:
        victim, survivor = server.workers()
        async with Load(server.url, model="gpt-4o-mini") as load:
            await load.until(100)
            os.kill(victim, signal.SIGKILL)
            await load.until(100)
            assert survivor in server.workers()
            seconds = await _until(lambda: len(set(server.workers()) - {victim}) == 2, "no new worker")
            assert seconds < 30
            lost = len(load.lost)
            # What the dead one had in its hands is cut; nothing else is.
            assert lost <= 12
            await load.until(200)
            assert len(load.lost) == lost
        assert load.refused == []

    with server:
        asyncio.run(scenario())
        assert "was killed by SIGKILL; another takes its place." in server.log()


def test_a_worker_that_cannot_start_does_not_replace_one_that_works(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """The new release is broken: the old workers stay, and the log says why."""
    broken = tmp_path / "release"
    broken.mkdir()
    settings = {**upstream_settings(upstream), "WEB_CONCURRENCY": "2", "PYTHONPATH": str(broken)}
    with LiveServer(settings) as server:
        before = set(server.workers())
        (broken / "sitecustomize.py").write_text("raise SystemExit('this release does not start')")
        server.send_signal(signal.SIGHUP)
        asyncio.run(_until(lambda: "the old ones stay" in server.log(), "nothing is said"))
        assert set(server.workers()) == before
        assert request(server.url, "/readyz").status == 200


# The supervisor by itself, with workers that are a line of Python.

_REPORTING = "import socket,sys,time; s=socket.socket(fileno=int(sys.argv[2])); s.send(b'r'); {then}"


def _supervise(
    then: str,
    started: list[float],
    *,
    patience: float = 1.0,
    silent_ticks: int = 60,
    on_end: Callable[[int], None] | None = None,
) -> Supervisor:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))

    def command(listener_file: int, link_file: int) -> Sequence[str]:
        started.append(time.monotonic())
        return [sys.executable, "-S", "-c", _REPORTING.format(then=then), str(listener_file), str(link_file)]

    return Supervisor(
        listener,
        workers=1,
        patience=patience,
        command=command,
        silent_ticks=silent_ticks,
        on_end=on_end,
    )


def _signal_when(is_so: Callable[[], bool], sent: signal.Signals) -> threading.Thread:
    def wait() -> None:
        while not is_so():
            time.sleep(0.02)
        os.kill(os.getpid(), sent)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_worker_that_keeps_dying_young_is_started_ever_more_slowly() -> None:
    started: list[float] = []
    waiting = _signal_when(lambda: len(started) >= 4, signal.SIGTERM)
    assert _supervise("sys.exit(7)", started).run() == 0
    waiting.join()
    gaps = [later - earlier for earlier, later in itertools.pairwise(started)]
    # The first comes back at once; then 1 s, then 2 s, beside the time that it lives.
    assert gaps[1] >= 1.0
    assert gaps[2] >= 2.0


def test_a_worker_s_number_is_free_again_when_its_end_was_told(tmp_path: Path) -> None:
    told: list[int] = []
    started: list[float] = []
    numbers = tmp_path / "numbers"
    note = f"import os; open({str(numbers)!r}, 'a').write(os.environ[{NUMBER_VARIABLE!r}] + ' '); sys.exit(7)"
    waiting = _signal_when(lambda: len(started) >= 3, signal.SIGTERM)
    assert _supervise(note, started, on_end=told.append).run() == 0
    waiting.join()
    assert told == [1] * len(started)
    assert set(numbers.read_text().split()) == {"1"}


def test_a_worker_that_hangs_is_replaced() -> None:
    started: list[float] = []
    waiting = _signal_when(lambda: len(started) >= 2, signal.SIGTERM)
    assert _supervise("time.sleep(600)", started, silent_ticks=2).run() == 0
    waiting.join()


def test_where_no_worker_ever_starts_the_supervisor_ends() -> None:
    started: list[float] = []
    listener = socket.socket()

    def command(listener_file: int, link_file: int) -> Sequence[str]:
        started.append(time.monotonic())
        return [sys.executable, "-S", "-c", "raise SystemExit(3)"]

    assert Supervisor(listener, workers=2, patience=1.0, command=command).run() == 1
    assert len(started) == 2


def test_a_worker_that_does_not_end_is_killed_at_the_second_signal(tmp_path: Path) -> None:
    started: list[float] = []
    told = tmp_path / "told"
    stubborn = (
        "import signal; signal.signal(3, signal.SIG_IGN); "
        f"signal.signal(15, lambda *_: open({str(told)!r}, 'w').close()); s.send(b'r'); "
        "[time.sleep(60) for _ in range(10)]"
    )
    supervisor = _supervise(stubborn, started, patience=600.0)
    first = _signal_when(lambda: supervisor.is_ready, signal.SIGTERM)
    second = _signal_when(told.exists, signal.SIGTERM)
    began = time.monotonic()
    assert supervisor.run() == 0
    first.join()
    second.join()
    assert time.monotonic() - began < 40
