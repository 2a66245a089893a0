"""Log lines: readable in development, one JSON object a line in production.

A line's fields travel in `extra={"fields": {…}}`. Control characters never reach the
output as they are, and long values are cut: client text (a model name, say) can neither
forge a second line, nor speak to the reader's terminal, nor fill the disk.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

_MAX_VALUE = 500
_MAX_ITEMS = 50
_MAX_EXCEPTION = 20_000

# Beside control characters, what ends a line or turns the direction of text.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 0x7F, *range(0x80, 0xA0))} | {
    code: f"\\u{code:04x}"
    for code in (0x061C, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
}


def _single_line(value: object) -> str:
    text = str(value)
    return text if text.isprintable() else text.translate(_CONTROL)


def _cut(value: Any) -> Any:
    """`value` at a length that a log can bear, its shape kept."""
    match value:
        case str() if len(value) > _MAX_VALUE:
            return f"{value[:_MAX_VALUE]}… ({len(value)} characters)"
        case list() | tuple():
            kept = [_cut(item) for item in value[:_MAX_ITEMS]]
            return kept if len(value) <= _MAX_ITEMS else [*kept, f"… ({len(value)} items)"]
        case dict():
            return {_cut(name): _cut(item) for name, item in list(value.items())[:_MAX_ITEMS]}
        case _:
            return value


def _cut_exception(text: str) -> str:
    return text if len(text) <= _MAX_EXCEPTION else f"{text[:_MAX_EXCEPTION]}…"


class TextFormatter(logging.Formatter):
    """`15:04:05 INFO message key=value …`"""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = f"{when} {record.levelname:<7} {_single_line(record.getMessage())}"
        fields: dict[str, Any] = getattr(record, "fields", {})
        for name, value in fields.items():
            if value is not None:
                value = _cut(value)
                shown = (
                    json.dumps(value, ensure_ascii=False, default=str)
                    if isinstance(value, list | dict)
                    else value
                )
                line += f" {name}={_single_line(shown)}"
        if record.exc_info:
            # Set off, so that no line of an exception's own text passes for one of the log.
            for part in _cut_exception(self.formatException(record.exc_info)).split("\n"):
                line += f"\n  | {_single_line(part)}"
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with `time` in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry.update(_cut(getattr(record, "fields", {})))
        if record.exc_info:
            entry["exception"] = _cut_exception(self.formatException(record.exc_info))
        return json.dumps(entry, default=str)
