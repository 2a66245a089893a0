"""Models that stand in for another: when they are asked, what the client sees, whose limits count."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import upstream_settings
from tests.api.http import Response, Stream, chat, say, text_of
from tests.api.prepared import prepared_server
from tests.fake_upstream import Answer, Events, FakeUpstream, Json, Stall
from tests.live_server import LiveServer

OPENAI, ANTHROPIC = "/openai", "/anthropic"
WAYS = pytest.mark.parametrize("stream", [False, True])

_PREPARE = """
from routing.models import Deployment, Provider, ServedModel
from tests.factories import make_fallback, make_model
def model(name):
    return ServedModel.objects.get(public_id=name)
# Whatever happens, Claude; and for trouble alone.
make_fallback(model("gpt-4o"), model("claude-sonnet-4"), on_refusal=True)
make_fallback(model("gpt-4.1"), model("claude-sonnet-4"), on_context_overflow=False)
# A chain: the second of them has room for one request in a minute, the third for one at once.
make_fallback(model("gpt-4.1-mini"), model("claude-3-5-haiku"), position=1)
make_fallback(model("gpt-4.1-mini"), model("claude-3-opus"), position=2)
ServedModel.objects.filter(public_id="claude-3-5-haiku").update(requests_per_minute=1)
ServedModel.objects.filter(public_id="claude-3-opus").update(max_concurrent=1)
make_fallback(model("claude-haiku-3-5"), model("gpt-4o-mini"), on_refusal=True)
# Both count tokens.
make_fallback(model("gpt-5-nano"), model("claude-opus-4"), on_refusal=True)
ServedModel.objects.filter(public_id__in=["gpt-5-nano", "claude-opus-4"]).update(tokens_per_minute=100000)
# Nothing is deployed, and nothing streams.
make_fallback(make_model("bare"), model("claude-sonnet-4"))
ServedModel.objects.filter(public_id="claude-3-5-sonnet").update(allows_streaming=False)
make_fallback(model("gpt-4.1-nano"), model("claude-3-5-sonnet"))
"""


@pytest.fixture(scope="module")
def shared_fallback_server(
    shared_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    settings = upstream_settings(shared_upstream) | {
        "KEEPALIVE_INTERVAL": "0.2",
        "UPSTREAM_FIRST_TOKEN_TIMEOUT": "0.9",
        "LOG_FORMAT": "json",
    }
    with prepared_server(settings, tmp_path_factory.mktemp("fallbacks"), _PREPARE) as server:
        yield server


@pytest.fixture
def server(shared_fallback_server: LiveServer, upstream: FakeUpstream) -> LiveServer:
    """One worker without retries."""
    return shared_fallback_server


BUSY = Json(503, {"error": {"message": "openai is busy", "type": "x", "param": None, "code": None}})
TOO_LONG = Json(
    400, {"error": {"message": "too long", "type": "x", "param": None, "code": "context_length_exceeded"}}
)
REFUSED = Json(400, {"error": {"message": "no", "type": "x", "param": None, "code": "content_filter"}})
WRONG = Json(400, {"error": {"message": "wrong", "type": "x", "param": None, "code": None}})
CLAUDE_WRONG = Json(400, {"type": "error", "error": {"type": "invalid_request_error", "message": "wrong"}})


def filtered(content: str | None) -> Json:
    """OpenAI's whole reply, ended by its content filter."""
    message = {"role": "assistant", "content": content, "refusal": None}
    return Json(
        200,
        {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o",
            "choices": [{"index": 0, "message": message, "finish_reason": "content_filter"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
        },
    )


def _log_of(server: LiveServer, request_id: str) -> dict[str, Any]:
    lines = [line for line in server.log().splitlines() if request_id in line and '"chat"' in line]
    assert len(lines) == 1, lines
    found: dict[str, Any] = json.loads(lines[0])
    return found


def _text(answer: Response) -> str:
    if answer.headers["content-type"] == "application/json":
        return str(answer.json()["choices"][0]["message"]["content"])
    frames = answer.body.decode().strip().split("\n\n")
    assert frames[-1] == "data: [DONE]"
    return text_of([json.loads(frame[6:]) for frame in frames[:-1] if frame.startswith("data: ")])


@WAYS
@pytest.mark.parametrize("failure", [BUSY, TOO_LONG, REFUSED], ids=["failure", "overflow", "refusal"])
def test_another_model_answers_under_the_name_that_was_asked_for(
    server: LiveServer, upstream: FakeUpstream, failure: Json, stream: bool
) -> None:
    upstream.always(failure, path=OPENAI)
    request_id = f"stand-in-{stream}-{hash(str(failure.body))}"
    answer = chat(server.url, say("gpt-5", "hear hear", stream=stream), headers={"x-request-id": request_id})
    assert answer.status == 200, answer.body
    assert "hear hear" in _text(answer)
    assert answer.headers["x-patchbay-model"] == "claude-sonnet-4"
    assert answer.headers["x-patchbay-upstream"] == "anthropic/claude-sonnet-4-5"
    assert answer.headers["x-patchbay-attempts"] == "2"
    names = (
        [answer.json()["model"]]
        if not stream
        else [
            json.loads(frame[6:])["model"]
            for frame in answer.body.decode().split("\n\n")
            if frame.startswith("data: {")
        ]
    )
    assert set(names) == {"gpt-5"}
    line = _log_of(server, request_id)
    assert (line["model"], line["alias"], line["served_model"]) == ("gpt-5", "gpt-5", "gpt-4o")
    assert line["fallback"] == "claude-sonnet-4"
    first, second = line["attempts"]
    assert (first["deployment"], first.get("model")) == ("openai/gpt-4o", None)
    assert (second["deployment"], second["model"]) == ("anthropic/claude-sonnet-4-5", "claude-sonnet-4")
    assert second["outcome"] == "ok"


@WAYS
@pytest.mark.parametrize(("failure", "status"), [(TOO_LONG, 400), (REFUSED, 400), (WRONG, 400)])
def test_a_stand_in_that_is_switched_off_for_it_is_not_asked(
    server: LiveServer, upstream: FakeUpstream, failure: Json, status: int, stream: bool
) -> None:
    upstream.always(failure, path=OPENAI)
    answer = chat(server.url, say("gpt-4.1", stream=stream))
    assert answer.status == status
    assert answer.error["code"] == failure.body["error"]["code"]
    assert len(upstream.requests) == 1


def test_the_client_s_own_mistake_is_tried_nowhere_else(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(WRONG, path=OPENAI)
    assert chat(server.url, say("gpt-4o")).status == 400
    assert len(upstream.requests) == 1


@WAYS
def test_when_nobody_answers_the_model_s_own_failure_is_told(
    server: LiveServer, upstream: FakeUpstream, stream: bool
) -> None:
    upstream.always(BUSY, path=OPENAI)
    upstream.always(CLAUDE_WRONG, path=ANTHROPIC)
    answer = chat(server.url, say("gpt-4o", stream=stream))
    assert answer.status == 503
    assert answer.error["message"] == "openai is busy"
    assert answer.headers["x-patchbay-model"] == "gpt-4o"
    assert answer.headers["x-patchbay-attempts"] == "2"


def test_a_refused_reply_gives_way_to_one_that_is_none(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(filtered(None), path=OPENAI)
    answer = chat(server.url, say("gpt-4o", "say it"), headers={"x-request-id": "refused-1"})
    assert "say it" in _text(answer)
    assert answer.headers["x-patchbay-model"] == "claude-sonnet-4"
    line = _log_of(server, "refused-1")
    assert [attempt["outcome"] for attempt in line["attempts"]] == ["refused", "ok"]


@pytest.mark.parametrize("worse", [CLAUDE_WRONG, None], ids=["failing", "refusing"])
def test_a_refused_reply_is_better_than_none(
    server: LiveServer, upstream: FakeUpstream, worse: Json | None
) -> None:
    upstream.always(filtered("I must"), path=OPENAI)
    if worse is not None:
        upstream.always(worse, path=ANTHROPIC)
    answer = chat(server.url, say("gpt-4o", "Please refuse."))
    assert answer.status == 200
    choice = answer.json()["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("content_filter", "I must")
    assert answer.json()["usage"]["total_tokens"] == 7
    assert answer.headers["x-patchbay-model"] == "gpt-4o"
    assert answer.headers["x-patchbay-upstream"] == "openai/gpt-4o"
    assert answer.headers["x-patchbay-attempts"] == "2"


@WAYS
def test_what_claude_refuses_another_model_may_answer(
    server: LiveServer, upstream: FakeUpstream, stream: bool
) -> None:
    answer = chat(server.url, say("claude-haiku-3-5", "Please refuse.", stream=stream))
    assert answer.status == 200
    assert answer.headers["x-patchbay-model"] == "gpt-4o-mini"
    assert [seen.path.split("/")[1] for seen in upstream.requests] == ["anthropic", "openai"]


def _chunk(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o",
        "choices": [choice],
    }


REFUSING_STREAM = Events([_chunk({"role": "assistant", "content": ""}, "content_filter"), "[DONE]"])


def test_a_stream_that_is_refused_before_its_first_word_gives_way(
    server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.always(REFUSING_STREAM, path=OPENAI)
    answer = chat(server.url, say("gpt-4o", "say it", stream=True))
    assert "say it" in _text(answer)
    assert answer.headers["x-patchbay-model"] == "claude-sonnet-4"


def test_a_refused_stream_is_better_than_none(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(REFUSING_STREAM, path=OPENAI)
    upstream.always(CLAUDE_WRONG, path=ANTHROPIC)
    with Stream(server.url, say("gpt-4o", stream=True)) as stream:
        assert stream.headers["x-patchbay-model"] == "gpt-4o"
        chunks = stream.chunks()
    assert chunks[-1] == "[DONE]"
    assert chunks[-2]["choices"][0]["finish_reason"] == "content_filter"


def test_a_stream_that_refuses_after_a_word_goes_on(server: LiveServer, upstream: FakeUpstream) -> None:
    words: list[Any] = [
        _chunk({"role": "assistant", "content": "Well"}, None),
        _chunk({}, "content_filter"),
        "[DONE]",
    ]
    upstream.always(Events(words, delay=0.3), path=OPENAI)
    with Stream(server.url, say("gpt-4o", stream=True)) as stream:
        chunks = stream.chunks()
    assert text_of(chunks) == "Well"
    assert len(upstream.requests) == 1


def test_a_stream_that_has_only_said_that_it_lives_falls_back(
    server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.always(Answer() + Stall("body", 20), path=OPENAI)
    with Stream(
        server.url, say("gpt-4o", "at last", stream=True), headers={"x-request-id": "early-1"}
    ) as stream:
        frames = [frame for _, frame in stream.frames()]
    assert frames[0].startswith(":")
    assert frames[-1] == "data: [DONE]"
    chunks = [json.loads(frame[6:]) for frame in frames[:-1] if frame.startswith("data: ")]
    assert "at last" in text_of(chunks)
    assert len({chunk["id"] for chunk in chunks}) == 1
    line = _log_of(server, "early-1")
    outcomes = [attempt["outcome"] for attempt in line["attempts"]]
    assert outcomes == ["upstream_first_token_timeout", "ok"]
    assert line["status"] == 200


def test_a_stream_that_has_only_said_that_it_lives_ends_with_an_error_when_all_fail(
    server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.always(Answer() + Stall("body", 20), path=OPENAI)
    upstream.always(CLAUDE_WRONG, path=ANTHROPIC)
    with Stream(server.url, say("gpt-4o", stream=True)) as stream:
        frames = [frame for _, frame in stream.frames()]
    assert json.loads(frames[-1][6:])["error"]["code"] == "upstream_first_token_timeout"
    assert all(frame.startswith(":") for frame in frames[:-1])


def test_a_stand_in_has_limits_of_its_own(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(BUSY, path=OPENAI)
    models = [chat(server.url, say("gpt-4.1-mini")).headers["x-patchbay-model"] for _ in range(4)]
    # One request in a minute; then the next one, whose only place is free again each time.
    assert models == ["claude-3-5-haiku", *["claude-3-opus"] * 3]


def _left(server: LiveServer, model: str) -> int:
    """The tokens that `model` may still use, asked with a request that is too wrong to use any."""
    answer = chat(server.url, say(model, temperature="x"))
    return int(answer.headers["x-ratelimit-remaining-tokens"])


@WAYS
def test_both_models_count_what_the_stand_in_used(
    server: LiveServer, upstream: FakeUpstream, stream: bool
) -> None:
    own, other = _left(server, "gpt-5-nano"), _left(server, "claude-opus-4")
    upstream.always(filtered(None) if not stream else BUSY, path=OPENAI)
    answer = chat(server.url, say("gpt-5-nano", "one two three", stream=stream))
    assert answer.headers["x-patchbay-model"] == "claude-opus-4"
    used = other - _left(server, "claude-opus-4")
    assert used > 0
    # The refused reply had used 7 before.
    assert own - _left(server, "gpt-5-nano") == used + (0 if stream else 7)


@WAYS
def test_a_model_without_a_deployment_has_stand_ins(
    server: LiveServer, upstream: FakeUpstream, stream: bool
) -> None:
    answer = chat(server.url, say("bare", stream=stream))
    assert answer.status == 200
    assert answer.headers["x-patchbay-model"] == "claude-sonnet-4"


def test_a_stand_in_that_does_not_stream_is_not_asked_to(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(BUSY, path=OPENAI)
    assert chat(server.url, say("gpt-4.1-nano")).status == 200
    assert chat(server.url, say("gpt-4.1-nano", stream=True)).status == 503
