"""Checks a Messages body against the Anthropic SDK's own types, unknown fields included."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from anthropic.types.message_create_params import (
    MessageCreateParamsNonStreaming,
    MessageCreateParamsStreaming,
)
from pydantic import BaseModel, ConfigDict, TypeAdapter

_UNTYPED = {
    # Gone from API version 2026-10-21, for which the SDK is written; we speak 2023-06-01.
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": int,
    # Of the beta API.
    "context_management": dict,
    "mcp_servers": list,
}
"""Fields that the SDK's types do not have, and what they are."""


def assert_valid_anthropic_body(body: Mapping[str, Any]) -> None:
    """Raises pydantic's ValidationError (or AssertionError) for a body that the types do not describe."""
    for name, kind in _UNTYPED.items():
        assert name not in body or isinstance(body[name], kind), name
    plain = {name: value for name, value in body.items() if name not in _UNTYPED}
    is_stream = body.get("stream") is True
    _exhaust(_adapter(is_stream).validate_python([plain]))


@cache
def _adapter(is_stream: bool) -> TypeAdapter[Any]:
    kind = MessageCreateParamsStreaming if is_stream else MessageCreateParamsNonStreaming
    # Around the type, since a TypedDict takes the configuration of what holds it and none of its own.
    return TypeAdapter(list[kind], config=ConfigDict(extra="forbid"))


def _exhaust(value: Any) -> None:
    """Look at everything: pydantic checks an Iterable only as it is read."""
    if isinstance(value, BaseModel):
        # The SDK takes its own reply blocks back, and those allow unknown fields.
        assert not value.model_extra, f"unknown fields {sorted(value.model_extra)} in {type(value).__name__}"
        _exhaust(dict(value))
    elif isinstance(value, Mapping):
        for item in value.values():
            _exhaust(item)
    elif isinstance(value, list | tuple) or type(value).__name__ == "ValidatorIterator":
        for item in value:
            _exhaust(item)
