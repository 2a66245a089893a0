"""What a process needs and loses while it serves: its database, its disk. Requests go on."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.conftest import upstream_settings
from tests.api.http import BEARER, Stream, chat, request, say
from tests.fake_upstream import FakeUpstream
from tests.live_server import ROOT, LiveServer

workers = pytest.mark.parametrize("workers", ["1", "2"])


def _serves(server: LiveServer) -> None:
    for _ in range(4):  # Each worker gets some of them.
        assert chat(server.url, say("gpt-4o-mini")).status == 200
        with Stream(server.url, say("claude-sonnet-4", stream=True)) as stream:
            assert stream.chunks()[-1] == "[DONE]"
    assert request(server.url, "/v1/models", headers=BEARER).status == 200


def _until(is_so: Callable[[], bool], what: str, timeout: float = 15.0) -> None:
    end = time.monotonic() + timeout
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@workers
def test_without_its_database_the_last_configuration_serves(
    upstream: FakeUpstream, workers: str, tmp_path: Path
) -> None:
    settings = {**upstream_settings(upstream), "WEB_CONCURRENCY": workers}
    with LiveServer(settings, data_dir=tmp_path) as server:
        _serves(server)
        database = tmp_path / "patchbay.sqlite3"
        with sqlite3.connect(database) as connection:
            # As good as gone, for connections that are open too.
            connection.execute("ALTER TABLE routing_configversion RENAME TO away")
        connection.close()
        _until(
            lambda: request(server.url, "/readyz").json()["database"] == "unavailable",
            "nobody sees that the database is away",
        )
        _serves(server)
        assert request(server.url, "/readyz").status == 200
        with sqlite3.connect(database) as connection:
            connection.execute("ALTER TABLE away RENAME TO routing_configversion")
        connection.close()
        _until(lambda: request(server.url, "/readyz").json()["database"] == "ok", "it does not come back")
        _serves(server)


def test_a_locked_database_holds_nobody_up(upstream: FakeUpstream, tmp_path: Path) -> None:
    with LiveServer(upstream_settings(upstream), data_dir=tmp_path) as server:
        locker = sqlite3.connect(tmp_path / "patchbay.sqlite3", isolation_level=None)
        locker.execute("BEGIN EXCLUSIVE")
        try:
            began = time.monotonic()
            _serves(server)
            assert time.monotonic() - began < 8, "requests wait for the lock"
        finally:
            locker.close()


@workers
def test_a_full_disk_holds_nobody_up(upstream: FakeUpstream, workers: str, tmp_path: Path) -> None:
    """No file can grow: neither the log nor the database."""
    settings = {**upstream_settings(upstream), "WEB_CONCURRENCY": workers, "CONFIG_POLL_INTERVAL": "0.05"}
    with LiveServer(settings, data_dir=tmp_path) as server:
        _serves(server)
        processes = [server.pid, *server.workers()]
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        for pid in processes:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
        size = len(server.log())
        _serves(server)
        # Nobody can log in now: that is told, and is all that happens.
        assert request(server.url, "/admin/login/").status in {200, 500}
        _serves(server)
        assert len(server.log()) == size, "the disk was not full"
        for pid in processes:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
        _serves(server)
        assert len(server.log()) > size, "the log does not go on"
        assert [server.pid, *server.workers()] == processes


def test_a_server_starts_where_its_log_cannot_be_written(upstream: FakeUpstream, tmp_path: Path) -> None:
    server = LiveServer(upstream_settings(upstream), data_dir=tmp_path)
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve"], cwd=ROOT, env=server.environment, stdout=full, stderr=full
        )
    try:
        _until(lambda: process.poll() is not None or _answers(server), "it does not start", 40)
        assert process.poll() is None
        _serves(server)
    finally:
        process.terminate()
        process.wait(20)


def _answers(server: LiveServer) -> bool:
    try:
        return request(server.url, "/readyz").status == 200
    except OSError:
        return False
