"""Single parts as content blocks, with the checks that Anthropic makes of each.

Owns media types, sources and cache marks. A blank text gives no block: upstream refuses
it. Order and pairing of blocks are not looked at here.
"""

from __future__ import annotations

from typing import Final, NoReturn

from api.services.translation.conversation import (
    AudioPart,
    CacheMark,
    DocumentPart,
    FileReference,
    ImagePart,
    InlineData,
    JsonObject,
    MediaSource,
    NativePart,
    Part,
    RedactedThinkingPart,
    RefusalPart,
    RemoteUrl,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.json_text import load_json

FILES_BETA: Final = "files-api-2025-04-14"
DIALECT: Final = "anthropic_messages"

_IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")


def encode_cache(cache: CacheMark) -> JsonObject:
    control: JsonObject = {"type": "ephemeral"}
    if cache.ttl is not None:
        control["ttl"] = cache.ttl
    return control


def encode_text(text: str, cache: CacheMark | None = None) -> JsonObject | None:
    """A text block, or None for a blank text."""
    if not text or text.isspace():
        return None
    return _marked({"type": "text", "text": text}, cache)


def encode_block(part: Part, betas: dict[str, None]) -> JsonObject | None:
    """One block of a user's or an assistant's turn. What needs an id or a place is not encoded here."""
    match part:
        case TextPart():
            return encode_text(part.text, part.cache)
        case RefusalPart():
            return encode_text(part.text)
        case ImagePart():
            return _marked({"type": "image", "source": _image_source(part, betas)}, part.cache)
        case DocumentPart():
            return _marked(_document(part, betas), part.cache)
        case ThinkingPart():
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        case RedactedThinkingPart():
            return {"type": "redacted_thinking", "data": part.data}
        case NativePart() if part.dialect == DIALECT:
            return part.block
        case AudioPart():
            raise Failure(
                FailureKind.UNSUPPORTED_VALUE,
                "Unsupported value: audio input is not supported with this model.",
                param=part.path,
            )
        case NativePart() | ToolCallPart() | ToolResultPart():
            raise Failure(
                FailureKind.UNSUPPORTED_VALUE,
                "Unsupported value: this content is not supported with this model.",
                param=part.path or None,
            )


def encode_tool_use(part: ToolCallPart, wire_id: str) -> JsonObject:
    """A call, its arguments parsed; what is not a JSON object cannot be said."""
    return _marked(
        {"type": "tool_use", "id": wire_id, "name": part.name, "input": _arguments(part)}, part.cache
    )


def encode_tool_result(part: ToolResultPart, betas: dict[str, None]) -> JsonObject:
    """A result, still without the id of its call. An empty one has no content."""
    result: JsonObject = {"type": "tool_result", "tool_use_id": ""}
    if part.is_plain_text and part.parts:
        first = part.parts[0]
        if isinstance(first, TextPart) and encode_text(first.text) is not None:
            result["content"] = first.text
    elif part.parts:
        blocks = [block for item in part.parts if (block := encode_block(item, betas)) is not None]
        if blocks:
            result["content"] = blocks
    return _marked(result, part.cache)


def _arguments(part: ToolCallPart) -> JsonObject:
    if part.is_custom:
        return {"input": part.arguments}
    if not part.arguments or part.arguments.isspace():
        return {}
    try:
        arguments = load_json(part.arguments)
    except Failure:
        arguments = None
    if not isinstance(arguments, dict):
        _refuse(part.path, "the arguments of a function call must be a JSON object.")
    return arguments


def _image_source(part: ImagePart, betas: dict[str, None]) -> JsonObject:
    if isinstance(part.source, InlineData):
        if part.source.media_type not in _IMAGE_TYPES:
            _refuse(part.path, f"unsupported image type. Supported types are: {', '.join(_IMAGE_TYPES)}.")
        return _base64(part.source)
    return _remote_source(part.source, part.path, betas)


def _document(part: DocumentPart, betas: dict[str, None]) -> JsonObject:
    if part.text is not None:
        source: JsonObject = {"type": "text", "media_type": "text/plain", "data": part.text}
    elif isinstance(part.source, InlineData):
        if part.source.media_type != "application/pdf":
            _refuse(part.path, "unsupported file type. Supported are PDF, text and image files.")
        source = _base64(part.source)
    elif part.source is not None:
        source = _remote_source(part.source, part.path, betas)
    else:
        _refuse(part.path, "the file is empty.")
    document: JsonObject = {"type": "document", "source": source}
    if part.title:
        document["title"] = part.title
    return document


def _remote_source(source: MediaSource, path: str, betas: dict[str, None]) -> JsonObject:
    match source:
        case RemoteUrl():
            if source.url[:8].lower() != "https://":
                _refuse(path, "only https URLs are supported with this model.")
            return {"type": "url", "url": source.url}
        case FileReference():
            # "file-…" is OpenAI's; Anthropic's ids have an underscore.
            if not source.file_id.startswith("file_"):
                _refuse(path, "there is no file with that id at this model's provider.")
            betas[FILES_BETA] = None
            return {"type": "file", "file_id": source.file_id}
        case InlineData():
            return _base64(source)


def _base64(source: InlineData) -> JsonObject:
    return {"type": "base64", "media_type": source.media_type, "data": source.base64}


def _marked(block: JsonObject, cache: CacheMark | None) -> JsonObject:
    if cache is not None:
        block["cache_control"] = encode_cache(cache)
    return block


def _refuse(path: str, reason: str) -> NoReturn:
    raise Failure(FailureKind.INVALID_REQUEST, f"Invalid '{path}': {reason}", param=path or None)
