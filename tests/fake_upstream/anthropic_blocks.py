"""What Anthropic refuses about single content blocks, and about cache marks on them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from tests.fake_upstream.anthropic_fields import Field, check_fields, check_tag, string
from tests.fake_upstream.rejection import Rejected

_CACHE = Field(("dictionary",), nullable=True)
_ANY = Field(("any",))
_TEXT = string(required=True)
_TYPE = Field(("string",), required=True)
_ID = Field(("string",), required=True)
_LIST = Field(("list",), required=True)
_OBJECT = Field(("dictionary",), required=True)

_BLOCKS: dict[str, dict[str, Field]] = {
    "text": {"text": _TEXT, "cache_control": _CACHE, "citations": Field(("list",), nullable=True)},
    "image": {
        "source": _OBJECT,
        "cache_control": _CACHE,
        "transformations": Field(("dictionary",), nullable=True),
    },
    "document": {
        "source": _OBJECT,
        "cache_control": _CACHE,
        "citations": Field(("dictionary",), nullable=True),
        "context": string(nullable=True),
        "title": string(nullable=True),
    },
    "search_result": {
        "content": _LIST,
        "source": _TEXT,
        "title": _TEXT,
        "cache_control": _CACHE,
        "citations": Field(("dictionary",)),
    },
    "thinking": {"thinking": _TEXT, "signature": _TEXT},
    "redacted_thinking": {"data": _TEXT},
    "tool_use": {
        "id": _ID,
        "name": _TEXT,
        "input": _OBJECT,
        "cache_control": _CACHE,
        "caller": Field(("dictionary",)),
        "toolset_name": string(nullable=True),
    },
    "tool_result": {
        "tool_use_id": _ID,
        "content": Field(("string", "list")),
        "is_error": Field(("boolean",)),
        "cache_control": _CACHE,
        "toolset_name": string(nullable=True),
    },
    "server_tool_use": {
        "id": _ID,
        "name": _TEXT,
        "input": _OBJECT,
        "cache_control": _CACHE,
        "caller": Field(("dictionary",)),
    },
    "container_upload": {"file_id": _ID, "cache_control": _CACHE},
    "tool_reference": {"tool_name": _TEXT, "cache_control": _CACHE},
}
for _name in (
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
):
    _BLOCKS[_name] = {"tool_use_id": _ID, "content": _ANY, "cache_control": _CACHE, "caller": _ANY}

_IN_TOOL_RESULT = ("text", "image", "document", "search_result", "tool_reference")
_IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_IMAGE_SOURCES = {
    "base64": {"data": _TEXT, "media_type": string(*_IMAGE_TYPES, required=True)},
    "url": {"url": _TEXT},
    "file": {"file_id": _ID},
}
_DOCUMENT_SOURCES = {
    "base64": {"data": _TEXT, "media_type": string("application/pdf", required=True)},
    "text": {"data": _TEXT, "media_type": string("text/plain", required=True)},
    "content": {"content": Field(("string", "list"), required=True)},
    "url": {"url": _TEXT},
    "file": {"file_id": _ID},
}
_MAX_IMAGE = 10 * 1024 * 1024
MAX_CACHE_MARKS = 4


def check_block(block: Any, path: str, *, has_files: bool) -> str:
    """One block of a turn; returns its type."""
    kind = check_tag(block, _BLOCKS, path)
    if kind == "tool_reference":
        check_tag(block, tuple(name for name in _BLOCKS if name != kind), path)
    _check_shape(block, kind, path, has_files=has_files)
    if kind == "tool_result":
        _check_result(block, path, has_files=has_files)
    return kind


def check_text(block: dict[str, Any], path: str, where: str) -> None:
    """A text block: its fields, and that it says something."""
    check_fields(block, {"type": _TYPE, **_BLOCKS["text"]}, f"{path}.text" if where == "messages" else path)
    if not block["text"]:
        if block.get("cache_control"):
            raise Rejected(f"{path}.cache_control: cache_control cannot be set for empty text blocks")
        raise Rejected(f"{where}: text content blocks must be non-empty")
    if not block["text"].strip():
        raise Rejected(f"{where}: text content blocks must contain non-whitespace text")


def check_cache_control(body: dict[str, Any]) -> None:
    marks = list(_marks(body, ""))
    for path, mark in marks:
        tag = check_tag(mark, ("ephemeral",), path)
        check_fields(mark, {"type": _TYPE, "ttl": string("5m", "1h")}, f"{path}.{tag}")
    if len(marks) > MAX_CACHE_MARKS:
        raise Rejected(f"A maximum of 4 blocks with cache_control may be provided. Found {len(marks)}.")


def _check_shape(block: dict[str, Any], kind: str, path: str, *, has_files: bool) -> None:
    if kind == "text":
        check_text(block, path, "messages")
        return
    check_fields(block, {"type": _TYPE, **_BLOCKS[kind]}, f"{path}.{kind}")
    if kind == "image":
        _check_image(block["source"], f"{path}.image.source", has_files=has_files)
    elif kind == "document":
        _check_document(block["source"], f"{path}.document.source", has_files=has_files)


def _check_result(block: dict[str, Any], path: str, *, has_files: bool) -> None:
    content = block.get("content", "")
    if isinstance(content, str):
        return
    for index, inner in enumerate(content):
        here = f"{path}.tool_result.content.{index}"
        kind = check_tag(inner, _IN_TOOL_RESULT, here)
        _check_shape(inner, kind, here, has_files=has_files)
        if block.get("is_error") and kind != "text":
            raise Rejected(f"{path}.tool_result: all content must be type `text` if `is_error` is true")


def _check_image(source: Any, path: str, *, has_files: bool) -> None:
    tag = _check_source(source, _IMAGE_SOURCES, path, has_files=has_files)
    if tag == "base64":
        _check_base64(source["data"], f"{path}.base64.data")
        if len(source["data"]) > _MAX_IMAGE:
            raise Rejected(f"{path}.base64: image exceeds 10 MB maximum: {len(source['data'])} bytes")


def _check_document(source: Any, path: str, *, has_files: bool) -> None:
    tag = _check_source(source, _DOCUMENT_SOURCES, path, has_files=has_files)
    if tag == "base64":
        _check_base64(source["data"], f"{path}.base64.data")
    elif tag == "text" and not source["data"].strip():
        raise Rejected(f"{path}.text.data: document text must be non-empty")
    elif tag == "content" and isinstance(source["content"], list):
        for index, inner in enumerate(source["content"]):
            here = f"{path}.content.content.{index}"
            _check_shape(inner, check_tag(inner, ("text", "image"), here), here, has_files=has_files)


def _check_source(source: Any, sources: dict[str, dict[str, Field]], path: str, *, has_files: bool) -> str:
    tags = tuple(name for name in sources if name != "file" or has_files)
    tag = check_tag(source, tags, path)
    check_fields(source, {"type": _TYPE, **sources[tag]}, f"{path}.{tag}")
    if tag == "url" and not source["url"].startswith("https://"):
        raise Rejected(f"{path}.url.url: Only HTTPS URLs are supported.")
    return tag


def _check_base64(data: str, path: str) -> None:
    try:
        if not base64.b64decode(data, validate=True):
            raise Rejected(f"{path}: Input should not be empty")
    except binascii.Error:
        raise Rejected(f"{path}: Invalid base64 data") from None


def _marks(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """All cache marks of a body with their paths; schemas and tool inputs are not looked into."""
    if isinstance(value, dict):
        for key, item in value.items():
            here = f"{path}.{key}" if path else key
            if key == "cache_control":
                if item is not None:
                    yield here, item
            elif key not in ("input", "input_schema", "input_examples", "schema", "metadata"):
                yield from _marks(item, here)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _marks(item, f"{path}.{index}")
