from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fake_upstream import FakeUpstream
from tests.live_server import LiveServer

# Small, so that no test waits for a real one.
FAST_TIMEOUTS = {
    "UPSTREAM_CONNECT_TIMEOUT": "2",
    "UPSTREAM_HEADERS_TIMEOUT": "0.6",
    "UPSTREAM_FIRST_TOKEN_TIMEOUT": "0.9",
    "UPSTREAM_IDLE_TIMEOUT": "0.6",
    "UPSTREAM_TOTAL_TIMEOUT": "1.2",
    "KEEPALIVE_INTERVAL": "0.2",
}


def upstream_settings(upstream: FakeUpstream) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": upstream.openai_url,
        "OPENAI_API_KEY": "test-openai-key-do-not-leak",
        "ANTHROPIC_BASE_URL": upstream.anthropic_url,
        "ANTHROPIC_API_KEY": "test-anthropic-key-do-not-leak",
        # One failure, one answer: what is tried again has tests of its own.
        "RETRIES": "0",
        "COOLDOWN_AFTER": "0",
    }


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(shared_upstream: FakeUpstream) -> Iterator[FakeUpstream]:
    """The fake OpenAI and Anthropic that `server` and `hasty_server` speak to, with nothing scripted."""
    shared_upstream.reset()
    yield shared_upstream
    shared_upstream.reset()


@pytest.fixture(scope="session")
def shared_server(shared_upstream: FakeUpstream) -> Iterator[LiveServer]:
    with LiveServer(upstream_settings(shared_upstream)) as server:
        yield server


@pytest.fixture
def server(shared_server: LiveServer, upstream: FakeUpstream) -> LiveServer:
    """The proxy as `make run` starts it, one worker, with both providers configured."""
    return shared_server


@pytest.fixture(scope="session")
def shared_hasty_server(shared_upstream: FakeUpstream) -> Iterator[LiveServer]:
    with LiveServer(upstream_settings(shared_upstream) | FAST_TIMEOUTS) as server:
        yield server


@pytest.fixture
def hasty_server(shared_hasty_server: LiveServer, upstream: FakeUpstream) -> LiveServer:
    """The same with time limits of a second or less."""
    return shared_hasty_server


@pytest.fixture(scope="session")
def dev_server(shared_upstream: FakeUpstream) -> Iterator[LiveServer]:
    """The proxy as `manage.py runserver` serves it."""
    with LiveServer(upstream_settings(shared_upstream), command="runserver") as server:
        yield server


@pytest.fixture(scope="session")
def keyless_server() -> Iterator[LiveServer]:
    """The proxy on a machine where nobody has set a key."""
    with LiveServer() as server:
        yield server
