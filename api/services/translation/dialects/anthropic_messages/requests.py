"""A request in Anthropic's Messages format.

`encode_request` says all that the format and the model can say; what they cannot is
noted as ignored, or refused where the loss would change the reply's shape or the
client's content. The same request gives the same bytes, always: prompt caches and
thinking signatures depend on it.
"""

from __future__ import annotations

import re
from typing import Final

from api.services.translation.conversation import ChatRequest, JsonObject
from api.services.translation.dialects.anthropic_messages.caching import set_breakpoints
from api.services.translation.dialects.anthropic_messages.extensions import (
    copy_extensions,
    read_output_config,
    read_thinking,
    read_top_k,
)
from api.services.translation.dialects.anthropic_messages.response_format import encode_format
from api.services.translation.dialects.anthropic_messages.system import SystemText
from api.services.translation.dialects.anthropic_messages.target import EncodedRequest, Target
from api.services.translation.dialects.anthropic_messages.thinking import (
    NO_REASONING,
    Reasoning,
    encode_effort,
    encode_sampling,
    fit_explicit,
)
from api.services.translation.dialects.anthropic_messages.tools import (
    EncodedTools,
    encode_tools,
    stand_in,
)
from api.services.translation.dialects.anthropic_messages.turns import (
    Conversation,
    encode_plain_turns,
    encode_turns,
)
from api.services.translation.ignored import Ignored

__all__ = ["EncodedRequest", "Target", "encode_request"]

_MAX_USER_ID: Final = 256
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
# Upstream refuses the whole request for what it takes for a phone number: better no id.
_PHONE: Final = re.compile(r"\+?[\d\s().-]{7,}")

_SERVICE_TIERS: Final = {
    "auto": "auto",
    "default": "standard_only",
    "priority": "auto",
    "scale": "auto",
}


def encode_request(request: ChatRequest, target: Target) -> EncodedRequest:
    """The body for one target. In strict mode the first thing that would be ignored is a Failure."""
    ignored = Ignored(request.ignored, is_strict=target.is_strict)
    if request.is_plain:
        plain = encode_plain_turns(request.turns)
        if plain is not None:
            return _encode_plain(request, target, *plain, ignored)
    betas: dict[str, None] = {}
    capabilities = target.capabilities
    system = SystemText()
    conversation = encode_turns(request, target, system, ignored, betas)
    wanted_format = encode_format(request, target, ignored, is_prefill=conversation.is_prefill)
    if wanted_format.instruction is not None:
        system.add_text(wanted_format.instruction)
    tools = encode_tools(request, target, wanted_format.complexity, ignored)
    if not tools.tools and conversation.has_tool_blocks and capabilities.needs_tools_for_history:
        tools = stand_in()
        ignored.add("tools")
    max_tokens = _max_tokens(request, target, ignored)
    reasoning = _reasoning(request, target, max_tokens, conversation, tools, ignored)

    body: JsonObject = {"model": target.upstream_id, "max_tokens": max_tokens}
    if request.is_stream:
        body["stream"] = True
    system_text = system.encode()
    if system_text is not None:
        body["system"] = system_text
    if tools.tools:
        body["tools"] = tools.tools
        if tools.choice is not None:
            body["tool_choice"] = tools.choice
    body["messages"] = conversation.messages
    if request.stop:
        _add_stop_sequences(body, request, ignored)
    top_k = read_top_k(request.extensions)
    if request.temperature is not None or request.top_p is not None or top_k is not None:
        body.update(encode_sampling(request, top_k, capabilities, reasoning, ignored))
    if reasoning.thinking is not None:
        body["thinking"] = reasoning.thinking
    if reasoning.effort is not None or wanted_format.output is not None or request.extensions:
        output_config = {"effort": reasoning.effort, "format": wanted_format.output}
        output_config |= read_output_config(request.extensions, ignored)
        output_config = {name: value for name, value in output_config.items() if value is not None}
        if output_config:
            body["output_config"] = output_config
    if request.end_user is not None:
        _add_end_user(body, request.end_user, request, ignored)
    if request.service_tier is not None:
        _add_service_tier(body, request.service_tier, request, ignored)
    if request.extensions:
        body.update(copy_extensions(request.extensions))
    set_breakpoints(body, request, ignored, is_automatic=target.auto_cache)
    return EncodedRequest(body, tuple(betas), ignored.names())


def _encode_plain(
    request: ChatRequest,
    target: Target,
    instructions: list[str],
    messages: list[JsonObject],
    ignored: Ignored,
) -> EncodedRequest:
    """`encode_request` where there is nothing else to say, as in most requests: there is much else to ask."""
    body: JsonObject = {
        "model": target.upstream_id,
        "max_tokens": _max_tokens(request, target, ignored),
    }
    if request.is_stream:
        body["stream"] = True
    if instructions:
        body["system"] = "\n".join(instructions)
    body["messages"] = messages
    if request.temperature is not None or request.top_p is not None:
        body.update(encode_sampling(request, None, target.capabilities, NO_REASONING, ignored))
    if target.auto_cache:
        body["cache_control"] = {"type": "ephemeral"}
    return EncodedRequest(body, (), ignored.names())


def _max_tokens(request: ChatRequest, target: Target, ignored: Ignored) -> int:
    """The limit, which the format requires: the client's, else the operator's, else all the model can do."""
    most = target.capabilities.max_output_tokens
    if request.max_tokens is None:
        return min(target.default_max_tokens or most, most)
    if request.max_tokens > most:
        ignored.add(request.name_of("max_tokens"))
        return most
    return request.max_tokens


def _reasoning(
    request: ChatRequest,
    target: Target,
    max_tokens: int,
    conversation: Conversation,
    tools: EncodedTools,
    ignored: Ignored,
) -> Reasoning:
    """The client's own `thinking` beats an effort; a budget yields to what it cannot go together with."""
    if request.effort is None and not request.extensions:
        return NO_REASONING
    explicit = read_thinking(request.extensions, ignored)
    if explicit is not None:
        reasoning, param = fit_explicit(explicit, max_tokens, ignored), "thinking"
    else:
        reasoning = encode_effort(request, target.capabilities, max_tokens, ignored)
        param = request.name_of("effort")
    if reasoning.is_manual and (tools.is_forced or conversation.lost_thinking or conversation.is_prefill):
        ignored.add(param)
        return NO_REASONING
    return reasoning


def _add_stop_sequences(body: JsonObject, request: ChatRequest, ignored: Ignored) -> None:
    sequences = [text for text in request.stop if text and not text.isspace()]
    if len(sequences) < len(request.stop):
        ignored.add(request.name_of("stop"))
    if sequences:
        body["stop_sequences"] = sequences


def _add_end_user(body: JsonObject, user: str, request: ChatRequest, ignored: Ignored) -> None:
    if len(user) > _MAX_USER_ID or _is_personal(user):
        ignored.add(request.name_of("end_user"))
        return
    body["metadata"] = {"user_id": user}


def _is_personal(user: str) -> bool:
    """Whether an id looks like an e-mail address or a phone number."""
    return bool(_EMAIL.fullmatch(user) or _PHONE.fullmatch(user))


def _add_service_tier(body: JsonObject, asked: str, request: ChatRequest, ignored: Ignored) -> None:
    tier = _SERVICE_TIERS.get(asked)
    if tier is None:
        ignored.add(request.name_of("service_tier"))
    else:
        body["service_tier"] = tier
