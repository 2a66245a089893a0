"""A client's chat request: read into neutral values, or relayed with as few edits as possible.

`decode_request` is strict, in OpenAI's words: what it lets through can be sent on. What
has no meaning elsewhere is named in `ignored`. A relay is judged by its upstream; here it
is only looked at as far as we need it ourselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from api.services.translation.conversation import (
    ChatRequest,
    Effort,
    JsonFormat,
    JsonObject,
    WebSearch,
)
from api.services.translation.dialects.openai_chat.checks import (
    empty_array,
    missing,
    read_array,
    read_bool,
    read_choice,
    read_integer,
    read_number,
    read_object,
    read_string,
    require_object,
    unsupported_value,
    wrong,
    wrong_type,
    wrong_value,
)
from api.services.translation.dialects.openai_chat.messages import decode_turns
from api.services.translation.dialects.openai_chat.parts import decode_ttl, read_cache
from api.services.translation.dialects.openai_chat.tools import decode_tool_use
from api.services.translation.ignored import Ignored
from api.services.translation.json_text import unreadable
from api.services.translation.quirks import Quirks, apply_quirks, may_change

EXTENSIONS: Final = frozenset(
    {
        "thinking",
        "output_config",
        "top_k",
        "container",
        "speed",
        "inference_geo",
        "context_management",
        "mcp_servers",
    }
)
"""Fields of Anthropic's API that a client may set beside OpenAI's. `cache_control` is one more."""

_STREAM_OPTIONS_ALONE: Final = "The 'stream_options' parameter is only allowed when 'stream' is enabled."

_NAMES: Final = {
    "is_parallel": "parallel_tool_calls",
    "effort": "reasoning_effort",
    "web_search": "web_search_options",
    "cache": "cache_control",
    "caches_automatically": "prompt_cache_options",
}

_PLAIN_NAMES: Final = {**_NAMES, "end_user": "user"}


def decode_request(body: Any) -> ChatRequest:
    """Read a request. What is wrong with it is a Failure that names the parameter."""
    body = _require_body(body)
    ignored = Ignored()
    if body.keys() <= _PLAIN:
        return _decode_plain(body, ignored)
    ignored.add_unknown(body, _KNOWN)
    for name, (check, harmless) in _DROPPED.items():
        if name in body and check(body, name) not in (None, harmless):
            ignored.add(name)
    names = dict(_NAMES)
    is_stream = bool(read_bool(body, "stream"))
    cache_ttl, caches_automatically = _decode_cache_options(body)
    tool_use = decode_tool_use(body, ignored, is_stream=is_stream)
    if tool_use.uses_legacy_functions:
        names["tool_choice"] = "function_call"
    _check_count(body)
    _check_modalities(body)
    return ChatRequest(
        model=body["model"],
        turns=decode_turns(body["messages"], ignored, cache_ttl),
        is_stream=is_stream,
        includes_usage=_decode_stream_options(body, ignored, is_stream=is_stream),
        max_tokens=_decode_max_tokens(body, names),
        temperature=read_number(body, "temperature", minimum=0, maximum=2),
        top_p=read_number(body, "top_p", minimum=0, maximum=1),
        stop=_decode_stop(body),
        tools=tool_use.tools,
        tool_choice=tool_use.choice,
        is_parallel=tool_use.is_parallel,
        uses_legacy_functions=tool_use.uses_legacy_functions,
        response_format=_decode_response_format(body, ignored),
        effort=_decode_effort(body),
        web_search=_decode_web_search(body, ignored),
        cache=read_cache(body, ""),
        caches_automatically=caches_automatically,
        end_user=_decode_end_user(body, names, ignored),
        service_tier=read_choice(body, "service_tier", _SERVICE_TIERS),
        extensions={name: value for name, value in body.items() if name in EXTENSIONS and value is not None},
        ignored=ignored.names(),
        names=names,
    )


def _decode_plain(body: JsonObject, ignored: Ignored) -> ChatRequest:
    """`decode_request` of a body with nothing else in it, as most are: there is much else to read."""
    is_stream = bool(read_bool(body, "stream"))
    return ChatRequest(
        model=body["model"],
        turns=decode_turns(body["messages"], ignored, None),
        is_stream=is_stream,
        includes_usage="stream_options" in body
        and _decode_stream_options(body, ignored, is_stream=is_stream),
        max_tokens=read_integer(body, "max_tokens", minimum=1),
        temperature=read_number(body, "temperature", minimum=0, maximum=2),
        top_p=read_number(body, "top_p", minimum=0, maximum=1) if "top_p" in body else None,
        ignored=ignored.names(),
        names=_PLAIN_NAMES,
        is_plain=True,
    )


def check_relay(body: Any) -> None:
    """The few things that we read ourselves when we pass a request on. The upstream judges the rest."""
    body = _require_body(body)
    if not isinstance(body["messages"], list):
        raise wrong_type("messages", "an array of objects", body["messages"])
    if not body["messages"]:
        raise empty_array("messages")
    for index, message in enumerate(body["messages"]):
        if not isinstance(message, dict):
            raise wrong_type(f"messages[{index}]", "an object", message)
    read_bool(body, "stream")
    read_object(body, "stream_options")


# Not frozen: one is made for each request, and freezing triples what that costs.
@dataclass(slots=True)
class Relayed:
    """A request as it goes upstream. `client_asked_usage`: the client wants the usage chunk of its stream."""

    body: JsonObject
    ignored: tuple[str, ...] = ()
    client_asked_usage: bool = False


def relay_request(body: JsonObject, *, upstream_id: str, quirks: Quirks, wants_usage: bool) -> Relayed:
    """The client's own body with the few edits that it needs; the input stays as it is.

    Keys keep their order and unknown fields their values. `wants_usage`: a stream is
    made to report its usage, for our own accounting.
    """
    relayed = Relayed(body if body["model"] == upstream_id else {**body, "model": upstream_id})
    if may_change(body, quirks):
        ignored = Ignored()
        relayed.body = apply_quirks(relayed.body, quirks, ignored)
        relayed.ignored = ignored.names()
    if body.get("stream") is True:
        options = body.get("stream_options")
        relayed.client_asked_usage = isinstance(options, dict) and options.get("include_usage") is True
        if wants_usage and quirks.sends_stream_options and not relayed.client_asked_usage:
            relayed.body = {**relayed.body, "stream_options": {**(options or {}), "include_usage": True}}
    return relayed


def _require_body(body: Any) -> JsonObject:
    if not isinstance(body, dict):
        raise unreadable()
    model = body.get("model")
    if model is None:
        raise missing("model")
    if not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    if not model:
        raise wrong("model", "you must provide a model parameter")
    if body.get("messages") is None:
        raise missing("messages")
    return body


def _decode_stream_options(body: JsonObject, ignored: Ignored, *, is_stream: bool) -> bool:
    options = read_object(body, "stream_options")
    if options is None:
        return False
    if not is_stream:
        raise wrong("stream_options", _STREAM_OPTIONS_ALONE)
    ignored.add_unknown(options, _STREAM_OPTIONS, "stream_options.")
    if read_bool(options, "include_obfuscation", "stream_options"):
        ignored.add("stream_options.include_obfuscation")
    return bool(read_bool(options, "include_usage", "stream_options"))


def _decode_max_tokens(body: JsonObject, names: dict[str, str]) -> int | None:
    older = read_integer(body, "max_tokens", minimum=1)
    limit = read_integer(body, "max_completion_tokens", minimum=1)
    if limit is None:
        return older
    names["max_tokens"] = "max_completion_tokens"
    return limit


def _decode_stop(body: JsonObject) -> tuple[str, ...]:
    stop = body.get("stop")
    if stop is None:
        return ()
    if isinstance(stop, str):
        return (stop,)
    if not isinstance(stop, list):
        raise wrong_type("stop", "one of a string or array of strings", stop)
    for index, text in enumerate(stop):
        if not isinstance(text, str):
            raise wrong_type(f"stop[{index}]", "a string", text)
    return tuple(stop)


def _decode_response_format(body: JsonObject, ignored: Ignored) -> JsonFormat | None:
    wanted = read_object(body, "response_format")
    if wanted is None:
        return None
    path = "response_format"
    kind = read_choice(wanted, "type", ("text", "json_object", "json_schema"), path)
    if kind is None:
        raise missing(f"{path}.type")
    if kind == "text":
        return None
    if kind == "json_object":
        return JsonFormat()
    path = "response_format.json_schema"
    described = require_object(wanted, "json_schema", "response_format")
    ignored.add_unknown(described, _JSON_SCHEMA, f"{path}.")
    read_string(described, "name", path)
    read_bool(described, "strict", path)
    return JsonFormat(require_object(described, "schema", path))


def _decode_effort(body: JsonObject) -> Effort | None:
    effort = read_choice(body, "reasoning_effort", _EFFORTS)
    return None if effort is None else Effort(effort)


def _decode_web_search(body: JsonObject, ignored: Ignored) -> WebSearch | None:
    options = read_object(body, "web_search_options")
    if options is None:
        return None
    path = "web_search_options"
    ignored.add_unknown(options, _WEB_SEARCH, f"{path}.")
    size = read_choice(options, "search_context_size", ("low", "medium", "high"), path)
    place = f"{path}.user_location"
    user_location = read_object(options, "user_location", path)
    if user_location is None:
        return WebSearch(size)
    if read_choice(user_location, "type", ("approximate",), place) is None:
        raise missing(f"{place}.type")
    approximate = require_object(user_location, "approximate", place)
    place = f"{place}.approximate"
    location = {name: read_string(approximate, name, place) for name in _LOCATION}
    ignored.add_unknown(approximate, frozenset(_LOCATION), f"{place}.")
    return WebSearch(size, {name: value for name, value in location.items() if value})


def _decode_cache_options(body: JsonObject) -> tuple[str | None, bool | None]:
    """The lifetime that breakpoints inherit, and whether the provider may set its own."""
    options = read_object(body, "prompt_cache_options")
    if options is None:
        return None, None
    path = "prompt_cache_options"
    mode = read_choice(options, "mode", ("implicit", "explicit"), path)
    return decode_ttl(read_string(options, "ttl", path)), None if mode is None else mode == "implicit"


def _decode_end_user(body: JsonObject, names: dict[str, str], ignored: Ignored) -> str | None:
    user = read_string(body, "user")
    identifier = read_string(body, "safety_identifier")
    if not identifier:
        names["end_user"] = "user"
        return user or None
    names["end_user"] = "safety_identifier"
    if user and user != identifier:
        ignored.add("user")
    return identifier


def _check_count(body: JsonObject) -> None:
    count = read_integer(body, "n", minimum=1)
    if count is not None and count > 1:
        raise unsupported_value(
            "n",
            "Unsupported value: 'n' does not support values above 1 with this model. "
            "Only the default (1) value is supported.",
        )


def _check_modalities(body: JsonObject) -> None:
    modalities = read_array(body, "modalities")
    for index, modality in enumerate(modalities or ()):
        if modality == "audio":
            raise unsupported_value(
                "modalities", "Unsupported value: 'modalities' does not support 'audio' with this model."
            )
        if modality != "text":
            raise wrong_value(f"modalities[{index}]", modality, ("text", "audio"))


_PLAIN: Final = frozenset(
    {"model", "messages", "stream", "stream_options", "max_tokens", "temperature", "top_p"}
)
_EFFORTS: Final = tuple(Effort)
_SERVICE_TIERS: Final = ("auto", "default", "flex", "scale", "priority", "fast")
_STREAM_OPTIONS: Final = frozenset({"include_usage", "include_obfuscation"})
# `description` is among the fields that have no place elsewhere.
_JSON_SCHEMA: Final = frozenset({"name", "strict", "schema"})
_WEB_SEARCH: Final = frozenset({"search_context_size", "user_location"})
_LOCATION: Final = ("city", "country", "region", "timezone")

_Check = Callable[[JsonObject, str], Any]


def _choice(*supported: str) -> _Check:
    return lambda body, name: read_choice(body, name, supported)


def _penalty(body: JsonObject, name: str) -> float | None:
    return read_number(body, name, minimum=-2, maximum=2)


# What has no counterpart anywhere else: how it is checked, and the value that says nothing.
_DROPPED: Final[Mapping[str, tuple[_Check, Any]]] = {
    "frequency_penalty": (_penalty, 0),
    "presence_penalty": (_penalty, 0),
    "logit_bias": (read_object, {}),
    "logprobs": (read_bool, False),
    "top_logprobs": (lambda body, name: read_integer(body, name, minimum=0, maximum=20), 0),
    "seed": (read_integer, None),
    "verbosity": (_choice("low", "medium", "high"), "medium"),
    "store": (read_bool, False),
    "metadata": (read_object, {}),
    "prediction": (read_object, None),
    "audio": (read_object, None),
    "prompt_cache_key": (read_string, ""),
    "prompt_cache_retention": (_choice("in_memory", "in-memory", "24h"), None),
    "moderation": (read_object, None),
}

_KNOWN: Final = (
    frozenset(_DROPPED)
    | EXTENSIONS
    | {
        "model",
        "messages",
        "max_completion_tokens",
        "max_tokens",
        "temperature",
        "top_p",
        "stop",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        "response_format",
        "reasoning_effort",
        "user",
        "safety_identifier",
        "n",
        "modalities",
        "service_tier",
        "web_search_options",
        "prompt_cache_options",
        "cache_control",
    }
)
