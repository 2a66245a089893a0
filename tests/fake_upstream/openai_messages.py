"""What OpenAI refuses about `messages`: roles, contents, and the pairing of calls and results."""

from __future__ import annotations

from typing import Any

from tests.fake_upstream.openai_wording import Shape, bad_value, check_shape, require
from tests.fake_upstream.rejection import Rejected

_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_PARTS = {
    "user": ("text", "image_url", "input_audio", "file"),
    "assistant": ("text", "refusal"),
    "system": ("text",),
    "developer": ("text",),
    "tool": ("text",),
}
_PART_FIELDS = {
    "text": Shape("string"),
    "refusal": Shape("string"),
    "image_url": Shape("object"),
    "input_audio": Shape("object"),
    "file": Shape("object"),
}


def check_messages(messages: list[Any]) -> None:
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        check_shape(message, path, Shape("object"))
        role = require(message, "role", path)
        if role not in _ROLES:
            raise bad_value(role, f"{path}.role", _ROLES)
        _check_content(message, role, path)
        if role == "assistant":
            _check_calls(message, path)
        elif role == "tool":
            check_shape(require(message, "tool_call_id", path), f"{path}.tool_call_id", Shape("string"))
        elif role == "function":
            check_shape(require(message, "name", path), f"{path}.name", Shape("string"))
    _check_pairing(messages)


def _check_content(message: dict[str, Any], role: str, path: str) -> None:
    content = message.get("content")
    if content is None:
        has_other = any(message.get(name) for name in ("tool_calls", "function_call", "refusal", "audio"))
        if role in ("assistant", "function") and (has_other or role == "function"):
            return
        raise Rejected(
            f"Invalid value for 'content': expected a string, got null. ({path}.content)",
            param=f"{path}.content",
            code="invalid_type",
        )
    check_shape(content, f"{path}.content", Shape("string", "array", min_items=1))
    if isinstance(content, str):
        return
    for number, part in enumerate(content):
        here = f"{path}.content[{number}]"
        check_shape(part, here, Shape("object"))
        kind = require(part, "type", here)
        allowed = _PARTS.get(role, ("text",))
        if kind not in allowed:
            raise bad_value(kind, f"{here}.type", allowed)
        check_shape(require(part, kind, here), f"{here}.{kind}", _PART_FIELDS[kind])
        if kind == "image_url":
            _check_image(part["image_url"], f"{here}.image_url")


def _check_image(image: dict[str, Any], path: str) -> None:
    url = require(image, "url", path)
    check_shape(url, f"{path}.url", Shape("string"))
    if not url.startswith(("http://", "https://", "data:image/")):
        raise Rejected(
            f"Invalid '{path}.url'. Expected a valid URL, but got a value with an invalid format.",
            param=f"{path}.url",
            code="invalid_value",
        )


def _check_calls(message: dict[str, Any], path: str) -> None:
    calls = message.get("tool_calls")
    if calls is None:
        return
    check_shape(calls, f"{path}.tool_calls", Shape("array", min_items=1))
    for number, call in enumerate(calls):
        here = f"{path}.tool_calls[{number}]"
        check_shape(call, here, Shape("object"))
        check_shape(require(call, "id", here), f"{here}.id", Shape("string"))
        kind = require(call, "type", here)
        if kind not in ("function", "custom"):
            raise bad_value(kind, f"{here}.type", ("function", "custom"))
        inner = require(call, kind, here)
        check_shape(inner, f"{here}.{kind}", Shape("object"))
        for name in ("name", "input" if kind == "custom" else "arguments"):
            check_shape(require(inner, name, f"{here}.{kind}"), f"{here}.{kind}.{name}", Shape("string"))


def _check_pairing(messages: list[dict[str, Any]]) -> None:
    open_ids: list[str] = []
    known_ids: set[str] = set()
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in known_ids:
                # The misspelling is the API's own.
                raise Rejected(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
                    "with 'tool_calls'.",
                    param=f"messages.[{index}].role",
                )
            if message["tool_call_id"] in open_ids:
                open_ids.remove(message["tool_call_id"])
            continue
        _none_open(open_ids)
        known_ids = {call["id"] for call in message.get("tool_calls") or []}
        open_ids = sorted(known_ids)
    _none_open(open_ids)


def _none_open(ids: list[str]) -> None:
    if ids:
        raise Rejected(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: " + ", ".join(ids),
            param="messages",
        )
