"""Plain conversations through openai-python: whole, streamed, asynchronous, with pictures."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk

from tests.clients.stack import BOTH, CLAUDE, GPT, SILENCE_SECONDS, SILENCES, UPSTREAM_IDS, Stack, is_claude
from tests.fake_upstream import Answer, Stall

HELLO: list[Any] = [{"role": "user", "content": "Hello there!"}]
# One transparent pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


@pytest.mark.parametrize("model", BOTH)
def test_a_whole_completion(client: OpenAI, stack: Stack, model: str) -> None:
    completion = client.chat.completions.create(
        model=model, messages=HELLO, temperature=0.5, max_tokens=100, stop=["never"]
    )
    [choice] = completion.choices
    assert completion.object == "chat.completion"
    assert completion.id.startswith("chatcmpl-")
    assert completion.model == model
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert (choice.message.role, choice.message.content) == ("assistant", "You said: Hello there!")
    assert choice.message.refusal is None
    assert choice.message.tool_calls is None
    assert completion.usage
    assert completion.usage.prompt_tokens > 0
    assert completion.usage.completion_tokens > 0
    total = completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert completion.usage.total_tokens == total
    body = stack.saw(model)
    assert (body["temperature"], body["max_tokens"]) == (0.5, 100)
    assert body["stop_sequences" if is_claude(model) else "stop"] == ["never"]


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("wants_usage", [True, False])
def test_a_stream(client: OpenAI, stack: Stack, model: str, wants_usage: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if wants_usage else {}
    chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True, **options))
    _check_envelopes(chunks, model)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert [delta.role for delta in deltas if delta.role] == ["assistant"]
    assert deltas[0].role == "assistant"
    texts = [delta.content for delta in deltas if delta.content]
    assert texts == ["You", " said:", " Hello", " there!"]
    finishes = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert finishes == [None] * (len(finishes) - 1) + ["stop"]
    _check_usage(chunks, wants_usage)
    body = stack.saw(model)
    assert body["stream"] is True
    # Usage is asked for in any case: the operator's books need it.
    assert is_claude(model) or body["stream_options"]["include_usage"] is True


def _check_envelopes(chunks: list[ChatCompletionChunk], model: str) -> None:
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk.model for chunk in chunks} == {model}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].id.startswith("chatcmpl-")
    assert len({chunk.created for chunk in chunks}) == 1


def _check_usage(chunks: list[ChatCompletionChunk], wants_usage: bool) -> None:
    if not wants_usage:
        assert all("usage" not in chunk.model_fields_set for chunk in chunks)
        assert all(chunk.choices for chunk in chunks)
        return
    *others, last = chunks
    assert all(chunk.choices for chunk in others)
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in others)
    assert last.choices == []
    assert last.usage
    assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens


@pytest.mark.parametrize("model", BOTH)
def test_the_stream_helper(client: OpenAI, stack: Stack, model: str) -> None:
    texts: list[str] = []
    kinds: list[str] = []
    with client.chat.completions.stream(model=model, messages=HELLO) as stream:
        for event in stream:
            kinds.append(event.type)
            if event.type == "content.delta" and event.delta:
                texts.append(event.delta)
        final = stream.get_final_completion()
    # Said twice, the role would read "assistantassistant" here.
    assert final.choices[0].message.role == "assistant"
    assert final.choices[0].message.content == "You said: Hello there!"
    assert texts == ["You", " said:", " Hello", " there!"]
    assert kinds.count("content.done") == 1


@pytest.mark.parametrize("model", BOTH)
async def test_the_asynchronous_client(async_client: AsyncOpenAI, stack: Stack, model: str) -> None:
    stream = await async_client.chat.completions.create(model=model, messages=HELLO, stream=True)
    texts = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(texts) == "You said: Hello there!"
    completion = await async_client.chat.completions.create(model=model, messages=HELLO)
    assert completion.choices[0].message.content == "You said: Hello there!"


async def test_many_at_once_do_not_mix(async_client: AsyncOpenAI, stack: Stack) -> None:
    async def ask(number: int) -> tuple[str, str]:
        model = BOTH[number % 2]
        text = f"I am number {number}."
        stream = await async_client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": text}], stream=True
        )
        return text, "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    answers = await asyncio.gather(*(ask(number) for number in range(24)))
    assert [answer for _, answer in answers] == [f"You said: {text}" for text, _ in answers]


@pytest.mark.parametrize("model", BOTH)
def test_headers_tell_what_happened(client: OpenAI, stack: Stack, model: str) -> None:
    response = client.chat.completions.with_raw_response.create(model=model, messages=HELLO)
    headers = response.headers
    provider = "anthropic" if is_claude(model) else "openai"
    assert headers["x-request-id"]
    assert response.request_id == headers["x-request-id"]
    assert headers["x-upstream-request-id"] == "req_fake000001"
    assert headers["x-patchbay-model"] == model
    assert headers["x-patchbay-upstream"] == f"{provider}/{UPSTREAM_IDS.get(model, model)}"
    assert headers["x-patchbay-attempts"] == "1"
    assert "x-patchbay-ignored" not in headers
    for private in ("set-cookie", "cf-ray", "openai-organization", "anthropic-organization-id"):
        assert private not in headers
    assert response.parse()._request_id == headers["x-request-id"]


@pytest.mark.parametrize("model", BOTH)
def test_what_the_client_says_of_itself_stays_here(stack: Stack, model: str) -> None:
    """Keys, accounts and telemetry of the client are none of the upstream's business."""
    secret = "token-of-the-client"
    with OpenAI(
        api_key=secret,
        organization="org-of-the-client",
        project="proj-of-the-client",
        base_url=stack.base_url,
        max_retries=0,
    ) as client:
        client.chat.completions.create(
            model=model,
            messages=HELLO,
            extra_headers={"cookie": "session=1", "x-forwarded-for": "10.0.0.1", "x-api-key": secret},
        )
    [request] = stack.upstream.requests
    sent = {name.lower(): value for name, value in request.headers}
    assert not [name for name in sent if name.startswith(("x-stainless", "x-forwarded", "openai-"))]
    assert "cookie" not in sent
    assert not [value for value in sent.values() if "of-the-client" in value]
    stack.saw(model)


