"""Every test in here runs with both transports, on both event loops, unless it says otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvloop

from api.services.aiohttp_transport import AiohttpTransport
from api.services.pool import PoolTransport
from api.services.wire import Timeouts, Transport, WireRequest, WireResponse
from tests.fake_upstream.tls import make_server_context

KINDS: Mapping[str, Callable[..., Transport]] = {"pool": PoolTransport, "aiohttp": AiohttpTransport}
TIMEOUTS = Timeouts(connect=5.0, headers=5.0, first_token=5.0, idle=5.0, total=5.0)

POOL_ONLY = pytest.mark.parametrize("kind", ["pool"], indirect=True)
"""For what aiohttp does otherwise and cannot be made to do; the test's docstring says how."""


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, other_certificate: Path) -> None:
    """No proxies, and one trusted certificate instead of the system's hundred (30 ms for each test)."""
    monkeypatch.setenv("SSL_CERT_FILE", str(other_certificate))
    monkeypatch.setenv("SSL_CERT_DIR", str(other_certificate.parent))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture
async def open_transport(kind: str) -> AsyncIterator[Callable[..., Transport]]:
    """Makes transports, for tests that change the environment first."""
    made: list[Transport] = []

    def make(**options: Any) -> Transport:
        made.append(KINDS[kind](**options))
        return made[-1]

    yield make
    for transport in made:
        await transport.close()


@pytest_asyncio.fixture
async def transport(open_transport: Callable[..., Transport]) -> Transport:
    return open_transport()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A server's TLS context for 127.0.0.1 and localhost, and the file of its certificate."""
    context, pem = make_server_context()
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_text(pem)
    return context, path


@pytest.fixture(scope="session")
def other_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "other.pem"
    path.write_text(make_server_context()[1])
    return path


def post(url: str, body: bytes = b"{}", headers: Mapping[str, str] | None = None) -> WireRequest:
    return WireRequest(url, headers or {}, body, allows_private=True)


async def fetch(transport: Transport, url: str, body: bytes = b"{}") -> bytes:
    """The whole body of the response, which must be a 200."""
    response = await transport.send(post(url, body), TIMEOUTS)
    try:
        assert response.status == 200
        return await response.read(1 << 20)
    finally:
        await response.close()


async def read_pieces(response: WireResponse) -> bytes:
    """The whole body, piece by piece."""
    pieces = []
    while piece := await response.read_piece(5.0):
        pieces.append(piece)
    return b"".join(pieces)
