"""Log lines: readable in development, one JSON object a line in production.

A line's fields travel in `extra={"fields": {…}}`. Control characters never reach the
output as they are: client text (a model name, say) cannot forge a second line.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 0x7F, *range(0x80, 0xA0), 0x2028, 0x2029)}


def _single_line(value: object) -> str:
    return str(value).translate(_CONTROL)


class TextFormatter(logging.Formatter):
    """`15:04:05 INFO message key=value …`"""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = f"{when} {record.levelname:<7} {_single_line(record.getMessage())}"
        fields: dict[str, Any] = getattr(record, "fields", {})
        for name, value in fields.items():
            if value is not None:
                shown = (
                    json.dumps(value, ensure_ascii=False, default=str)
                    if isinstance(value, list | dict)
                    else value
                )
                line += f" {name}={_single_line(shown)}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
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
        entry.update(getattr(record, "fields", {}))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)
