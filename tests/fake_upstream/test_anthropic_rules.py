"""What the pretended Messages API refuses, and what it lets pass: one line per rule, over the wire."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.fake_upstream import FakeUpstream

Body = dict[str, Any]
USER = {"role": "user", "content": "Hi"}
TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
PNG = {"type": "base64", "media_type": "image/png", "data": "aGk="}
IMAGE = {"type": "image", "source": PNG}
MARK = {"type": "ephemeral"}


def called(*ids: str, text: str = "") -> Body:
    blocks: list[Body] = [{"type": "tool_use", "id": entry, "name": "f", "input": {}} for entry in ids]
    return {"role": "assistant", "content": [*([{"type": "text", "text": text}] if text else []), *blocks]}


def answered(*ids: str, then: str = "") -> Body:
    blocks: list[Body] = [{"type": "tool_result", "tool_use_id": entry, "content": "ok"} for entry in ids]
    return {"role": "user", "content": [*blocks, *([{"type": "text", "text": then}] if then else [])]}


def said(*blocks: Any, role: str = "user") -> Body:
    return {"messages": [{"role": role, "content": list(blocks)}]}


def with_tool(**fields: Any) -> Body:
    return {"tools": [{**TOOL, **fields}]}


def with_schema(**schema: Any) -> Body:
    return {"tools": [{"name": "f", "input_schema": schema}]}


def formatted(schema: Any) -> Body:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


def closed(**properties: Any) -> Body:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


REFUSED: list[tuple[str, Body, str]] = [
    # top level
    ("unknown field", {"seed": 1}, "seed: Extra inputs are not permitted"),
    ("null", {"temperature": None}, "temperature: Input should be a valid number"),
    ("stop null", {"stop_sequences": None}, "stop_sequences: Input should be a valid list"),
    ("stream as text", {"stream": "yes"}, "stream: Input should be a valid boolean"),
    ("model empty", {"model": ""}, "model: String should have at least 1 character"),
    ("max_tokens zero", {"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
    ("max_tokens as text", {"max_tokens": "9"}, "max_tokens: Input should be a valid integer"),
    ("max_tokens as bool", {"max_tokens": True}, "max_tokens: Input should be a valid integer"),
    ("max_tokens above the model's", {"max_tokens": 64001}, "max_tokens: 64001 > 64000, which is the maximum"),
    ("temperature above 1", {"temperature": 1.5}, "temperature: Input should be less than or equal to 1"),
    ("temperature below 0", {"temperature": -1}, "temperature: Input should be greater than or equal to 0"),
    ("temperature with top_p", {"temperature": 1, "top_p": 1}, "`temperature` and `top_p` cannot both be specified"),
    ("service tier", {"service_tier": "flex"}, "service_tier: Input should be 'auto' or 'standard_only'"),
    ("stop of spaces", {"stop_sequences": ["\n"]}, "stop_sequences: each stop sequence must contain non-whitespace"),
    ("stop not text", {"stop_sequences": [1]}, "stop_sequences.0: Input should be a valid string"),
    ("metadata key", {"metadata": {"team": "a"}}, "metadata.team: Extra inputs are not permitted"),
    ("metadata e-mail", {"metadata": {"user_id": "bob@example.com"}}, "appears to contain an email address"),
    ("metadata phone", {"metadata": {"user_id": "+49 170 1234567"}}, "appears to contain a phone number"),
    ("metadata length", {"metadata": {"user_id": "x" * 257}}, "at most 256 characters"),
    ("beta field", {"mcp_servers": []}, "mcp_servers: Extra inputs are not permitted"),
    # system
    ("system block empty", {"system": [{"type": "text", "text": ""}]}, "system: text content blocks must be non-empty"),
    ("system of spaces", {"system": " \n"}, "system: text content blocks must contain non-whitespace text"),
    ("system image", {"system": [IMAGE]}, "system.0.type: Input should be 'text'"),
    ("system field", {"system": [{"type": "text", "text": "x", "n": 1}]}, "system.0.n: Extra inputs are not permitted"),
    # messages
    ("no messages", {"messages": []}, "messages: at least one message is required"),
    ("message field", {"messages": [{**USER, "name": "Bob"}]}, "messages.0.name: Extra inputs are not permitted"),
    ("role", {"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be 'user' or 'assistant'"),
    ("content missing", {"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
    ("content null", {"messages": [{"role": "user", "content": None}]}, "messages.0.content: Input should be a valid string"),
    ("content empty", {"messages": [{"role": "user", "content": ""}]}, "messages.0: all messages must have non-empty content"),
    ("no blocks", {"messages": [{"role": "user", "content": []}]}, "messages.0: all messages must have non-empty content"),
    ("content of spaces", {"messages": [{"role": "user", "content": " "}]}, "must contain non-whitespace text"),
    ("text empty", said({"type": "text", "text": ""}), "messages: text content blocks must be non-empty"),
    ("text of spaces", said({"type": "text", "text": "\n"}), "messages: text content blocks must contain non-whitespace"),
    ("text null", said({"type": "text", "text": None}), "messages.0.content.0.text.text: Input should be a valid string"),
    ("block type", said({"type": "image_url", "image_url": {}}), "messages.0.content.0: Input tag 'image_url' found"),
    ("block without type", said({"text": "x"}), "messages.0.content.0.type: Field required"),
    ("block field", said({"type": "text", "text": "x", "index": 0}), "messages.0.content.0.text.index: Extra inputs"),
    ("assistant first", {"messages": [called("t"), answered("t")], **with_tool()}, 'first message must use the "user" role'),
    ("system turn", {"messages": [USER, {"role": "system", "content": "x"}]}, "role 'system' is not supported on this model"),
    ("image in assistant", {"messages": [USER, {"role": "assistant", "content": [IMAGE]}, USER]}, "`image` blocks can only be in `user`"),
    ("call in user", said(called("t")["content"][0]), "`tool_use` blocks can only be in `assistant` messages"),
    ("thinking in user", said({"type": "thinking", "thinking": "", "signature": ""}), "`thinking` blocks can only be in"),
    ("prefill with space", {"messages": [USER, {"role": "assistant", "content": "So "}]}, "final assistant content cannot end with trailing whitespace"),
    # tool pairs
    ("orphan result", {"messages": [answered("t")]}, "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t"),
    ("result too late", {"messages": [USER, called("t"), answered("t"), {"role": "assistant", "content": "x"}, answered("t")]}, "messages.4.content.0: unexpected `tool_use_id`"),
    ("no result", {"messages": [USER, called("a", "b"), answered("a")]}, "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: b"),
    ("call at the end", {"messages": [USER, called("t")]}, "`tool_use` ids were found without `tool_result` blocks immediately after: t"),
    ("text before result", {"messages": [USER, called("t"), USER, answered("t")]}, "`tool_use` ids were found without `tool_result` blocks"),
    ("two results", {"messages": [USER, called("t"), answered("t", "t")]}, "messages.2.content.1: each tool_use must have a single result"),
    ("ids reused", {"messages": [USER, called("t"), answered("t"), called("t"), answered("t")]}, "messages.3.content.0: `tool_use` ids must be unique"),
    ("id alphabet", {"messages": [USER, called("functions.x:0"), answered("functions.x:0")]}, "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"),
    ("id empty", {"messages": [USER, called(""), answered("")]}, "tool_use.id: String should match pattern"),
    ("input as text", {"messages": [USER, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": "{}"}]}, answered("t")]}, "messages.1.content.0.tool_use.input: Input should be a valid dictionary"),
    ("result text empty", {"messages": [USER, called("t"), {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": ""}]}]}]}, "text content blocks must be non-empty"),
    ("image in a failed result", {"messages": [USER, called("t"), {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [IMAGE], "is_error": True}]}]}, "all content must be type `text` if `is_error` is true"),
    ("thinking forged", {"messages": [USER, {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "eA=="}, {"type": "text", "text": "x"}]}, USER]}, "messages.1.content.0: Invalid `signature` in `thinking` block"),
    ("signature empty", {"messages": [USER, {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": ""}]}, USER]}, "Invalid `signature` in `thinking` block"),
    ("redacted forged", {"messages": [USER, {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "eA=="}]}, USER]}, "Invalid `data` in `redacted_thinking` block"),
    # images and documents
    ("image type", said({"type": "image", "source": {**PNG, "media_type": "image/jpg"}}), "image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'"),
    ("image padding", said({"type": "image", "source": {**PNG, "data": "aGk"}}), "image.source.base64.data: Invalid base64 data"),
    ("image with newline", said({"type": "image", "source": {**PNG, "data": "aG\nk="}}), "Invalid base64 data"),
    ("image http", said({"type": "image", "source": {"type": "url", "url": "http://x/y.png"}}), "Only HTTPS URLs are supported."),
    ("image file", said({"type": "image", "source": {"type": "file", "file_id": "file_1"}}), "Input tag 'file' found"),
    ("image detail", said({**IMAGE, "detail": "low"}), "messages.0.content.0.image.detail: Extra inputs are not permitted"),
    ("document type", said({"type": "document", "source": {**PNG, "media_type": "text/plain"}}), "document.source.base64.media_type: Input should be 'application/pdf'"),
    # cache marks
    ("five marks", {"system": [{"type": "text", "text": "x", "cache_control": MARK}] * 5}, "A maximum of 4 blocks with cache_control may be provided. Found 5."),
    ("mark type", said({"type": "text", "text": "x", "cache_control": {"type": "forever"}}), "Input tag 'forever' found"),
    ("mark ttl", said({"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "2h"}}), "cache_control.ephemeral.ttl: Input should be '5m' or '1h'"),
    ("mark on nothing", said({"type": "text", "text": "", "cache_control": MARK}), "cache_control cannot be set for empty text blocks"),
    # tools
    ("tool field", with_tool(parameters={}), "tools.0.custom.parameters: Extra inputs are not permitted"),
    ("tool shape", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools.0: Input tag 'function' found"),
    ("tool without schema", {"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
    ("tool name", with_tool(name="a.b"), "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"),
    ("tool name long", with_tool(name="a" * 129), "tools.0.custom.name: String should match pattern"),
    ("tool description null", with_tool(description=None), "tools.0.custom.description: Input should be a valid string"),
    ("tool names twice", {"tools": [TOOL, TOOL]}, "tools: Tool names must be unique."),
    ("schema without type", with_schema(properties={}), "tools.0.custom.input_schema.type: Field required"),
    ("schema type", with_schema(type="string"), "tools.0.custom.input_schema.type: Input should be 'object'"),
    ("schema properties null", with_schema(type="object", properties=None), "input_schema.properties: Input should be a valid dictionary"),
    ("schema root anyOf", with_schema(type="object", anyOf=[{}]), "input_schema does not support oneOf, allOf, or anyOf at the top level"),
    ("schema nonsense", with_schema(type="object", properties={"a": {"type": "text"}}), "JSON schema is invalid. It must match JSON Schema draft 2020-12"),
    ("schema required", with_schema(type="object", required="a"), "JSON schema is invalid"),
    ("strict open", with_tool(strict=True), "'additionalProperties' must be explicitly set to false"),
    ("strict too many", {"tools": [{"name": f"f{n}", "strict": True, "input_schema": closed()} for n in range(21)]}, "at most 20 strict tools"),
    ("strict too loose", {"tools": [{"name": "f", "strict": True, "input_schema": {**closed(**{f"p{n}": {"type": "string"} for n in range(25)}), "required": []}}]}, "Schema is too complex for compilation."),
    ("server tool", {"tools": [{"type": "web_search_1999", "name": "web_search"}]}, "Input tag 'web_search_1999' found"),
    ("search location", {"tools": [{"type": "web_search_20250305", "name": "web_search", "user_location": {"type": "approximate", "approximate": {}}}]}, "user_location.approximate: Extra inputs are not permitted"),
    # tool choice
    ("choice without tools", {"tool_choice": {"type": "auto"}}, "tool_choice may only be specified while providing tools"),
    ("choice as text", {"tool_choice": "auto", **with_tool()}, "tool_choice: Input should be a valid dictionary"),
    ("choice type", {"tool_choice": {"type": "required"}, **with_tool()}, "tool_choice: Input tag 'required' found"),
    ("choice unknown tool", {"tool_choice": {"type": "tool", "name": "g"}, **with_tool()}, "Tool 'g' not found in provided tools"),
    ("none with parallel", {"tool_choice": {"type": "none", "disable_parallel_tool_use": True}, **with_tool()}, "tool_choice.none.disable_parallel_tool_use: Extra inputs are not permitted"),
    ("forced while thinking", {"tool_choice": {"type": "any"}, "thinking": {"type": "enabled", "budget_tokens": 1024}, **with_tool()}, "Thinking may not be enabled when tool_choice forces tool use."),
    # thinking
    ("adaptive", {"thinking": {"type": "adaptive"}}, "adaptive thinking is not supported on this model"),
    ("budget small", {"thinking": {"type": "enabled", "budget_tokens": 1023}}, "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"),
    ("budget missing", {"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
    ("budget too large", {"thinking": {"type": "enabled", "budget_tokens": 2000}}, "`max_tokens` must be greater than `thinking.budget_tokens`."),
    ("thinking and temperature", {"thinking": {"type": "enabled", "budget_tokens": 1024}, "temperature": 0.5}, "`temperature` may only be set to 1 when thinking is enabled."),
    ("thinking and top_p", {"thinking": {"type": "enabled", "budget_tokens": 1024}, "top_p": 0.5}, "`top_p` must be greater than or equal to 0.95 or unset"),
    ("thinking and top_k", {"thinking": {"type": "enabled", "budget_tokens": 1024}, "top_k": 5}, "`top_k` must be unset when thinking is enabled."),
    ("thinking field", {"thinking": {"type": "disabled", "display": "omitted"}}, "thinking.disabled.display: Extra inputs are not permitted"),
    ("thinking must lead", {"messages": [USER, called("t"), answered("t")], "thinking": {"type": "enabled", "budget_tokens": 1024}, **with_tool()}, "Expected `thinking` or `redacted_thinking`, but found `tool_use`"),
    # output config
    ("effort level", {"output_config": {"effort": "xhigh"}}, "does not support effort level 'xhigh'"),
    ("effort word", {"output_config": {"effort": "minimal"}}, "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"),
    ("config field", {"output_config": {"verbosity": "low"}}, "output_config.verbosity: Extra inputs are not permitted"),
    ("format name", {"output_config": {"format": {"type": "json_schema", "name": "x", "schema": closed()}}}, "output_config.format.name: Extra inputs are not permitted"),
    ("format open", formatted({"type": "object", "properties": {}}), "'additionalProperties' must be explicitly set to false"),
    ("format keyword", formatted(closed(n={"type": "integer", "minimum": 1})), "For 'integer' type, property 'minimum' is not supported"),
    ("format oneOf", formatted({"oneOf": [{"type": "string"}]}), "property 'oneOf' is not supported"),
    ("format minItems", formatted({"type": "array", "items": {"type": "string"}, "minItems": 2}), "'minItems' values other than 0 or 1"),
    ("format format", formatted(closed(n={"type": "string", "format": "binary"})), "String format 'binary' is not supported"),
    ("format untyped", formatted(closed(n={})), "schema must have a 'type'"),
    ("format recursive", formatted({**closed(n={"$ref": "#/$defs/n"}), "$defs": {"n": closed(n={"$ref": "#/$defs/n"})}}), "Circular $ref '#/$defs/n' is not supported"),
    ("format external", formatted(closed(n={"$ref": "https://x/y"})), "External $ref 'https://x/y' is not supported"),
]  # fmt: skip

ACCEPTED: list[tuple[str, Body]] = [
    ("system string and empty", {"system": ""}),
    ("user turns in a row", {"messages": [USER, USER]}),
    ("results in turns of their own", {"messages": [USER, called("a", "b"), answered("a"), answered("b")]}),
    ("results in any order, then text", {"messages": [USER, called("a", "b"), answered("b", "a", then="and?")]}),
    ("result without content", {"messages": [USER, called("t"), {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]}),
    ("image in a result", {"messages": [USER, called("t"), {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [IMAGE]}]}]}),
    ("prefill", {"messages": [USER, {"role": "assistant", "content": "So"}]}),
    ("trailing space further up", {"messages": [USER, {"role": "assistant", "content": "So "}, USER]}),
    ("image by https", said({"type": "image", "source": {"type": "url", "url": "https://x/y.png"}})),
    ("documents", said({"type": "document", "source": {**PNG, "media_type": "application/pdf"}, "title": "a"}, {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}})),
    ("four marks", {"system": [{"type": "text", "text": "x", "cache_control": {**MARK, "ttl": "1h"}}] * 4}),
    ("nested combinators", with_schema(type="object", properties={"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}})),
    ("strict tool", {"tools": [{"name": "f", "strict": True, "input_schema": closed(a={"type": ["string", "null"]})}]}),
    ("choices", {"tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True}, **with_tool()}),
    ("choice none", {"tool_choice": {"type": "none"}, **with_tool()}),
    ("web search", {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3, "user_location": {"type": "approximate", "city": "Bonn"}}]}),
    ("thinking and wide top_p", {"thinking": {"type": "enabled", "budget_tokens": 1024}, "top_p": 0.95}),
    ("format", formatted({**closed(a={"$ref": "#/$defs/x"}, b={"enum": ["x", 1, None]}, c={"type": "array", "items": {"type": "string", "format": "date"}, "minItems": 1}), "$defs": {"x": {"anyOf": [{"type": "string"}, {"type": "null"}]}}})),
]  # fmt: skip

# Model by model: what differs from the newest to the oldest.
BY_MODEL: list[tuple[str, Body, str]] = [
    ("claude-opus-5-5", {"temperature": 0}, "`temperature` is deprecated for this model."),
    ("claude-opus-5-5", {"temperature": 1, "top_p": 1}, ""),
    ("claude-opus-5-5", {"thinking": {"type": "disabled"}}, '"thinking.type.disabled" is not supported for this model'),
    ("claude-opus-5-5", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, '"thinking.type.enabled" is not supported'),
    ("claude-opus-5-5", {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "max"}}, ""),
    ("claude-opus-5-5", {"tool_choice": {"type": "any"}, **with_tool()}, 'tool_choice: type "tool" and "any" are not supported for this model.'),
    ("claude-opus-5-5", {"messages": [USER, {"role": "assistant", "content": "So"}]}, "This model does not support assistant message prefill."),
    ("claude-opus-5-5", {"messages": [USER, {"role": "system", "content": "x"}]}, ""),
    ("claude-opus-5-5", {"messages": [{"role": "system", "content": "x"}, USER]}, "must come directly after a `user` message"),
    ("claude-opus-5-5", {"messages": [USER, called("t"), {"role": "system", "content": "x"}, answered("t")]}, "must come directly after a `user` message"),
    ("claude-sonnet-5-5", {"temperature": 1}, "`temperature` is deprecated for this model."),
    ("claude-sonnet-5-5", {"thinking": {"type": "between_tools"}}, ""),
    ("claude-sonnet-5-5", {"thinking": {"type": "between_tools"}, "output_config": {"effort": "max"}}, "'max' is not supported with thinking.type.between_tools"),
    ("claude-haiku-5-5", {"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, ""),
    ("claude-haiku-5-5", {"thinking": {"type": "disabled"}, "output_config": {"effort": "xhigh"}}, "'xhigh' is not supported with thinking.type.disabled"),
    ("claude-haiku-5-5", {"tool_choice": {"type": "any"}, **with_tool()}, ""),
    ("claude-fable-5-2", {"tool_choice": {"type": "any"}, **with_tool()}, "are not supported for this model."),
    ("claude-fable-5", {"tool_choice": {"type": "any"}, **with_tool()}, ""),
    ("claude-mythos-5", {"thinking": {"type": "disabled"}}, '"thinking.type.disabled" is not supported'),
    ("claude-opus-5", {"thinking": {"type": "disabled"}}, ""),
    ("claude-sonnet-5", {"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}}, ""),
    ("claude-opus-4-8", {"top_k": 5}, "`top_k` is deprecated for this model."),
    ("claude-opus-4-7", {"output_config": {"effort": "xhigh"}}, ""),
    ("claude-opus-4-7", {"messages": [USER, {"role": "system", "content": "x"}]}, "role 'system' is not supported on this model"),
    ("claude-opus-4-6", {"output_config": {"effort": "xhigh"}}, "does not support effort level 'xhigh'"),
    ("claude-opus-4-6", {"temperature": 0.5, "thinking": {"type": "disabled"}}, ""),
    ("claude-opus-4-6", {"temperature": 0.5, "thinking": {"type": "adaptive"}}, "`temperature` may only be set to 1"),
    ("claude-opus-4-6", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, ""),
    ("claude-opus-4-6", {"messages": [USER, {"role": "assistant", "content": "So"}]}, "does not support assistant message prefill"),
    ("claude-opus-4-6", {"tool_choice": {"type": "any"}, "thinking": {"type": "adaptive"}, **with_tool()}, ""),
    ("claude-sonnet-4-5-20250929", {"output_config": {"effort": "low"}}, "This model does not support the effort parameter."),
    ("claude-sonnet-4-5", formatted(closed()), ""),
    ("claude-opus-4-1", {"temperature": 1, "top_p": 1}, "cannot both be specified"),
    ("claude-opus-4-1", {"max_tokens": 32001}, "32001 > 32000"),
    ("claude-sonnet-4-20250514", {"temperature": 1, "top_p": 1, "max_tokens": 64000}, ""),
    ("claude-sonnet-4-20250514", formatted(closed()), "does not support structured outputs"),
    ("claude-sonnet-4-20250514", {"messages": [USER, called("t"), answered("t")]}, "Requests which include `tool_use` or `tool_result` blocks must define tools"),
    ("claude-sonnet-4-20250514", {"tools": [{"name": "f", "strict": True, "input_schema": closed()}]}, "does not support strict tools"),
    ("claude-3-7-sonnet-20250219", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, ""),
    ("claude-3-5-haiku-20241022", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, "is not supported for this model"),
    ("claude-3-5-sonnet-20241022", {"max_tokens": 8193}, "8193 > 8192"),
    ("claude-3-opus-20240229", {"max_tokens": 4097}, "4097 > 4096"),
    ("claude-of-tomorrow", {"temperature": 1}, "`temperature` is deprecated for this model."),
]  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[FakeUpstream]:
    with FakeUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def client(server: FakeUpstream) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.anthropic_url, verify=False, trust_env=False) as client:
        yield client


@pytest.fixture
def upstream(server: FakeUpstream) -> FakeUpstream:
    server.reset()
    return server


Send = Callable[..., httpx.Response]


@pytest.fixture
def send(upstream: FakeUpstream, client: httpx.Client) -> Send:
    def send(
        fields: Body, *, raw: bytes | None = None, path: str = "messages", **headers: str | None
    ) -> httpx.Response:
        body = {"model": "claude-opus-4-5", "max_tokens": 2000, "messages": [USER], **fields}
        sent = {
            "x_api_key": "test-1",
            "anthropic_version": "2023-06-01",
            "content_type": "application/json",
            **headers,
        }
        named = {name.replace("_", "-"): value for name, value in sent.items() if value is not None}
        content = json.dumps(body).encode() if raw is None else raw
        return client.post(f"/v1/{path}", content=content, headers=named)

    return send


def error_of(reply: httpx.Response) -> tuple[int, str, str]:
    body = reply.json()
    assert body["type"] == "error"
    assert set(body) == {"type", "error", "request_id"}
    return reply.status_code, body["error"]["type"], body["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_refused(send: Send, fields: Body, message: str) -> None:
    status, kind, text = error_of(send(fields))
    assert (status, kind) == (400, "invalid_request_error")
    assert message in text


@pytest.mark.parametrize("fields", [case[1] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_accepted(send: Send, fields: Body) -> None:
    reply = send(fields)
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize(("model", "fields", "message"), BY_MODEL)
def test_models_differ(send: Send, model: str, fields: Body, message: str) -> None:
    reply = send({"model": model, **fields})
    if message:
        assert message in error_of(reply)[2]
    else:
        assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("name", ["model", "messages", "max_tokens"])
def test_required_fields(send: Send, name: str) -> None:
    body = {"model": "claude-opus-4-5", "max_tokens": 9, "messages": [USER]}
    del body[name]
    assert error_of(send({}, raw=json.dumps(body).encode()))[2] == f"{name}: Field required"


class TestEnvelope:
    @pytest.mark.parametrize(
        ("raw", "message"),
        [
            (b"", "The request body is not valid JSON"),
            (b"{", "The request body is not valid JSON"),
            (b'{"a":NaN}', "The request body is not valid JSON"),
            (b"\xff{}", "The request body is not valid JSON"),
            (b'{"a":"\\ud83d"}', "The request body is not valid JSON: no low surrogate in string"),
            (b"[" * 100_000, "The request body is not valid JSON"),
            (b"[]", "Input should be a valid dictionary"),
        ],
    )
    def test_bodies_that_are_no_objects(self, send: Send, raw: bytes, message: str) -> None:
        status, kind, text = error_of(send({}, raw=raw))
        assert (status, kind) == (400, "invalid_request_error")
        assert message in text

    def test_a_body_above_32_megabytes(self, send: Send) -> None:
        status, kind, _ = error_of(send({}, raw=b" " * (32 * 1024 * 1024 + 1)))
        assert (status, kind) == (413, "request_too_large")

    @pytest.mark.parametrize(
        ("headers", "status", "message"),
        [
            ({"anthropic_version": None}, 400, "anthropic-version: header is required"),
            ({"anthropic_version": "2020-01-01"}, 400, "is not a valid version"),
            ({"content_type": "text/plain"}, 400, "must be application/json"),
            ({"x_api_key": None}, 401, "x-api-key header is required"),
            ({"x_api_key": "sk-ant-1"}, 401, "invalid x-api-key"),
            ({"x_api_key": "sk-ant-1", "authorization": "Bearer test-1"}, 401, "invalid x-api-key"),
            ({"x_api_key": None, "authorization": "Bearer sk-ant-1"}, 401, "invalid x-api-key"),
            ({"x_api_key": None, "authorization": "Basic test-1"}, 401, "x-api-key header is required"),
        ],
    )
    def test_headers(self, send: Send, headers: dict[str, str | None], status: int, message: str) -> None:
        seen, kind, text = error_of(send({}, **headers))
        assert (seen, kind) == (status, "authentication_error" if status == 401 else "invalid_request_error")
        assert message in text

    def test_a_bearer_token_does_where_there_is_no_key(self, send: Send) -> None:
        assert send({}, x_api_key=None, authorization="Bearer test-1").status_code == 200

    def test_the_keys_that_are_good_can_be_chosen(self, upstream: FakeUpstream, send: Send) -> None:
        upstream.accept_key = {"only-this"}.__contains__
        assert send({}).status_code == 401
        assert send({}, x_api_key="only-this").status_code == 200

    def test_the_newest_version_knows_no_sampling(self, send: Send) -> None:
        newest = {"anthropic_version": "2026-10-21"}
        assert (
            "temperature: Extra inputs are not permitted" in error_of(send({"temperature": 1}, **newest))[2]
        )
        document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
        inside = {"messages": [USER, {"role": "assistant", "content": [document]}, USER]}
        assert send(inside).status_code == 200
        assert "`document` blocks can only be in `user`" in error_of(send(inside, **newest))[2]

    def test_beta_fields_need_their_beta(self, send: Send) -> None:
        fields = {
            "mcp_servers": [],
            **said({"type": "image", "source": {"type": "file", "file_id": "file_1"}}),
        }
        assert "Input tag 'file' found" in error_of(send(fields, anthropic_beta="mcp-client-2025-11-20"))[2]
        both = "mcp-client-2025-11-20, files-api-2025-04-14"
        assert send(fields, anthropic_beta=both).status_code == 200

    def test_retired_models(self, upstream: FakeUpstream, send: Send) -> None:
        upstream.retired_models.add("claude-opus-4-5")
        assert error_of(send({})) == (404, "not_found_error", "model: claude-opus-4-5")

    def test_counting_takes_no_generation_fields(self, send: Send) -> None:
        assert "max_tokens: Extra inputs" in error_of(send({}, path="messages/count_tokens"))[2]


class TestThinkingBlocks:
    """Blocks that were issued, sent back changed."""

    def first(self, send: Send, **fields: Any) -> tuple[Body, list[Body]]:
        body = {
            "model": "claude-opus-4-6",
            "messages": [{"role": "user", "content": "redacted weather"}],
            "thinking": {"type": "adaptive"},
            "tools": [TOOL],
            **fields,
        }
        reply = send(body)
        assert reply.status_code == 200, reply.text
        return body, reply.json()["content"]

    def again(self, send: Send, body: Body, blocks: list[Body]) -> httpx.Response:
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        history = [*body["messages"], {"role": "assistant", "content": blocks}, answered(*calls)]
        return send({**body, "messages": history})

    def test_unchanged_they_pass_and_all_left_out_they_pass(self, send: Send) -> None:
        body, blocks = self.first(send)
        assert self.again(send, body, blocks).status_code == 200
        assert self.again(send, body, blocks[2:]).status_code == 200

    def test_a_changed_thought_is_refused(self, send: Send) -> None:
        body, blocks = self.first(send)
        changed = copy.deepcopy(blocks)
        changed[0]["thinking"] += " Or not."
        assert "messages.1.content.0: Invalid `signature`" in error_of(self.again(send, body, changed))[2]

    def test_another_order_is_refused(self, send: Send) -> None:
        body, blocks = self.first(send)
        swapped = [blocks[1], blocks[0], blocks[2]]
        assert (
            "in the latest assistant message cannot be modified"
            in error_of(self.again(send, body, swapped))[2]
        )

    @pytest.mark.parametrize(("model", "is_bound"), [("claude-opus-5-5", True), ("claude-opus-4-8", False)])
    def test_newest_models_bind_them_to_what_stands_before(
        self, send: Send, model: str, is_bound: bool
    ) -> None:
        body, blocks = self.first(send, model=model, system="Be brief.")
        marked = {**body, "system": [{"type": "text", "text": "Be brief.", "cache_control": MARK}]}
        body["system"] = [{"type": "text", "text": "Be brief."}]
        body, blocks = self.first(send, model=model, system=body["system"])
        assert self.again(send, marked, blocks).status_code == 200
        elsewhere = self.again(send, {**body, "system": "Be long."}, blocks)
        if is_bound:
            assert "messages.1.content.0: Invalid `signature`" in error_of(elsewhere)[2]
        else:
            assert elsewhere.status_code == 200

    def test_blocks_of_another_model_are_ignored(self, send: Send) -> None:
        body, blocks = self.first(send, model="claude-opus-4-8")
        assert self.again(send, {**body, "model": "claude-opus-5-5"}, blocks).status_code == 200

    def test_verifying_can_be_switched_off(self, upstream: FakeUpstream, send: Send) -> None:
        body, blocks = self.first(send)
        blocks[0]["signature"] = "recorded elsewhere"
        assert self.again(send, body, blocks).status_code == 400
        upstream.verify_signatures = False
        assert self.again(send, body, blocks).status_code == 200
