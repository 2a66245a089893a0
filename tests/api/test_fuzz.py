"""Odd requests through the real server, for some seconds; `make fuzz` is the long form."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.fake_upstream import FakeUpstream
from tests.fuzz.bodies import bodies
from tests.fuzz.verdict import Tally, send
from tests.live_server import LiveServer

MODELS = (
    "claude-opus-4",
    "claude-sonnet-4",
    "claude-3-5-haiku",
    "claude-3-opus",
    "gpt-4o-mini",
    "gpt-5-nano",
)
"""What a new installation serves: three generations of Claude, and GPT."""
EXAMPLES = 800
SECONDS = 8.0


@pytest.fixture
def quiet_server(server: LiveServer) -> Iterator[LiveServer]:
    """A server that prints no traceback in the meantime."""
    before = len(server.log())
    yield server
    assert "Traceback" not in server.log()[before:]


def test_any_request_is_answered_or_refused_in_words(
    quiet_server: LiveServer, upstream: FakeUpstream
) -> None:
    tally = Tally()
    until = time.monotonic() + SECONDS

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(bodies(MODELS))
    def attempt(body: bytes) -> None:
        # A slow machine tries fewer; a mistake that was found is still made small.
        if time.monotonic() < until or tally.has_failed:
            send(quiet_server.url, upstream, body, tally)

    attempt()
    assert tally.tried >= 50
    ends = {name.split(",")[0] for name in tally.answers}
    assert {"200 Claude", "200 GPT", "400 no upstream"} <= ends, "the fuzz misses most of what it is for"
    assert any("streamed" in name for name in tally.answers)
