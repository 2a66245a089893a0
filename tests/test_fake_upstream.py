"""The fake upstream under the real SDKs: if they are content with it, it is a fair stand-in."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.fake_upstream import Events, FakeUpstream, Json, RecordedRequest, Reply
from tests.golden_cases import GoldenCase, load_cases

WEATHER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city"],
}
OPENAI_TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER_SCHEMA}},
    {
        "type": "function",
        "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}},
    },
]
CLAUDE_TOOLS: list[Any] = [
    {"name": "get_weather", "input_schema": WEATHER_SCHEMA},
    {"name": "get_time", "input_schema": {"type": "object", "properties": {}}},
]
WEATHER: Any = {"role": "user", "content": "What is the weather in Beijing?"}
BOTH: Any = {"role": "user", "content": "Ask for the weather in Beijing and the time, in parallel."}
HELLO: Any = {"role": "user", "content": "Hello!"}


@pytest.fixture(scope="module")
def server() -> Iterator[FakeUpstream]:
    with FakeUpstream() as running:
        yield running


@pytest.fixture
def upstream(server: FakeUpstream) -> FakeUpstream:
    server.reset()
    return server


@pytest.fixture
def chat(upstream: FakeUpstream) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=upstream.openai_url, api_key="test-key", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(upstream: FakeUpstream) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=upstream.anthropic_url, api_key="test-key", max_retries=0) as client:
        yield client


class TestOpenAI:
    def test_echoes_the_user_and_counts_tokens(self, chat: openai.OpenAI) -> None:
        completion = chat.chat.completions.create(model="gpt-4o-mini", messages=[HELLO])
        assert completion.choices[0].message.content == "You said: Hello!"
        assert completion.choices[0].finish_reason == "stop"
        assert completion.usage is not None
        assert (
            completion.usage.total_tokens
            == completion.usage.prompt_tokens + completion.usage.completion_tokens
        )

    def test_calls_a_tool_with_arguments_that_fit_its_schema(self, chat: openai.OpenAI) -> None:
        completion = chat.chat.completions.create(model="gpt-4o-mini", messages=[WEATHER], tools=OPENAI_TOOLS)
        choice = completion.choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        assert choice.message.tool_calls is not None
        call: Any = choice.message.tool_calls[0]
        assert (call.function.name, json.loads(call.function.arguments)) == (
            "get_weather",
            {"city": "Beijing"},
        )

    def test_answers_in_text_once_the_tool_has(self, chat: openai.OpenAI) -> None:
        first = chat.chat.completions.create(model="gpt-4o", messages=[BOTH], tools=OPENAI_TOOLS)
        calls = first.choices[0].message.tool_calls or []
        assert len(calls) == 2
        results: list[Any] = [
            {"role": "tool", "tool_call_id": call.id, "content": f"{number} degrees"}
            for number, call in enumerate(calls)
        ]
        history: list[Any] = [BOTH, first.choices[0].message.model_dump(exclude_none=True), *results]
        second = chat.chat.completions.create(model="gpt-4o", messages=history, tools=OPENAI_TOOLS)
        assert second.choices[0].message.content == "The tools answered: 0 degrees; 1 degrees"

    def test_a_forced_call_finishes_with_stop_and_a_required_one_with_tool_calls(
        self, chat: openai.OpenAI
    ) -> None:
        named: Any = {"type": "function", "function": {"name": "get_time"}}
        forced = chat.chat.completions.create(
            model="gpt-4o", messages=[HELLO], tools=OPENAI_TOOLS, tool_choice=named
        )
        assert forced.choices[0].finish_reason == "stop"
        call: Any = (forced.choices[0].message.tool_calls or [])[0]
        assert call.function.name == "get_time"
        required = chat.chat.completions.create(
            model="gpt-4o", messages=[HELLO], tools=OPENAI_TOOLS, tool_choice="required"
        )
        assert required.choices[0].finish_reason == "tool_calls"

    def test_no_parallel_calls_where_they_are_switched_off(self, chat: openai.OpenAI) -> None:
        completion = chat.chat.completions.create(
            model="gpt-4o", messages=[BOTH], tools=OPENAI_TOOLS, parallel_tool_calls=False
        )
        assert len(completion.choices[0].message.tool_calls or []) == 1

    def test_the_streaming_helper_accepts_the_stream(self, chat: openai.OpenAI) -> None:
        with chat.chat.completions.stream(
            model="gpt-4o", messages=[BOTH], tools=OPENAI_TOOLS, stream_options={"include_usage": True}
        ) as stream:
            stream.until_done()
            final = stream.get_final_completion()
        calls = final.choices[0].message.tool_calls or []
        assert [call.function.name for call in calls] == ["get_weather", "get_time"]
        assert json.loads(calls[0].function.arguments) == {"city": "Beijing"}
        assert json.loads(calls[1].function.arguments) == {}
        assert final.usage is not None

    def test_usage_is_a_chunk_of_its_own_and_only_on_request(self, chat: openai.OpenAI) -> None:
        plain = list(chat.chat.completions.create(model="gpt-4o", messages=[HELLO], stream=True))
        assert all("usage" not in chunk.to_dict() for chunk in plain)
        asked = list(
            chat.chat.completions.create(
                model="gpt-4o", messages=[HELLO], stream=True, stream_options={"include_usage": True}
            )
        )
        assert all(chunk.to_dict()["usage"] is None for chunk in asked[:-1])
        assert asked[-1].choices == []
        assert asked[-1].usage is not None
        assert "".join(chunk.choices[0].delta.content or "" for chunk in plain) == "You said: Hello!"

    def test_fills_a_response_schema(self, chat: openai.OpenAI) -> None:
        schema: Any = {
            "type": "object",
            "properties": {
                "n": {"type": "integer", "minimum": 3},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["n", "tags"],
            "additionalProperties": False,
        }
        completion = chat.chat.completions.create(
            model="gpt-4o",
            messages=[HELLO],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "x", "strict": True, "schema": schema},
            },
        )
        value = json.loads(completion.choices[0].message.content or "")
        assert value["n"] >= 3
        assert isinstance(value["tags"][0], str)

    def test_stops_at_stop_sequences_and_lengths(self, chat: openai.OpenAI) -> None:
        stopped = chat.chat.completions.create(model="gpt-4o", messages=[HELLO], stop=["said"])
        assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("You ", "stop")
        cut = chat.chat.completions.create(model="gpt-4o", messages=[HELLO], max_tokens=2)
        assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("You said:", "length")

    def test_several_choices_logprobs_and_refusals(self, chat: openai.OpenAI) -> None:
        several = chat.chat.completions.create(model="gpt-4o", messages=[HELLO], n=3, logprobs=True)
        assert [choice.index for choice in several.choices] == [0, 1, 2]
        probabilities = several.choices[2].logprobs
        assert probabilities is not None
        assert "".join(entry.token for entry in probabilities.content or []) == "You said: Hello!"
        refused = chat.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "Please refuse."}]
        )
        assert refused.choices[0].message.refusal

    def test_legacy_functions_and_custom_tools(self, chat: openai.OpenAI) -> None:
        legacy = chat.chat.completions.create(
            model="gpt-4o",
            messages=[WEATHER],
            functions=[{"name": "get_weather", "parameters": WEATHER_SCHEMA}],
        )
        assert legacy.choices[0].finish_reason == "function_call"
        assert legacy.choices[0].message.function_call is not None
        custom: Any = [{"type": "custom", "custom": {"name": "shell"}}]
        completion = chat.chat.completions.create(model="gpt-5", messages=[WEATHER], tools=custom)
        call: Any = (completion.choices[0].message.tool_calls or [])[0]
        assert (call.type, call.custom.name, call.custom.input) == ("custom", "shell", "Beijing")

    def test_reasoning_spends_the_token_limit_first(self, chat: openai.OpenAI) -> None:
        completion = chat.chat.completions.create(
            model="gpt-5-nano", messages=[HELLO], max_completion_tokens=4
        )
        assert (completion.choices[0].message.content, completion.choices[0].finish_reason) == ("", "length")
        assert completion.usage is not None
        assert completion.usage.completion_tokens_details is not None
        assert completion.usage.completion_tokens_details.reasoning_tokens == 8

    def test_equal_requests_to_equal_servers_get_equal_bytes(self, upstream: FakeUpstream) -> None:
        body = {"model": "gpt-4o", "messages": [WEATHER], "tools": OPENAI_TOOLS, "stream": True}
        texts = []
        for _ in range(2):
            upstream.reset()
            texts.append(_post(upstream, "/openai/v1/chat/completions", body).content)
        assert texts[0] == texts[1]


class TestAnthropic:
    def test_echoes_the_user(self, claude: anthropic.Anthropic) -> None:
        message = claude.messages.create(model="claude-opus-4-5", max_tokens=100, messages=[HELLO])
        assert _text(message) == "You said: Hello!"
        assert message.stop_reason == "end_turn"

    @pytest.mark.parametrize("model", ["claude-opus-4-5", "claude-opus-4-8", "claude-opus-5-5"])
    def test_a_tool_loop_with_thinking_that_is_sent_back(
        self, claude: anthropic.Anthropic, model: str
    ) -> None:
        thinking: Any = {"type": "adaptive"}
        if model == "claude-opus-4-5":
            thinking = {"type": "enabled", "budget_tokens": 1024}
        first = claude.messages.create(
            model=model, max_tokens=4096, messages=[BOTH], tools=CLAUDE_TOOLS, thinking=thinking
        )
        assert first.stop_reason == "tool_use"
        assert [block.type for block in first.content] == ["thinking", "tool_use", "tool_use"]
        results: list[Any] = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "fine"}
            for block in first.content
            if block.type == "tool_use"
        ]
        second = claude.messages.create(
            model=model,
            max_tokens=4096,
            messages=[
                BOTH,
                {"role": "assistant", "content": first.content},
                {"role": "user", "content": results},
            ],
            tools=CLAUDE_TOOLS,
            thinking=thinking,
        )
        assert _text(second) == "The tools answered: fine; fine"

    def test_the_streaming_helper_accepts_the_stream(self, claude: anthropic.Anthropic) -> None:
        with claude.messages.stream(
            model="claude-opus-4-6",
            max_tokens=4096,
            messages=[{"role": "user", "content": "The weather in Beijing, redacted."}],
            tools=CLAUDE_TOOLS,
            thinking={"type": "adaptive"},
        ) as stream:
            types = [event.type for event in stream]
            final = stream.get_final_message()
        assert types[0] == "message_start"
        assert types[-1] == "message_stop"
        assert [block.type for block in final.content] == ["thinking", "redacted_thinking", "tool_use"]
        assert getattr(final.content[0], "thinking", "") != ""
        assert getattr(final.content[2], "input", None) == {"city": "Beijing"}
        assert final.usage.output_tokens_details is not None
        assert final.usage.output_tokens_details.thinking_tokens > 0

    def test_the_order_of_events_on_the_wire(self, upstream: FakeUpstream) -> None:
        body = {"model": "claude-opus-4-5", "max_tokens": 9, "stream": True, "messages": [HELLO]}
        text = _post(upstream, "/anthropic/v1/messages", body).text
        names = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
        assert names == [
            "message_start",
            "content_block_start",
            "ping",
            *["content_block_delta"] * 3,
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]

    def test_newer_models_hide_their_thoughts_unless_asked(self, claude: anthropic.Anthropic) -> None:
        shown: list[bool] = []
        settings: list[Any] = [{"type": "adaptive"}, {"type": "adaptive", "display": "summarized"}]
        for thinking in settings:
            message = claude.messages.create(
                model="claude-opus-4-8",
                max_tokens=99,
                messages=[HELLO],
                thinking=thinking,
            )
            shown.append(bool(getattr(message.content[0], "thinking", None)))
            assert getattr(message.content[0], "signature", "")
        assert shown == [False, True]

    def test_cached_prefixes_are_written_once_and_read_after(self, claude: anthropic.Anthropic) -> None:
        system: Any = [{"type": "text", "text": "a b c d e f", "cache_control": {"type": "ephemeral"}}]
        usages = [
            claude.messages.create(
                model="claude-opus-4-5",
                max_tokens=9,
                system=system,
                messages=[{"role": "user", "content": text}],
            ).usage
            for text in ("one", "two words")
        ]
        assert (usages[0].cache_creation_input_tokens, usages[0].cache_read_input_tokens) == (6, 0)
        assert (usages[1].cache_creation_input_tokens, usages[1].cache_read_input_tokens) == (0, 6)
        assert [usage.input_tokens for usage in usages] == [1, 2]

    def test_fills_an_output_schema(self, claude: anthropic.Anthropic) -> None:
        schema = {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
            "additionalProperties": False,
        }
        message = claude.messages.create(
            model="claude-opus-4-5",
            max_tokens=99,
            messages=[HELLO],
            output_config={"format": {"type": "json_schema", "schema": schema}},
        )
        assert json.loads(_text(message)) == {"name": "some name"}

    def test_stop_sequences_lengths_and_refusals(self, claude: anthropic.Anthropic) -> None:
        stopped = claude.messages.create(
            model="claude-opus-4-5", max_tokens=9, messages=[HELLO], stop_sequences=["said"]
        )
        assert (stopped.stop_reason, stopped.stop_sequence, _text(stopped)) == (
            "stop_sequence",
            "said",
            "You ",
        )
        cut = claude.messages.create(model="claude-opus-4-5", max_tokens=1, messages=[HELLO])
        assert (cut.stop_reason, _text(cut)) == ("max_tokens", "You")
        refused = claude.messages.create(
            model="claude-opus-4-5", max_tokens=9, messages=[{"role": "user", "content": "Please refuse."}]
        )
        assert (refused.stop_reason, refused.content) == ("refusal", [])
        assert refused.stop_details is not None

    def test_counts_tokens_without_max_tokens(self, claude: anthropic.Anthropic) -> None:
        count = claude.messages.count_tokens(
            model="claude-opus-4-5", messages=[{"role": "user", "content": "one two three"}]
        )
        assert count.input_tokens == 3

    def test_errors_become_the_sdks_exceptions(
        self, upstream: FakeUpstream, claude: anthropic.Anthropic
    ) -> None:
        upstream.retired_models.add("claude-gone")
        with pytest.raises(anthropic.NotFoundError, match="claude-gone"):
            claude.messages.create(model="claude-gone", max_tokens=9, messages=[HELLO])
        with pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"):
            claude.with_options(api_key="sk-ant-other").messages.create(
                model="claude-opus-4-5", max_tokens=9, messages=[HELLO]
            )


class TestRecord:
    def test_keeps_the_request_as_it_came(self, upstream: FakeUpstream) -> None:
        body = b'{"model" : "gpt-4o","messages":[{"role":"user","content":"\\u00e9"}]}'
        httpx.post(
            f"{upstream.url}/v1/chat/completions?a=b",
            content=body,
            headers=[("X-Twice", "1"), ("x-twice", "2"), ("authorization", "Bearer test-1")],
        )
        seen = upstream.wait_for_request()
        assert (seen.method, seen.path, seen.query, seen.body) == (
            "POST",
            "/v1/chat/completions",
            "a=b",
            body,
        )
        assert seen.json["messages"][0]["content"] == "é"
        assert seen.header_values("X-TWICE") == ["1", "2"]
        assert seen.header("absent") is None
        assert ("X-Twice", "1") in seen.headers

    def test_each_request_is_waited_for_once(self, upstream: FakeUpstream, chat: openai.OpenAI) -> None:
        for text in ("a", "b"):
            chat.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}])
        first, second = upstream.wait_for_request(), upstream.wait_for_request()
        assert [seen.json["messages"][0]["content"] for seen in (first, second)] == ["a", "b"]
        assert upstream.requests == [first, second]
        with pytest.raises(TimeoutError, match="seen so far: 2"):
            upstream.wait_for_request(timeout=0.01)

    def test_connections_are_counted_and_told_apart(self, upstream: FakeUpstream) -> None:
        before = upstream.open_connections
        with httpx.Client() as one, httpx.Client() as other:
            for client in (one, one, other):
                client.get(upstream.url)
            assert upstream.open_connections == before + 2
            assert upstream.connections_opened == 2
        ids = [seen.connection_id for seen in upstream.requests]
        assert ids[0] == ids[1] != ids[2]
        upstream.wait_for_connections(before)

    def test_reset_forgets(self, upstream: FakeUpstream, chat: openai.OpenAI) -> None:
        upstream.script(Json(500, {}))
        upstream.retired_models.add("gpt-4o")
        upstream.on_request = lambda request: Json(500, {})
        upstream.reset()
        assert chat.chat.completions.create(model="gpt-4o", messages=[HELLO]).choices
        assert (len(upstream.requests), upstream.scripts_left) == (1, 0)


class TestScripts:
    def test_behaviours_are_used_up_in_order_then_the_model_answers(self, upstream: FakeUpstream) -> None:
        upstream.script(Json(429, {"a": 1}, {"retry-after": "7"}), Reply(418, {"x-a": "b"}, "tea"))
        first, second, third = (_chat(upstream) for _ in range(3))
        assert (first.status_code, first.json(), first.headers["retry-after"]) == (429, {"a": 1}, "7")
        assert (second.status_code, second.text, second.headers["x-a"]) == (418, "tea", "b")
        assert third.status_code == 200

    def test_a_path_and_a_count_limit_a_behaviour(self, upstream: FakeUpstream) -> None:
        upstream.script(Json(500, {}), path="/anthropic", times=2)
        claude = {"model": "claude-opus-4-5", "max_tokens": 9, "messages": [HELLO]}
        assert _chat(upstream).status_code == 200
        assert upstream.scripts_left == 2
        statuses = [_post(upstream, "/anthropic/v1/messages", claude).status_code for _ in range(3)]
        assert statuses == [500, 500, 200]

    def test_always_and_on_request(self, upstream: FakeUpstream) -> None:
        def by_model(request: RecordedRequest) -> Json | None:
            return Json(503, {}) if request.json["model"] == "bad" else None

        upstream.on_request = by_model
        assert [_chat(upstream, model=model).status_code for model in ("good", "bad")] == [200, 503]
        upstream.always(Json(500, {}))
        assert [_chat(upstream).status_code for _ in range(3)] == [500] * 3

    def test_goldens_play_as_stream_or_body_to_valid_requests_only(self, upstream: FakeUpstream) -> None:
        text = b'data: {"a":"\xc3\xa9"}\r\n\r\ndata: [DONE]\r\n\r\n'
        upstream.play_golden(text)
        upstream.play_golden({"id": "x"})
        upstream.play_golden([{"type": "ping"}])
        upstream.play_golden({"id": "y"})
        streamed, whole, events = (_chat(upstream) for _ in range(3))
        assert (streamed.content, streamed.headers["content-type"]) == (
            text,
            "text/event-stream; charset=utf-8",
        )
        assert whole.json() == {"id": "x"}
        assert events.text == 'event: ping\ndata: {"type":"ping"}\n\n'
        assert _chat(upstream, messages=[]).status_code == 400

    def test_events_are_written_as_told(self, upstream: FakeUpstream) -> None:
        upstream.script(
            Events([{"type": "a", "é": 1}, "[DONE]", b": comment\n\n"], newline="\r\n", one_byte=True),
            Events([{"type": "a"}], event_names=False),
        )
        assert _chat(upstream).content == (
            'event: a\r\ndata: {"type":"a","é":1}\r\n\r\ndata: [DONE]\r\n\r\n: comment\n\n'.encode()
        )
        assert _chat(upstream).content == b'data: {"type":"a"}\n\n'

    def test_its_own_mistakes_surface(self) -> None:
        upstream = FakeUpstream()
        upstream.start()
        upstream.on_request = lambda request: request.json["missing"]  # its reader's KeyError
        assert _chat(upstream).status_code == 500
        assert isinstance(upstream.errors[0], KeyError)
        with pytest.raises(AssertionError, match="failed by itself"):
            upstream.__exit__(None, None, None)


class TestDoors:
    @pytest.mark.parametrize(
        "path", ["/openai/v1/chat/completions", "/v1/chat/completions", "/chat/completions"]
    )
    def test_openai_paths(self, upstream: FakeUpstream, path: str) -> None:
        assert _post(upstream, path, {"model": "gpt-4o", "messages": [HELLO]}).status_code == 200

    @pytest.mark.parametrize("path", ["/anthropic/v1/messages", "/v1/messages"])
    def test_anthropic_paths(self, upstream: FakeUpstream, path: str) -> None:
        body = {"model": "claude-opus-4-5", "max_tokens": 9, "messages": [HELLO]}
        assert _post(upstream, path, body).status_code == 200

    def test_other_paths_and_methods_are_refused_in_the_apis_own_shape(self, upstream: FakeUpstream) -> None:
        doubled = _post(upstream, "/anthropic/v1/v1/messages", {})
        assert (doubled.status_code, doubled.json()["error"]["type"]) == (404, "not_found_error")
        wrong = _post(upstream, "/openai/v1/completions", {})
        assert (wrong.status_code, set(wrong.json()["error"])) == (404, {"message", "type", "param", "code"})
        assert httpx.get(f"{upstream.openai_url}/chat/completions").status_code == 405

    def test_model_lists(self, chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
        assert "gpt-4o" in {model.id for model in chat.models.list()}
        assert "claude-opus-4-5" in {model.id for model in claude.models.list()}

    def test_tls(self) -> None:
        with FakeUpstream(tls=True) as upstream:
            trusting = ssl.create_default_context(cadata=upstream.certificate_pem)
            with httpx.Client(verify=trusting) as client:
                body = {"model": "gpt-4o", "messages": [HELLO], "stream": True}
                reply = client.post(
                    f"{upstream.openai_url}/chat/completions",
                    json=body,
                    headers={"authorization": "Bearer test-1"},
                )
                assert reply.text.endswith("data: [DONE]\n\n")
            with pytest.raises(httpx.ConnectError), httpx.Client() as stranger:
                stranger.get(upstream.url)

    def test_runs_by_hand(self, project_root: Path) -> None:
        command = [sys.executable, "-m", "tests.fake_upstream", "--port", "0"]
        with subprocess.Popen(command, cwd=project_root, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                name, _, url = process.stdout.readline().strip().partition("=")
                assert name == "OPENAI_BASE_URL"
                with openai.OpenAI(base_url=url, api_key="test-1") as client:
                    assert client.chat.completions.create(model="gpt-4o", messages=[HELLO]).choices
            finally:
                process.terminate()


_CLAUDE_CASES = [case for case in load_cases("chat_req") if case.upstream == "anthropic_messages"]


@pytest.mark.parametrize("case", _CLAUDE_CASES, ids=str)
def test_the_golden_requests_are_ones_that_anthropic_would_take(
    upstream: FakeUpstream, case: GoldenCase
) -> None:
    """The rules and the goldens come from the same documentation by different hands.

    A golden holds a body only, so the betas that some bodies need are sent with all.
    """
    upstream.verify_signatures = False
    betas = "files-api-2025-04-14,context-management-2025-06-27,mcp-client-2025-11-20"
    body = case.read_json("upstream_request.json")
    reply = _post(upstream, "/anthropic/v1/messages", body, {"anthropic-beta": betas})
    assert reply.status_code == 200, reply.text


def _text(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def _chat(upstream: FakeUpstream, **fields: Any) -> httpx.Response:
    return _post(upstream, "/openai/v1/chat/completions", {"model": "gpt-4o", "messages": [HELLO], **fields})


def _post(
    upstream: FakeUpstream, path: str, body: dict[str, Any], more: dict[str, str] | None = None
) -> httpx.Response:
    headers = {"authorization": "Bearer test-key", **(more or {})}
    if path.endswith("messages"):
        headers |= {"x-api-key": "test-key", "anthropic-version": "2023-06-01"}
    return httpx.post(f"{upstream.url}{path}", json=body, headers=headers, verify=False, trust_env=False)
