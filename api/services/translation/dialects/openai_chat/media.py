"""Images and files inside a client's message: data URLs, bare base64, addresses, file ids.

Owns the way from those strings to a media source and what kind of file it is. Fetches
nothing, and decodes base64 only where the text inside is wanted.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

from api.services.translation.conversation import (
    DocumentPart,
    FileReference,
    ImagePart,
    InlineData,
    MediaSource,
    RemoteUrl,
)
from api.services.translation.dialects.openai_chat.checks import wrong

PDF: Final = "application/pdf"

_TEXT_EXTENSIONS: Final = """
    txt text log md rst tex csv tsv json xml html css scss yaml yml toml ini cfg conf env sql sh bat
    py js mjs ts tsx jsx c h cc cpp hpp cs java kt swift go rs rb php pl lua r scala diff patch
"""
_BY_EXTENSION: Final[Mapping[str, str]] = {
    "pdf": PDF,
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    **dict.fromkeys(_TEXT_EXTENSIONS.split(), "text/plain"),
}

# The first bytes of a file, in base64.
_BY_START: Final = (
    ("JVBERi", PDF),
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
)

_TEXT_TYPES: Final = frozenset(
    {
        "application/json",
        "application/xml",
        "application/yaml",
        "application/x-yaml",
        "application/javascript",
    }
)

_TO_STANDARD_ALPHABET: Final = str.maketrans("-_", "+/")


def decode_image_url(url: str, path: str) -> ImagePart | DocumentPart:
    """What `image_url.url` holds; a PDF in it is a document, since many clients send it so."""
    if _is_data_url(url):
        data = _read_data_url(url, path)
        if data.media_type == PDF:
            return DocumentPart(data, path=path)
        return ImagePart(data, path=path)
    return ImagePart(_decode_reference(url, path), path=path)


def decode_file(
    file_data: str | None, file_id: str | None, filename: str | None, path: str
) -> ImagePart | DocumentPart:
    """A `file` part. `file_data` is a data URL or bare base64, and may as well be an image or a text."""
    if file_data is None:
        if not file_id:
            raise wrong(path, f"Invalid '{path}': expected 'file_data' or 'file_id'.")
        return DocumentPart(FileReference(file_id), title=filename or None, path=f"{path}.file_id")
    path = f"{path}.file_data"
    if _is_data_url(file_data):
        data = _read_data_url(file_data, path)
        if data.media_type in ("", "application/octet-stream"):
            data = InlineData(_guess_type(data.base64, filename), data.base64)
    else:
        content = _clean_base64(file_data, path)
        data = InlineData(_guess_type(content, filename), content)
    if data.media_type.startswith("image/"):
        return ImagePart(data, path=path)
    if data.media_type.startswith("text/") or data.media_type in _TEXT_TYPES:
        return DocumentPart(None, text=_decode_text(data.base64, path), title=filename or None, path=path)
    return DocumentPart(data, title=filename or None, path=path)


def _decode_reference(url: str, path: str) -> MediaSource:
    if url[:8].lower().startswith(("https://", "http://")):
        return RemoteUrl(url)
    if url.startswith(("file-", "file_")):
        return FileReference(url)
    raise wrong(path, f"Invalid '{path}': expected a data URL, an https URL or the id of a file.")


def _is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:"


def _read_data_url(url: str, path: str) -> InlineData:
    comma = url.find(",", 0, 1000)
    if comma < 0:
        raise wrong(path, f"Invalid '{path}': not a data URL.")
    media_type, *parameters = url[5:comma].split(";")
    media_type = media_type.strip().lower()
    payload = url[comma + 1 :]
    if any(parameter.strip().lower() == "base64" for parameter in parameters):
        content = _clean_base64(payload, path)
    else:
        content = base64.b64encode(unquote_to_bytes(payload)).decode("ascii")
        if not content:
            raise wrong(path, f"Invalid '{path}': there is no data.")
    return InlineData("image/jpeg" if media_type == "image/jpg" else media_type, content)


def _clean_base64(text: str, path: str) -> str:
    """Base64 without white space, in the standard alphabet and padded. Its content is not looked at."""
    if "%" in text:
        text = unquote(text)
    if any(space in text for space in " \n\r\t"):
        text = "".join(text.split())
    if "-" in text or "_" in text:
        text = text.translate(_TO_STANDARD_ALPHABET)
    if len(text) % 4:
        text = text.rstrip("=")
        text += "=" * (-len(text) % 4)
    if not text or not text.isascii() or text.endswith("==="):
        raise wrong(path, f"Invalid '{path}': not valid base64.")
    return text


def _decode_text(content: str, path: str) -> str:
    try:
        return base64.b64decode(content, validate=True).decode("utf-8-sig")
    except (binascii.Error, UnicodeDecodeError):
        raise wrong(path, f"Invalid '{path}': not a text in UTF-8.") from None


def _guess_type(content: str, filename: str | None) -> str:
    extension = filename.rpartition(".")[2].lower() if filename else ""
    if extension in _BY_EXTENSION:
        return _BY_EXTENSION[extension]
    for start, media_type in _BY_START:
        if content.startswith(start):
            return media_type
    return "application/octet-stream"
