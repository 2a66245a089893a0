"""What Anthropic's Messages API refuses, with its sentences.

Owns headers, keys, top-level fields and what models cannot do; blocks, turns, tools and
schemas are judged in the `anthropic_*` modules beside this one. A null or an unknown
field is an error here, as it is there.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.fake_upstream.anthropic_blocks import check_cache_control, check_text
from tests.fake_upstream.anthropic_fields import Field, check_fields, string
from tests.fake_upstream.anthropic_models import Capabilities, capabilities_of
from tests.fake_upstream.anthropic_schemas import check_output_schema
from tests.fake_upstream.anthropic_thinking import check_effort, check_thinking
from tests.fake_upstream.anthropic_tools import check_tool_choice, check_tools
from tests.fake_upstream.anthropic_turns import check_signatures, check_turns
from tests.fake_upstream.recorded import RecordedRequest
from tests.fake_upstream.rejection import Rejected
from tests.fake_upstream.settings import Settings
from tests.fake_upstream.signatures import Signatures

_VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")
_MAX_BODY = 32 * 1024 * 1024
_SAMPLING = {
    "temperature": Field(("number",), low=0, high=1),
    "top_p": Field(("number",), low=0, high=1),
    "top_k": Field(("integer",), low=0),
}
_TOP_LEVEL = {
    "model": Field(("string",), required=True),
    "messages": Field(("list",), required=True),
    "max_tokens": Field(("integer",), required=True, low=1),
    "system": Field(("string", "list")),
    "tools": Field(("list",)),
    "tool_choice": Field(("dictionary",)),
    "stop_sequences": Field(("list",)),
    "stream": Field(("boolean",)),
    "thinking": Field(("dictionary",)),
    "output_config": Field(("dictionary",)),
    "metadata": Field(("dictionary",)),
    "service_tier": string("auto", "standard_only"),
    "cache_control": Field(("dictionary",), nullable=True),
    "container": Field(("any",)),
    "diagnostics": Field(("dictionary",), nullable=True),
    "inference_geo": string(nullable=True),
    "speed": string("standard", "fast", nullable=True),
    "user_profile_id": string(),
}
# Which beta admits which field, by the beta's name without its date.
_BETA_FIELDS = {
    "context_management": ("context-management", Field(("dictionary",), nullable=True)),
    "mcp_servers": ("mcp-client", Field(("list",))),
    "output_format": ("structured-outputs", Field(("dictionary",), nullable=True)),
}
_NOT_COUNTED = (
    "max_tokens",
    "stop_sequences",
    "stream",
    "metadata",
    "service_tier",
    "container",
    "diagnostics",
    "inference_geo",
)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PHONE = re.compile(r"\+?[\d\s().-]{7,}")


def check_key(request: RecordedRequest, settings: Settings) -> None:
    key = request.header("x-api-key")
    if key is None:
        scheme, _, token = (request.header("authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Rejected("x-api-key header is required", status=401, type="authentication_error")
        key = token.strip()
    if not settings.accept_key(key):
        raise Rejected("invalid x-api-key", status=401, type="authentication_error")


def check_request(
    request: RecordedRequest, settings: Settings, signatures: Signatures, *, counting: bool = False
) -> dict[str, Any]:
    """The body, when the API would take it; `Rejected` otherwise."""
    version = _check_headers(request)
    body = _parse(request.body)
    betas = _betas(request)
    fields = {**_TOP_LEVEL}
    fields |= {name: field for name, (beta, field) in _BETA_FIELDS.items() if beta in betas}
    if version < "2026-10-21":
        fields |= _SAMPLING
    if counting:
        fields = {name: field for name, field in fields.items() if name not in _NOT_COUNTED}
    check_fields(body, fields, "")
    model = body["model"]
    if not model:
        raise Rejected("model: String should have at least 1 character")
    if model in settings.retired_models:
        raise Rejected(f"model: {model}", status=404, type="not_found_error")
    row = capabilities_of(model)
    _check_system(body)
    check_tools(body, row)
    check_turns(body, row, version=version, has_files="files-api" in betas)
    if settings.verify_signatures:
        check_signatures(body, row, signatures)
    check_tool_choice(body, row)
    check_thinking(body, row, has_binding="thinking-binding-controls" in betas)
    _check_output_config(body, row)
    _check_rest(body)
    _check_limits(body, row)
    _check_sampling(body, row)
    check_cache_control(body)
    return body


def _betas(request: RecordedRequest) -> set[str]:
    """The betas asked for, without their dates."""
    names = ",".join(request.header_values("anthropic-beta")).split(",")
    return {re.sub(r"-\d{4}-\d{2}-\d{2}$", "", name.strip()) for name in names}


def _check_headers(request: RecordedRequest) -> str:
    version = request.header("anthropic-version")
    if version is None:
        raise Rejected("anthropic-version: header is required")
    if version not in _VERSIONS:
        raise Rejected(f'anthropic-version: "{version}" is not a valid version for this endpoint')
    content_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise Rejected("content-type: the request body must be application/json")
    if len(request.body) > _MAX_BODY:
        raise Rejected("Request exceeds the maximum size", status=413, type="request_too_large")
    return version


def _parse(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
        # The API's parser knows no lone surrogates; Python's lets them through.
        json.dumps(body, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise Rejected("The request body is not valid JSON: no low surrogate in string") from None
    except (ValueError, RecursionError) as error:
        raise Rejected(f"The request body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise Rejected("Input should be a valid dictionary")
    return body


def _no_constant(name: str) -> None:
    raise ValueError(f"unexpected {name}")


def _check_system(body: dict[str, Any]) -> None:
    system = body.get("system")
    if isinstance(system, str):
        if system and not system.strip():
            raise Rejected("system: text content blocks must contain non-whitespace text")
        return
    for index, block in enumerate(system or []):
        if not isinstance(block, dict) or block.get("type") != "text":
            raise Rejected(f"system.{index}.type: Input should be 'text'")
        check_text(block, f"system.{index}", "system")


def _check_output_config(body: dict[str, Any], row: Capabilities) -> None:
    config = body.get("output_config")
    if config is None:
        return
    fields = {
        "effort": string("low", "medium", "high", "xhigh", "max", nullable=True),
        "format": Field(("dictionary",), nullable=True),
    }
    check_fields(config, fields, "output_config")
    check_effort(config.get("effort"), body.get("thinking"), row)
    chosen = config.get("format")
    if chosen is None:
        return
    if not row.has_structured_outputs:
        raise Rejected("output_config.format: This model does not support structured outputs.")
    format_fields = {
        "type": string("json_schema", required=True),
        "schema": Field(("dictionary",), required=True),
    }
    check_fields(chosen, format_fields, "output_config.format")
    check_output_schema(chosen["schema"], "output_config.format.schema")


def _check_rest(body: dict[str, Any]) -> None:
    if "metadata" in body:
        check_fields(body["metadata"], {"user_id": string(nullable=True)}, "metadata")
        user = body["metadata"].get("user_id") or ""
        if len(user) > 256:
            raise Rejected("metadata.user_id: String should have at most 256 characters")
        if _EMAIL.fullmatch(user):
            raise Rejected("metadata.user_id: user_id appears to contain an email address")
        if _PHONE.fullmatch(user):
            raise Rejected("metadata.user_id: user_id appears to contain a phone number")
    for index, stop in enumerate(body.get("stop_sequences") or []):
        if not isinstance(stop, str):
            raise Rejected(f"stop_sequences.{index}: Input should be a valid string")
        if not stop.strip():
            raise Rejected("stop_sequences: each stop sequence must contain non-whitespace")


def _check_limits(body: dict[str, Any], row: Capabilities) -> None:
    if body.get("max_tokens", 0) > row.max_output:
        raise Rejected(
            f"max_tokens: {body['max_tokens']} > {row.max_output}, which is the maximum allowed number of "
            f"output tokens for {body['model']}"
        )


def _check_sampling(body: dict[str, Any], row: Capabilities) -> None:
    given = [name for name in _SAMPLING if name in body]
    if row.sampling == "refused" and given:
        raise Rejected(f"`{given[0]}` is deprecated for this model.")
    if row.sampling == "defaults_only":
        for name in given:
            if name == "top_k" or body[name] != 1:
                raise Rejected(f"`{name}` is deprecated for this model.")
    if row.sampling == "either" and "temperature" in body and "top_p" in body:
        raise Rejected(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
        )
    thinking = (body.get("thinking") or {}).get("type", "disabled")
    if thinking in ("enabled", "adaptive"):
        if body.get("temperature", 1) != 1:
            raise Rejected("`temperature` may only be set to 1 when thinking is enabled.")
        if body.get("top_p", 1) < 0.95:
            raise Rejected("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.")
        if "top_k" in body:
            raise Rejected("`top_k` must be unset when thinking is enabled.")