@pytest.mark.parametrize("model", BOTH)
def test_the_headers_of_a_stream(client: OpenAI, stack: Stack, model: str) -> None:
    request = client.chat.completions.with_streaming_response.create(model=model, messages=HELLO, stream=True)
    with request as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-accel-buffering"] == "no"
        assert "no-cache" in response.headers["cache-control"]
        assert "content-length" not in response.headers
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"


@pytest.mark.parametrize(("model", "place"), SILENCES)
def test_a_silence_carries_comments_that_the_sdk_passes_over(
    client: OpenAI, stack: Stack, model: str, place: Any
) -> None:
    stack.upstream.script(Answer() + Stall(before=place, seconds=SILENCE_SECONDS), times=2)
    chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: Hello there!"
    request = client.chat.completions.with_streaming_response.create(model=model, messages=HELLO, stream=True)
    with request as response:
        assert any(line.startswith(":") for line in response.iter_lines())


def test_a_request_id_of_the_client_is_kept(client: OpenAI, stack: Stack) -> None:
    response = client.chat.completions.with_raw_response.create(
        model=CLAUDE, messages=HELLO, extra_headers={"x-request-id": "from-the-client-42"}
    )
    assert response.request_id == "from-the-client-42"


def test_what_claude_cannot_honour_is_named(client: OpenAI, stack: Stack) -> None:
    response = client.chat.completions.with_raw_response.create(
        model=CLAUDE, messages=HELLO, seed=7, logit_bias={"50256": -100}, frequency_penalty=0.5, logprobs=True
    )
    ignored = {name.strip() for name in response.headers["x-patchbay-ignored"].split(",")}
    assert {"seed", "logit_bias", "frequency_penalty", "logprobs"} <= ignored
    body = stack.saw(CLAUDE)
    assert not {"seed", "logit_bias", "frequency_penalty", "logprobs"} & body.keys()
    assert response.parse().choices[0].logprobs is None


