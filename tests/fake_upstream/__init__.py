"""A real HTTP server on 127.0.0.1 that plays OpenAI's and Anthropic's APIs for the tests.

It refuses what they refuse, answers like a model, and misbehaves when told to. Its rules
are written from the protocols' documentation and never from this proxy's own code.

    with FakeUpstream() as upstream:
        upstream.script(Json(429, {...}, {"retry-after": "1"}), Answer() + Stall("headers", 2))
"""

from __future__ import annotations

from tests.fake_upstream.behaviours import (
    Answer,
    Behaviour,
    Disconnecting,
    Events,
    Garbage,
    Html,
    IfValid,
    Json,
    Raw,
    Redirect,
    Reply,
    frame,
    golden,
)
from tests.fake_upstream.faults import (
    Chunked,
    CloseDelimited,
    CloseIdle,
    Cut,
    Gzip,
    Hold,
    Interim,
    Paced,
    SlowDrip,
    Stall,
    Trailers,
    WithHeaders,
)
from tests.fake_upstream.gates import Gate, Pace
from tests.fake_upstream.recorded import Disconnect, RecordedRequest
from tests.fake_upstream.server import FakeUpstream
from tests.fake_upstream.unreachable import black_hole

__all__ = [
    "Answer",
    "Behaviour",
    "Chunked",
    "CloseDelimited",
    "CloseIdle",
    "Cut",
    "Disconnect",
    "Disconnecting",
    "Events",
    "FakeUpstream",
    "Garbage",
    "Gate",
    "Gzip",
    "Hold",
    "Html",
    "IfValid",
    "Interim",
    "Json",
    "Pace",
    "Paced",
    "Raw",
    "RecordedRequest",
    "Redirect",
    "Reply",
    "SlowDrip",
    "Stall",
    "Trailers",
    "WithHeaders",
    "black_hole",
    "frame",
    "golden",
]
