"""How a reply goes wrong, or unusual, on its way: values that `playback.py` acts on.

Positions count bytes of the body as the client decodes it, before chunk framing, unless
said otherwise; so an offset into a golden file is the offset of the fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.fake_upstream.gates import Gate, Pace

Before = Literal["headers", "body"] | int


@dataclass(frozen=True, slots=True)
class Stall:
    """Silence of some seconds before the head, before the body, or before the n-th body byte."""

    before: Before = "headers"
    seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Hold:
    """Silence until the test opens the gate."""

    gate: Gate
    before: Before = "headers"


@dataclass(frozen=True, slots=True)
class Cut:
    """End the connection after that many bytes, with FIN or, with `reset`, with RST.

    Chunked bodies are cut inside the chunk that holds the byte, or, when the body is not
    longer, before the terminating chunk. `clean` instead ends a chunked body properly at that byte: a
    truncation that HTTP cannot show. With `within="response"` the head counts too.
    """

    after_bytes: int
    reset: bool = False
    clean: bool = False
    within: Literal["body", "response"] = "body"


@dataclass(frozen=True, slots=True)
class SlowDrip:
    bytes_per_write: int = 1
    delay: float = 0.01
    head: bool = False
    """Drip the status line and headers too."""


@dataclass(frozen=True, slots=True)
class Gzip:
    """Compress the body, asked for or not; streams are flushed after every piece."""


@dataclass(frozen=True, slots=True)
class CloseDelimited:
    """Neither content-length nor chunks: the body ends with the connection."""


@dataclass(frozen=True, slots=True)
class Chunked:
    """Send the body in chunks, of `size` bytes at most."""

    size: int = 65536


@dataclass(frozen=True, slots=True)
class Interim:
    """A 1xx response, or several, before the real one."""

    status: int = 103
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1


@dataclass(frozen=True, slots=True)
class Trailers:
    """Chunked, with these fields after the last chunk."""

    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WithHeaders:
    """Add headers to the reply, in place of those it had under these names."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CloseIdle:
    """Close a connection that was promised to stay open.

    `after_reply`: right behind the last byte. `on_next_request`: when the next request
    begins to arrive, unread and unanswered: the race every connection pool loses at times.
    """

    when: Literal["after_reply", "on_next_request"] = "after_reply"
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Paced:
    """Each piece waits for the test's `pace.release()`; the server's own `pace` by default."""

    pace: Pace | None = None


Fault = (
    Stall
    | Hold
    | Cut
    | SlowDrip
    | Gzip
    | CloseDelimited
    | Chunked
    | Interim
    | Trailers
    | WithHeaders
    | CloseIdle
    | Paced
)
