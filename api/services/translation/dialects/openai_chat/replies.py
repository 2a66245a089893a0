"""Chat completions: written from a neutral reply, or relayed from an upstream that speaks the same.

A relay changes the model's name and nothing else, and not even that where the client
asked for the model by its upstream id. Fields that we do not know survive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from api.services.translation.conversation import (
    FinishReason,
    JsonObject,
    RedactedThinkingPart,
    Reply,
    ThinkingPart,
    ToolCallPart,
    UrlCitation,
)
from api.services.translation.dialects.openai_chat.failures import decode_reported_failure
from api.services.translation.dialects.openai_chat.usage import decode_usage, encode_usage
from api.services.translation.failures import Failure
from api.services.translation.json_text import dump_json, load_json
from api.services.translation.upstream_responses import invalid_response, look_into, read_object
from api.services.translation.usage import Usage

ID_PREFIX: Final = "chatcmpl-"

_FINISH_REASONS: Final[Mapping[str, FinishReason]] = {
    **{reason.value: reason for reason in FinishReason},
    "function_call": FinishReason.TOOL_CALLS,
}
# A look into a dict takes a tenth of the time of `reason.value`.
_WORDS: Final[Mapping[FinishReason, str]] = {reason: reason.value for reason in FinishReason}


# Not frozen, like all that is made for each request: freezing triples what that costs.
@dataclass(slots=True)
class ReplyContext:
    """What a reply repeats of its request. `fallback_id` serves where the upstream gave the reply none."""

    model: str
    created: int
    uses_legacy_functions: bool = False
    custom_tools: frozenset[str] = frozenset()
    includes_usage: bool = False
    fallback_id: str = "0"


@dataclass(slots=True)
class ReadReply:
    """A body for the client, and what was read from it in passing. No usage means: not counted."""

    body: bytes
    usage: Usage | None
    finish: FinishReason | None
    upstream_model: str | None = None


def encode_reply(reply: Reply, context: ReplyContext) -> JsonObject:
    """A whole chat completion, with every key that strict clients require, null or not."""
    body: JsonObject = {
        "id": encode_id(reply.id, context),
        "object": "chat.completion",
        "created": context.created,
        "model": context.model,
        "choices": [
            {
                "index": 0,
                "message": _encode_message(reply, context),
                "logprobs": None,
                "finish_reason": encode_finish(reply.finish, context),
            }
        ],
    }
    if reply.usage is not None:
        body["usage"] = encode_usage(reply.usage)
    if reply.service_tier is not None:
        body["service_tier"] = reply.service_tier
    return body


def relay_reply(body: bytes, *, model: str, upstream_id: str, secrets: Iterable[str] = ()) -> ReadReply:
    """Pass a completion on. A 200 that is none, or that reports an error, is raised as a `Failure`."""
    wire = look_into(body)
    if wire is None:
        raise invalid_response()
    if wire.get("error"):
        raise decode_reported_failure(wire, model=model, secrets=secrets)
    choices = wire.get("choices")
    if not isinstance(choices, list):
        raise invalid_response()
    upstream_model = wire.get("model")
    if "model" in wire and model not in (upstream_id, upstream_model):
        body = _rename(body, upstream_model, model)
    finish = None
    for choice in choices:
        if isinstance(choice, dict):
            finish = decode_finish(choice.get("finish_reason"))
            break
    return ReadReply(
        body,
        decode_usage(wire.get("usage")),
        finish,
        upstream_model if isinstance(upstream_model, str) else None,
    )


_MODEL: Final = b'"model"'


def _rename(body: bytes, upstream_model: Any, model: str) -> bytes:
    """The completion with the client's name for its model; all else stays byte for byte where it can."""
    member = b"%b:%b" % (_MODEL, dump_json(upstream_model))
    # There is no other such member, nor a text that is just this word.
    if body.count(_MODEL) == 1 and member in body:
        return body.strip().replace(member, b"%b:%b" % (_MODEL, dump_json(model)))
    wire = read_object(body)
    if wire is None:
        raise invalid_response()
    wire["model"] = model
    return dump_json(wire)


def encode_id(reply_id: str, context: ReplyContext) -> str:
    return ID_PREFIX + (reply_id or context.fallback_id)


def encode_finish(finish: FinishReason, context: ReplyContext) -> str:
    if finish is FinishReason.TOOL_CALLS and context.uses_legacy_functions:
        return "function_call"
    return _WORDS[finish]


def decode_finish(wire: Any) -> FinishReason | None:
    """For the books only: what a relay's client reads is the upstream's own word."""
    if not isinstance(wire, str):
        return None
    return _FINISH_REASONS.get(wire, FinishReason.STOP)


def encode_thinking(part: ThinkingPart | RedactedThinkingPart) -> JsonObject:
    """The block as its provider wrote it, since it takes it back only unchanged."""
    if isinstance(part, RedactedThinkingPart):
        return {"type": "redacted_thinking", "data": part.data}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def encode_citation(citation: UrlCitation) -> JsonObject:
    return {
        "type": "url_citation",
        "url_citation": {
            "url": citation.url,
            "title": citation.title,
            "start_index": citation.start,
            "end_index": citation.end,
        },
    }


def _encode_message(reply: Reply, context: ReplyContext) -> JsonObject:
    # Null says "no text because of something else"; a reply that is just empty is an empty text.
    has_other = reply.tool_calls or reply.finish is FinishReason.CONTENT_FILTER or reply.refusal
    message: JsonObject = {
        "role": "assistant",
        "content": reply.text or (None if has_other else ""),
        "refusal": reply.refusal,
    }
    if reply.thinking:
        # Joined without a separator, so that it equals the concatenated deltas of a stream.
        reasoning = "".join(part.text for part in reply.thinking if isinstance(part, ThinkingPart))
        if reasoning:
            message["reasoning_content"] = reasoning
        message["thinking_blocks"] = [encode_thinking(part) for part in reply.thinking]
    if reply.citations:
        message["annotations"] = [encode_citation(citation) for citation in reply.citations]
    if reply.tool_calls:
        if context.uses_legacy_functions:
            call = reply.tool_calls[0]
            message["function_call"] = {"name": call.name, "arguments": call.arguments}
        else:
            message["tool_calls"] = [_encode_call(call, context) for call in reply.tool_calls]
    return message


def _encode_call(call: ToolCallPart, context: ReplyContext) -> JsonObject:
    if call.is_custom or call.name in context.custom_tools:
        return {
            "id": call.id,
            "type": "custom",
            "custom": {"name": call.name, "input": _unwrap_input(call.arguments)},
        }
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _unwrap_input(arguments: str) -> str:
    """The free text of a custom tool. An upstream with functions only was told to put it under `input`."""
    try:
        wire = load_json(arguments)
    except Failure:
        return arguments
    text = wire.get("input") if isinstance(wire, dict) else None
    return text if isinstance(text, str) else arguments
