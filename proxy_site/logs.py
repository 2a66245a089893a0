"""Log lines: readable in development, one JSON object a line in production.

A line's fields travel in `extra={"fields": {…}}`; a record may also have
`readable_fields`, the same facts for people, and `usual_text`, those facts as text, which
serves if none of its words needs quotes (api/services/recording/lines.py). Control
characters never reach the output as they are, and long values are cut: client text (a model
name, say) can neither forge a second line, nor speak to the reader's terminal, nor fill the
disk.

Almost every line is a request's, short and of plain characters: each formatter looks for
that first, and takes its time only where it is not so.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

_MAX_VALUE: Final = 500
_MAX_ITEMS: Final = 50
_MAX_EXCEPTION: Final = 20_000
# Characters. No value of a line that is no longer than this is worth cutting.
_PLAIN_LENGTH: Final = 1_000

# Lines. So many are written together even before their time.
_MOST_WAITING: Final = 200

# Beside control characters, what ends a line or turns the direction of text.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 0x7F, *range(0x80, 0xA0))} | {
    code: f"\\u{code:04x}"
    for code in (0x061C, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
}


def _single_line(text: str) -> str:
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


class _Seconds:
    """The text of a time, made once a second."""

    def __init__(self, form: str, *, is_utc: bool) -> None:
        self._form = form
        self._read = time.gmtime if is_utc else time.localtime
        self._second = -1
        self._text = ""

    def show(self, created: float) -> str:
        second = int(created)
        if second != self._second:
            # In this order: another thread may see the text of a second that is just past.
            self._text = time.strftime(self._form, self._read(second))
            self._second = second
        return self._text


class TextFormatter(logging.Formatter):
    """`15:04:05 INFO    message key=value …`; a value that could be taken for several is quoted."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = _Seconds("%H:%M:%S", is_utc=False)

    def format(self, record: logging.LogRecord) -> str:
        line = f"{self._clock.show(record.created)} {record.levelname:<7} {record.getMessage()}"
        line = _single_line(line) + _write_facts(record)
        if record.exc_info:
            # Set off, so that no line of an exception's own text passes for one of the log.
            for part in _cut_exception(self.formatException(record.exc_info)).split("\n"):
                line += f"\n  | {_single_line(part)}"
        return line


def _write_facts(record: logging.LogRecord) -> str:
    usual: tuple[str, str] | None = getattr(record, "usual_text", None)
    if usual is not None:
        text, words = usual
        if len(text) <= _PLAIN_LENGTH and words.isprintable() and not _needs_quotes(words):
            return text
    fields: Mapping[str, Any] | None = getattr(record, "readable_fields", None)
    if fields is None:
        fields = getattr(record, "fields", None)
    return _single_line(_write_fields(fields)) if fields else ""


def _write_fields(fields: Mapping[str, Any]) -> str:
    line = _join_fields(fields)
    return line if len(line) <= _PLAIN_LENGTH else _join_fields(_cut(dict(fields)))


def _join_fields(fields: Mapping[str, Any]) -> str:
    words: list[str] = []
    for name, value in fields.items():
        kind = type(value)
        if kind is str:
            if _needs_quotes(value):
                value = _quote(value)
        elif value is None:
            continue
        elif kind is list or kind is tuple or kind is dict:
            value = _quote(value)
        words.append(f" {name}={value}")
    return "".join(words)


def _needs_quotes(text: str) -> bool:
    return " " in text or '"' in text or "=" in text


def _quote(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII, with `time` in UTC."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = _Seconds("%Y-%m-%dT%H:%M:%S", is_utc=True)

    def format(self, record: logging.LogRecord) -> str:
        created = record.created
        entry: dict[str, Any] = {
            "time": f"{self._clock.show(created)}.{int(created % 1 * 1000):03d}+00:00",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields: Mapping[str, Any] | None = getattr(record, "fields", None)
        if record.exc_info:
            entry |= _cut(dict(fields or {}))
            entry["exception"] = _cut_exception(self.formatException(record.exc_info))
            return _escape_json(entry)
        try:
            line = orjson.dumps({**entry, **fields} if fields else entry)
        except TypeError:  # A value that has no JSON of its own, or a lone surrogate.
            line = b""
        if line and len(line) <= _PLAIN_LENGTH and line.isascii() and b"\x7f" not in line:
            return line.decode("ascii")
        return _escape_json(entry | _cut(dict(fields or {})))


def _escape_json(entry: dict[str, Any]) -> str:
    return json.dumps(entry, default=str).replace("\x7f", "\\u007f")


_tell_first: Callable[[], None] | None = None


def write_after(tell: Callable[[], None] | None) -> None:
    """Have `tell` called before each line that cannot wait: what it logs came earlier."""
    global _tell_first
    _tell_first = tell


class StderrHandler(logging.Handler):
    """Lines on standard error, in the order in which they came.

    A record with `may_wait` (api/services/recording: a request that is over) is written
    together with those that follow it, at the next `flush`, which whoever logs it calls.
    Everything else, and what waits before it, is written at once.

    A line that cannot be written (a full disk, a reader that went away) is lost, and
    nothing else with it: `lost` counts them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0
        self._waiting: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "may_wait", False):
            self._waiting.append(record)
            if len(self._waiting) < _MOST_WAITING:
                return
        else:
            if _tell_first is not None:
                _tell_first()
            self._waiting.append(record)
        self._write_waiting()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            with self.lock or contextlib.nullcontext():
                self._write_waiting()

    def _write_waiting(self) -> None:
        records, self._waiting = self._waiting, []
        lines = []
        for record in records:
            try:
                lines.append(self.format(record))
            except Exception:  # Arguments that do not fit their message: told, and nothing fails for it.
                self.handleError(record)
        if not lines:
            return
        text = ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
        try:
            descriptor = sys.stderr.fileno()
            while text:
                text = text[os.write(descriptor, text) :]
        except (OSError, ValueError, AttributeError):  # Also: no standard error, or a closed one.
            self.lost += text.count(b"\n")
