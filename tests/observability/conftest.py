from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.conftest import upstream_settings
from tests.fake_upstream import FakeUpstream
from tests.live_server import LiveServer


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(shared_upstream: FakeUpstream) -> Iterator[FakeUpstream]:
    shared_upstream.reset()
    yield shared_upstream
    shared_upstream.reset()


@pytest.fixture(scope="session")
def shared_server(shared_upstream: FakeUpstream) -> Iterator[LiveServer]:
    with LiveServer(upstream_settings(shared_upstream) | {"RETRIES": "0", "LOG_FORMAT": "json"}) as server:
        yield server


@pytest.fixture
def server(shared_server: LiveServer, upstream: FakeUpstream) -> LiveServer:
    """The proxy, one worker, open to this machine."""
    return shared_server
