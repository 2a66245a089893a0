"""The proxy and the APIs behind it, as real clients meet them: one server for a whole run.

Owns the fixtures that both client suites use, and the check that every Messages body that
reached the upstream is one that Anthropic's own types describe.
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.anthropic_body import assert_valid_anthropic_body
from tests.fake_upstream import FakeUpstream, RecordedRequest
from tests.live_server import ROOT, LiveServer

OPENAI_KEY = "test-openai-key-do-not-leak"
ANTHROPIC_KEY = "test-anthropic-key-do-not-leak"

GPT = "gpt-4o-mini"
CLAUDE = "claude-sonnet-4"
BOTH = (GPT, CLAUDE)
THINKING_GPT = "gpt-5-nano"
BUDGET_CLAUDE = "claude-opus-4"
ADAPTIVE_CLAUDE = "anthropic/claude-opus-5.5"
"""A model that an operator added: its id has a slash, and its signatures bind all that stands before them."""

KEEPALIVE_SECONDS = 0.6
SILENCE_SECONDS = 1.5
SILENCES = ((CLAUDE, "body"), (GPT, 1000))
"""Streams that fall silent for longer than that: before the first word, and in the middle of a frame."""

UPSTREAM_IDS = {
    CLAUDE: "claude-sonnet-4-5",
    BUDGET_CLAUDE: "claude-opus-4-5",
    ADAPTIVE_CLAUDE: "claude-opus-5-5",
}

_ADD_MODELS = f"""
from routing.models import Deployment, Provider, ServedModel
model = ServedModel.objects.create(public_id={ADAPTIVE_CLAUDE!r}, owned_by="anthropic")
provider = Provider.objects.get(name="anthropic")
Deployment.objects.create(model=model, provider=provider, upstream_id={UPSTREAM_IDS[ADAPTIVE_CLAUDE]!r})
"""


@dataclass(frozen=True, slots=True)
class Stack:
    """A running proxy and the fake upstream that it speaks to."""

    server: LiveServer
    upstream: FakeUpstream

    @property
    def base_url(self) -> str:
        return self.server.base_url

    def seen(self, model: str) -> list[dict[str, Any]]:
        """The bodies that the upstream got, once it is sure that they went where they belong."""
        requests = self.upstream.requests
        assert requests, "nothing reached the upstream"
        for request in requests:
            _check_address(request, model)
        return [request.json for request in requests]

    def saw(self, model: str) -> dict[str, Any]:
        """The one body that the upstream got."""
        bodies = self.seen(model)
        assert len(bodies) == 1, f"{len(bodies)} requests reached the upstream"
        return bodies[0]


def is_claude(model: str) -> bool:
    return "claude" in model


def path_of(model: str) -> str:
    """The start of the upstream path that serves a model: what a script is bound to."""
    return "/anthropic" if is_claude(model) else "/openai"


def _check_address(request: RecordedRequest, model: str) -> None:
    assert request.json["model"] == UPSTREAM_IDS.get(model, model)
    if is_claude(model):
        assert request.target == "/anthropic/v1/messages"
        assert request.header("x-api-key") == ANTHROPIC_KEY
        assert request.header("anthropic-version") == "2023-06-01"
        assert request.header("authorization") is None
    else:
        assert request.target == "/openai/v1/chat/completions"
        assert request.header("authorization") == f"Bearer {OPENAI_KEY}"


@pytest.fixture(scope="session")
def running_stack() -> Iterator[Stack]:
    with FakeUpstream() as upstream:
        settings = {
            "OPENAI_BASE_URL": upstream.openai_url,
            "OPENAI_API_KEY": OPENAI_KEY,
            "ANTHROPIC_BASE_URL": upstream.anthropic_url,
            "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
            # Said outright, any token passes even where a request claims to have been forwarded.
            "ACCESS_MODE": "any_bearer",
            # Short enough to be seen, long enough that no answer of the fake upstream takes as long.
            "KEEPALIVE_INTERVAL": str(KEEPALIVE_SECONDS),
            # One failure, one answer: the retries are the clients' own.
            "RETRIES": "0",
            "COOLDOWN_AFTER": "0",
        }
        with LiveServer(settings) as server:
            _add_models(server)
            yield Stack(server, upstream)


@pytest.fixture
def stack(running_stack: Stack) -> Iterator[Stack]:
    """The proxy with both providers behind it, nothing scripted; bodies are checked when the test is over."""
    upstream = running_stack.upstream
    upstream.reset()
    # Fields of other dialects must not reach OpenAI, which refuses what it does not know.
    upstream.reject_unknown_arguments = True
    yield running_stack
    for request in upstream.requests:
        if request.path == "/anthropic/v1/messages":
            assert_valid_anthropic_body(request.json)
    upstream.reset()


def _add_models(server: LiveServer) -> None:
    """What an operator does in the admin while the server runs."""
    subprocess.run(
        [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", _ADD_MODELS],
        cwd=ROOT,
        env=server.environment,
        check=True,
        timeout=60,
    )
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{server.base_url}/models", timeout=5) as answer:
            if ADAPTIVE_CLAUDE.encode() in answer.read():
                return
        time.sleep(0.05)
    raise RuntimeError(f"The added model did not come into force:\n{server.log()[-4000:]}")
