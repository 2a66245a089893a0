from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live_server import LiveServer


@pytest.fixture(scope="package")
def admin_server() -> Iterator[LiveServer]:
    """The proxy as `make run` starts it. Tests that lock or change somebody use a person of their own."""
    with LiveServer() as server:
        yield server
