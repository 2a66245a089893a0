"""Rules for the extra headers that an operator attaches to a provider."""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[\x20-\x7e\t]*")

# Framing and addressing belong to the HTTP client.
FRAMING_HEADERS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
KEY_HEADERS: Final = frozenset({"authorization", "x-api-key"})


def problem_with_header_name(name: str) -> str | None:
    if not _NAME.fullmatch(name):
        return "A header's name has letters, digits and hyphens, and no spaces or colon."
    if name.lower() in FRAMING_HEADERS:
        return f"{name} is set by the proxy itself for each request."
    return None


def problem_with_header_value(value: str) -> str | None:
    """Why `value` cannot be sent, or None. Line breaks would forge further headers."""
    if not value.strip():
        return "Enter a value."
    if not _VALUE.fullmatch(value):
        return "A header's value is one line of ASCII characters."
    return None


def problem_with_key(key: str) -> str | None:
    """Why `key` cannot be a provider's key, or None. Says nothing about what it contains."""
    if not key:
        return "The key is empty."
    if any(character.isspace() for character in key):
        return "The key has white space in it. Was more than the key copied?"
    if not key.isascii() or not key.isprintable():
        return "The key has characters that no key has. Was it copied in full, and as plain text?"
    if len(key) > 4096:
        return f"The key is {len(key)} characters long; 4096 are possible."
    return None