def test_what_openai_honours_passes_unchanged(client: OpenAI, stack: Stack) -> None:
    completion = client.chat.completions.create(
        model=GPT,
        messages=HELLO,
        seed=7,
        logit_bias={"50256": -100},
        logprobs=True,
        n=2,
        metadata={"team": "red"},
        store=False,
        user="someone",
    )
    assert len(completion.choices) == 2
    assert completion.choices[0].logprobs
    body = stack.saw(GPT)
    assert body == {
        "model": GPT,
        "messages": HELLO,
        "seed": 7,
        "logit_bias": {"50256": -100},
        "logprobs": True,
        "n": 2,
        "metadata": {"team": "red"},
        "store": False,
        "user": "someone",
    }


@pytest.mark.parametrize("model", BOTH)
def test_a_reply_that_is_cut_off_says_length(client: OpenAI, stack: Stack, model: str) -> None:
    completion = client.chat.completions.create(model=model, messages=HELLO, max_completion_tokens=2)
    assert completion.choices[0].finish_reason == "length"
    assert completion.choices[0].message.content == "You said:"


def test_claude_refuses_as_a_content_filter_does(client: OpenAI, stack: Stack) -> None:
    completion = client.chat.completions.create(
        model=CLAUDE, messages=[{"role": "user", "content": "Please refuse."}]
    )
    [choice] = completion.choices
    assert choice.finish_reason == "content_filter"
    assert choice.message.content is None
    assert choice.message.refusal == "This was asked for."


def test_developer_and_late_system_messages_reach_claude(client: OpenAI, stack: Stack) -> None:
    client.chat.completions.create(
        model=CLAUDE,
        messages=[
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi."},
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": "Go on"},
        ],
    )
    body = stack.saw(CLAUDE)
    assert [block["text"] for block in body["system"]] == ["Be kind.", "Be brief."]
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("url", [f"data:image/png;base64,{PIXEL}", "https://example.com/cat.png"])
def test_a_picture(client: OpenAI, stack: Stack, model: str, url: str) -> None:
    content: Any = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
    ]
    completion = client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
    assert (completion.choices[0].message.content or "").startswith("You said: What is it? (with image")
    [turn] = stack.saw(model)["messages"]
    if not is_claude(model):
        assert turn["content"] == content
        return
    text, image = turn["content"]
    assert text == {"type": "text", "text": "What is it?"}
    inline = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    assert image["source"] == (inline if url.startswith("data:") else {"type": "url", "url": url})


def test_a_document_reaches_claude(client: OpenAI, stack: Stack) -> None:
    data = "data:application/pdf;base64,JVBERi0xLjQKJSVFT0YK"
    content: Any = [
        {"type": "file", "file": {"filename": "report.pdf", "file_data": data}},
        {"type": "text", "text": "Sum it up."},
    ]
    client.chat.completions.create(model=CLAUDE, messages=[{"role": "user", "content": content}])
    document, text = stack.saw(CLAUDE)["messages"][0]["content"]
    assert document["type"] == "document"
    assert document["source"] == {
        "type": "base64",
        "media_type": "application/pdf",
        "data": "JVBERi0xLjQKJSVFT0YK",
    }
    assert text["text"] == "Sum it up."


def test_text_of_any_alphabet_survives(client: OpenAI, stack: Stack) -> None:
    text = "Grüße, 世界 🎈\u2028next\u0085line \u0000 end"
    for model in BOTH:
        with client.chat.completions.stream(
            model=model, messages=[{"role": "user", "content": text}]
        ) as stream:
            content = stream.get_final_completion().choices[0].message.content
        assert content == f"You said: {text}"
