"""A model with several deployments and a provider with several keys: what is tried after a failure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import upstream_settings
from tests.api.http import Stream, chat, say
from tests.api.prepared import prepared_server
from tests.fake_upstream import Answer, Behaviour, Cut, Disconnecting, FakeUpstream, Html, Json
from tests.live_server import LiveServer

OPENAI, ANTHROPIC = "/openai", "/anthropic"

_PREPARE = """
from routing.models import Deployment, Provider, ServedModel
from tests.factories import make_credential
model = ServedModel.objects.get(public_id="gpt-4o")
claude = Provider.objects.get(name="anthropic")
Deployment.objects.create(model=model, provider=claude, upstream_id="claude-sonnet-4-5", priority=1)
make_credential(provider=Provider.objects.get(name="openai"), label="second", secret="test-second-key")
"""


@pytest.fixture(scope="module")
def fallback_server(
    shared_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    """`gpt-4o` at OpenAI, with two keys, and behind it at Anthropic."""
    with prepared_server(
        upstream_settings(shared_upstream), tmp_path_factory.mktemp("fallback"), _PREPARE
    ) as server:
        yield server


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "x", "param": None, "code": None}}


def _keys(upstream: FakeUpstream) -> list[str]:
    return [str(seen.header("authorization") or seen.header("x-api-key")) for seen in upstream.requests]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "behaviour",
    [Json(500, _error("boom")), Json(503, _error("busy")), Html(502), Disconnecting(), Answer() + Cut(0)],
    ids=["500", "503", "html", "closed", "cut"],
)
def test_a_failing_deployment_gives_way_to_the_next(
    fallback_server: LiveServer, upstream: FakeUpstream, behaviour: Behaviour, stream: bool
) -> None:
    upstream.always(behaviour, path=OPENAI)
    answer = chat(fallback_server.url, say("gpt-4o", stream=stream))
    assert answer.status == 200, answer.body
    assert answer.headers["x-patchbay-upstream"] == "anthropic/claude-sonnet-4-5"
    assert answer.headers["x-patchbay-attempts"] == "2"
    assert upstream.requests[-1].path.startswith(ANTHROPIC)


@pytest.mark.parametrize("status", [401, 403, 429])
def test_trouble_with_a_key_moves_on_to_the_next_key(
    fallback_server: LiveServer, upstream: FakeUpstream, status: int
) -> None:
    upstream.script(Json(status, _error("not this key")), path=OPENAI)
    answer = chat(fallback_server.url, say("gpt-4o"))
    assert answer.status == 200
    assert answer.headers["x-patchbay-upstream"] == "openai/gpt-4o"
    assert len(set(_keys(upstream))) == 2


def test_with_every_key_refused_the_next_deployment_answers(
    fallback_server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.always(Json(429, _error("slow down")), path=OPENAI)
    answer = chat(fallback_server.url, say("gpt-4o"))
    assert answer.headers["x-patchbay-upstream"] == "anthropic/claude-sonnet-4-5"
    assert answer.headers["x-patchbay-attempts"] == "3"


def test_the_client_s_own_mistake_is_tried_nowhere_else(
    fallback_server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.always(Json(400, _error("wrong")), path=OPENAI)
    answer = chat(fallback_server.url, say("gpt-4o"))
    assert answer.status == 400
    assert len(upstream.requests) == 1


def test_a_retired_upstream_id_gives_way_to_the_next(
    fallback_server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.always(
        Json(404, {"error": {**_error("no such model")["error"], "code": "model_not_found"}}), path=OPENAI
    )
    answer = chat(fallback_server.url, say("gpt-4o"))
    assert answer.status == 200
    assert answer.headers["x-patchbay-upstream"] == "anthropic/claude-sonnet-4-5"


def test_the_last_failure_stands_when_all_fail(fallback_server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(Json(503, _error("openai is busy")), path=OPENAI)
    upstream.always(
        Json(529, {"type": "error", "error": {"type": "overloaded_error", "message": "claude is busy"}}),
        path=ANTHROPIC,
    )
    answer = chat(fallback_server.url, say("gpt-4o"))
    assert answer.status == 503
    assert answer.error["message"] == "claude is busy"
    assert answer.headers["x-patchbay-attempts"] == "2"


def test_a_stream_that_has_begun_is_never_started_again(
    fallback_server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.always(Answer() + Cut(after_bytes=1500), path=OPENAI)
    with Stream(fallback_server.url, say("gpt-4o", "word " * 60, stream=True)) as stream:
        first = stream.read_some()
        assert first
        rest = b""
        while piece := stream.read_some():
            rest += piece
    text = (first + rest).decode()
    assert "upstream_stream_interrupted" in text
    assert "[DONE]" not in text
    assert len(upstream.requests) == 1


def test_a_limit_that_ends_soonest_is_told(fallback_server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.script(Json(429, _error("in a minute"), {"retry-after": "60"}), path=OPENAI)
    upstream.script(Json(429, _error("in a moment"), {"retry-after": "3"}), path=OPENAI)
    upstream.always(Json(503, _error("busy")), path=ANTHROPIC)
    answer = chat(fallback_server.url, say("gpt-4o"))
    assert answer.status == 429
    assert answer.error["message"] == "in a moment"
    assert answer.headers["retry-after"] == "3"
    assert answer.headers["x-patchbay-attempts"] == "3"


def test_what_one_protocol_cannot_say_is_asked_of_another(
    fallback_server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.always(Json(503, _error("busy")), path=OPENAI)
    answer = chat(fallback_server.url, say("gpt-4o", n=2))
    assert answer.status == 503
    assert answer.error["message"] == "busy"


def test_keys_take_turns(fallback_server: LiveServer, upstream: FakeUpstream) -> None:
    for _ in range(4):
        assert chat(fallback_server.url, say("gpt-4o")).status == 200
    keys = _keys(upstream)
    assert keys[0] != keys[1]
    assert keys[:2] == keys[2:]
