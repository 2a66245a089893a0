"""What OpenAI's chat completions API refuses, with its wording.

Owns keys, top-level fields and what models cannot do; messages and tools are judged in
`openai_messages.py`. Unknown fields pass unless the test asks otherwise, since proxies
are expected to hand them through.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.fake_upstream.openai_messages import check_messages
from tests.fake_upstream.openai_tools import check_response_format, check_tool_choice, check_tools
from tests.fake_upstream.openai_wording import Shape, check_shape, quoted_list
from tests.fake_upstream.recorded import RecordedRequest
from tests.fake_upstream.rejection import Rejected
from tests.fake_upstream.settings import Settings

_NO_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
    "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
)
_NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer "
    "auth (i.e. Authorization: Bearer YOUR_KEY)."
)
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_TOP_LEVEL: dict[str, Shape] = {
    "audio": Shape("object"),
    "frequency_penalty": Shape("decimal", low=-2, high=2),
    "function_call": Shape("string", "object"),
    "functions": Shape("array", min_items=1),
    "logit_bias": Shape("object"),
    "logprobs": Shape("boolean"),
    "max_completion_tokens": Shape("integer", low=1),
    "max_tokens": Shape("integer", low=1),
    "messages": Shape("array", min_items=1),
    "metadata": Shape("object"),
    "modalities": Shape("array"),
    "model": Shape("string"),
    "moderation": Shape("object"),
    "n": Shape("integer", low=1, high=128),
    "parallel_tool_calls": Shape("boolean"),
    "prediction": Shape("object"),
    "presence_penalty": Shape("decimal", low=-2, high=2),
    "prompt_cache_key": Shape("string"),
    "prompt_cache_options": Shape("object"),
    "prompt_cache_retention": Shape("string", choices=("in_memory", "24h")),
    "reasoning_effort": Shape("string", choices=_EFFORTS),
    "response_format": Shape("object"),
    "safety_identifier": Shape("string"),
    "seed": Shape("integer"),
    "service_tier": Shape("string", choices=("auto", "default", "flex", "scale", "priority", "fast")),
    "stop": Shape("string", "array", max_items=4),
    "store": Shape("boolean"),
    "stream": Shape("boolean"),
    "stream_options": Shape("object"),
    "temperature": Shape("decimal", low=0, high=2),
    "tool_choice": Shape("string", "object"),
    "tools": Shape("array", min_items=1, max_items=128),
    "top_logprobs": Shape("integer", low=0, high=20),
    "top_p": Shape("decimal", low=0, high=1),
    "user": Shape("string"),
    "verbosity": Shape("string", choices=("low", "medium", "high")),
    "web_search_options": Shape("object"),
}
_MAX_OUTPUT = {"gpt-4o": 16384, "gpt-4.1": 32768, "gpt-4-turbo": 4096, "gpt-5": 128000}
_REASONING_REFUSES = (
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "stop",
)


def check_key(request: RecordedRequest, settings: Settings) -> None:
    scheme, _, key = (request.header("authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Rejected(_NO_KEY, status=401)
    if not settings.accept_key(key.strip()):
        # The real text shows both ends of the key: proxies must not pass it on.
        shown = f"{key[:8]}{'*' * 8}{key[-4:]}"
        raise Rejected(
            f"Incorrect API key provided: {shown}. You can find your API key at "
            "https://platform.openai.com/account/api-keys.",
            status=401,
            code="invalid_api_key",
        )


def check_request(request: RecordedRequest, settings: Settings) -> dict[str, Any]:
    """The body, when the API would take it; `Rejected` otherwise."""
    body = _parse(request.body)
    for name in ("model", "messages"):
        if body.get(name) is None:
            if name == "model":
                raise Rejected("you must provide a model parameter")
            raise Rejected(
                f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
            )
    for name, value in body.items():
        if name not in _TOP_LEVEL:
            if settings.reject_unknown_arguments:
                raise Rejected(f"Unrecognized request argument supplied: {name}")
        elif value is not None:
            check_shape(value, name, _TOP_LEVEL[name])
    if body["model"] in settings.retired_models:
        raise Rejected(
            f"The model `{body['model']}` does not exist or you do not have access to it.",
            status=404,
            code="model_not_found",
        )
    check_messages(body["messages"])
    check_tools(body)
    check_tool_choice(body)
    check_response_format(body)
    _check_combinations(body)
    _check_model(body)
    return body


def is_reasoning_model(model: str) -> bool:
    return bool(re.match(r"o[134](-|$)|gpt-5(?!-chat)|gpt-[6-9]", model))


def _parse(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Rejected(_NO_JSON) from None
    if not isinstance(body, dict):
        raise Rejected(_NO_JSON)
    return body


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _check_combinations(body: dict[str, Any]) -> None:
    if body.get("stream_options") is not None and not body.get("stream"):
        raise Rejected(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        raise Rejected(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            code="invalid_parameter_combination",
        )
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise Rejected("'top_logprobs' is only allowed when 'logprobs' is enabled.", param="top_logprobs")
    stop = body.get("stop")
    for index, text in enumerate(stop if isinstance(stop, list) else ()):
        check_shape(text, f"stop[{index}]", Shape("string"))
    for name, value in (body.get("metadata") or {}).items():
        if not isinstance(value, str):
            check_shape(value, f"metadata.{name}", Shape("string"))


def _check_model(body: dict[str, Any]) -> None:
    model = body["model"]
    if is_reasoning_model(model):
        if body.get("max_tokens") is not None:
            raise Rejected(
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.",
                param="max_tokens",
                code="unsupported_parameter",
            )
        temperature = body.get("temperature")
        if temperature not in (None, 1):
            raise Rejected(
                f"Unsupported value: 'temperature' does not support {temperature} with this model. "
                "Only the default (1) value is supported.",
                param="temperature",
                code="unsupported_value",
            )
        for name in _REASONING_REFUSES:
            if body.get(name) not in (None, False, _default_of(name)):
                raise Rejected(
                    f"Unsupported parameter: '{name}' is not supported with this model.",
                    param=name,
                    code="unsupported_parameter",
                )
    elif body.get("reasoning_effort") is not None and re.match(r"gpt-(3|4)", model):
        raise Rejected("Unrecognized request argument supplied: reasoning_effort")
    for name in ("max_tokens", "max_completion_tokens"):
        known = [limit for prefix, limit in _MAX_OUTPUT.items() if model.startswith(prefix)]
        if known and (body.get(name) or 0) > max(known):
            raise Rejected(
                f"{name} is too large: {body[name]}. This model supports at most {max(known)} completion "
                f"tokens, whereas you provided {body[name]}.",
                param=name,
                code="invalid_value",
            )
    modalities = body.get("modalities") or ["text"]
    if "audio" in modalities and "audio" not in model:
        raise Rejected(
            f"Invalid value: 'audio'. Supported values are: {quoted_list(['text'])}.",
            param="modalities[0]",
            code="invalid_value",
        )


def _default_of(name: str) -> int | None:
    return {"top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}.get(name)
