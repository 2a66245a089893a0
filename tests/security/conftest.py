"""The proxy as an attacker meets it: a server of its own, and a way to change its configuration."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.api.http import request
from tests.fake_upstream import FakeUpstream
from tests.live_server import ROOT, LiveServer

OPENAI_KEY = "test-openai-key-do-not-leak"
ANTHROPIC_KEY = "test-anthropic-key-do-not-leak"
BODY_SECONDS = 1.5
HEADERS_SECONDS = 1.5


@pytest.fixture(scope="session")
def security_upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(security_upstream: FakeUpstream) -> Iterator[FakeUpstream]:
    security_upstream.reset()
    yield security_upstream
    security_upstream.reset()


@pytest.fixture(scope="session")
def security_server(security_upstream: FakeUpstream) -> Iterator[LiveServer]:
    settings = {
        "OPENAI_BASE_URL": security_upstream.openai_url,
        "OPENAI_API_KEY": OPENAI_KEY,
        "ANTHROPIC_BASE_URL": security_upstream.anthropic_url,
        "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
        # Said outright, any token passes even where a request claims to have been forwarded.
        "ACCESS_MODE": "any_bearer",
        "MAX_REQUEST_BYTES": "1048576",
        "MAX_MESSAGES": "100",
        "REQUEST_BODY_TIMEOUT": str(BODY_SECONDS),
        "REQUEST_HEADERS_TIMEOUT": str(HEADERS_SECONDS),
        "LOG_FORMAT": "text",
        "RETRIES": "0",
        "COOLDOWN_AFTER": "0",
    }
    with LiveServer(settings) as server:
        yield server


@pytest.fixture
def server(security_server: LiveServer, upstream: FakeUpstream) -> LiveServer:
    """One worker with small limits, in front of `upstream`."""
    return security_server


def run_in_shell(server: LiveServer, code: str) -> str:
    """What an operator's own program does while the server runs: `code` in `manage.py shell`."""
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", code],
        cwd=ROOT,
        env=server.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_for_config(server: LiveServer, version: int, seconds: float = 10.0) -> None:
    """Until the server serves configuration `version` or a newer one."""
    wait_until(lambda: _version(server) >= version, seconds)


def _version(server: LiveServer) -> int:
    return int(json.loads(request(server.url, "/readyz").body)["config_version"] or 0)


def wait_until(is_so: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
