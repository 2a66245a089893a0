"""What the server can answer: bodies, streams, raw bytes, and no answer at all.

Each behaviour is a value that renders to a reply; how the reply then goes wrong on the
wire is `faults.py`, attached with `+`:  `Events(frames) + Cut(after_bytes=120, reset=True)`.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tests.fake_upstream.faults import Fault
from tests.fake_upstream.recorded import RecordedRequest

if TYPE_CHECKING:
    from tests.fake_upstream.answers import Answers

Framing = Literal["length", "chunked", "close", "raw"]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A reply, ready to be written. With framing `raw` the pieces are the whole wire text."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    pieces: tuple[bytes, ...] = ()
    framing: Framing = "length"
    delay: float = 0.0
    """Seconds between two pieces."""
    keep_open: bool = True


class Behaviour(ABC):
    """Anything that can answer a request; faults are added to it with `+`."""

    __slots__ = ()

    @abstractmethod
    def render(self, request: RecordedRequest, answers: Answers) -> Rendered:
        """The reply, before anything goes wrong with it."""

    @property
    def faults(self) -> tuple[Fault, ...]:
        return ()

    def __add__(self, fault: Fault) -> Behaviour:
        return _Faulty(self, (fault,))


@dataclass(frozen=True, slots=True)
class _Faulty(Behaviour):
    base: Behaviour
    added: tuple[Fault, ...]

    def render(self, request: RecordedRequest, answers: Answers) -> Rendered:
        return self.base.render(request, answers)

    @property
    def faults(self) -> tuple[Fault, ...]:
        return (*self.base.faults, *self.added)


@dataclass(frozen=True, slots=True)
class Answer(Behaviour):
    """What the server does without a script: validate like the real API, answer like a model."""

    def render(self, request: RecordedRequest, answers: Answers) -> Rendered:
        return answers.answer(request)


@dataclass(frozen=True, slots=True)
class IfValid(Behaviour):
    """The given reply, but only to a request that the real API would take; else its refusal."""

    reply: Behaviour

    def render(self, request: RecordedRequest, answers: Answers) -> Rendered:
        own = answers.answer(request)
        return own if own.status >= 400 else self.reply.render(request, answers)

    @property
    def faults(self) -> tuple[Fault, ...]:
        return self.reply.faults


@dataclass(frozen=True, slots=True)
class Reply(Behaviour):
    """A plain response. A `dict` or `list` body goes out as JSON."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str | dict[str, Any] | list[Any] = b""

    def render(self, request: RecordedRequest, answers: Answers) -> Rendered:
        return Rendered(self.status, tuple(self.headers.items()), (_to_bytes(self.body),))


@dataclass(frozen=True, slots=True)
class Json(Behaviour):
    """A JSON body; any JSON value, so that `[]`, `"x"` and `null` can be sent too."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    def render(self, request: RecordedRequest, answers: Answers) -> Rendered:
        headers = (("content-type", "application/json"), *self.headers.items())
        return Rendered(self.status, headers, (_dump(self.body),))


@dataclass(frozen=True, slots=True)
class Html(Behaviour):
    """What a proxy in front of an API shows when the API is away."""

    status: int = 502
    text: str = (
        "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
    )

    def render(self, request: RecordedRequest, answers: Answers) -> Rendered:
        return Rendered(self.status, (("content-type", "text/html; charset=UTF-8"),), (self.text.encode(),))


@dataclass(frozen=True, slots=True)
class Redirect(Behaviour):
    url: str
    status: int = 307

    def render(self, request: RecordedRequest, answers: Answers) -> Rendered:
        return Rendered(self.status, (("location", self.url),), (b"",))


@dataclass(frozen=True, slots=True)
class Raw(Behaviour):
    """Bytes of a whole response, malformed ones included, exactly as given; then the connection closes."""

    data: bytes
    keep_open: bool = False

    def render(self, request: RecordedRequest, answers: Answers) -> Rendered:
        return Rendered(pieces=(self.data,), framing="raw", keep_open=self.keep_open)


def Garbage(length: int = 512) -> Raw:
    """Bytes that are not HTTP at all; always the same ones."""
    return Raw(bytes((7 + 31 * index + index * index) % 256 for index in range(length)))


def Disconnecting() -> Raw:
    """Read the whole request, then close without a byte; `+ Cut(0, reset=True)` resets instead."""
    return Raw(b"")


EventItem = Mapping[str, Any] | str | bytes


@dataclass(frozen=True, slots=True)
class Events(Behaviour):
    """A server-sent-event stream, one written piece per item.

    A mapping becomes a frame whose `event:` line is its `type`, a string becomes a bare
    `data:` line (`"[DONE]"`), bytes go out untouched (comments, half frames, broken ones).
    """

    items: Sequence[EventItem]
    event_names: bool = True
    delay: float = 0.0
    newline: str = "\n"
    one_byte: bool = False
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def render(self, request: RecordedRequest, answers: Answers) -> Rendered:
        pieces = tuple(frame(item, event_names=self.event_names, newline=self.newline) for item in self.items)
        if self.one_byte:
            pieces = tuple(bytes((byte,)) for piece in pieces for byte in piece)
        headers = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))
        return Rendered(self.status, (*headers, *self.headers.items()), pieces, "chunked", self.delay)


def golden(data: bytes | dict[str, Any] | list[Any]) -> Behaviour:
    """A recorded reply: bytes are an SSE text (written frame by frame), a dict a JSON body, a list events."""
    if isinstance(data, bytes):
        return Events([piece for piece in re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", data) if piece])
    if isinstance(data, dict):
        return Json(200, data)
    return Events(data)


def frame(item: EventItem, *, event_names: bool = True, newline: str = "\n") -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, str):
        return f"data: {item}{newline}{newline}".encode()
    name = f"event: {item['type']}{newline}" if event_names and "type" in item else ""
    return name.encode() + b"data: " + _dump(item) + (newline * 2).encode()


def _to_bytes(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else _dump(body)


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
