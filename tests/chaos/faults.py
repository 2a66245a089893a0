"""The faults, one value each: what the upstream does, and what a client may be told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.chaos.outcomes import Outcome
from tests.fake_upstream import (
    Answer,
    Behaviour,
    CloseIdle,
    Cut,
    Disconnecting,
    Events,
    Garbage,
    Html,
    Interim,
    Json,
    Redirect,
    Reply,
    SlowDrip,
    Stall,
    WithHeaders,
)

HTTP: Final = "http"
"""The place of most faults: a server that speaks HTTP, more or less."""

OPENAI: Final = "openai"
ANTHROPIC: Final = "anthropic"
DIALECTS: Final = (OPENAI, ANTHROPIC)

Script = Callable[[str, bool], Behaviour]
"""(dialect, stream) → what the upstream does."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`codes` are what a client may get where nothing else is left to try.

    A code is an error code of docs/errors.md, or "status N" for one that has none.
    `is_harmless`: the client gets its answer all the same. `begins_streams`: by the time of
    the fault a stream's client has output already. `share`: the upstream does it to one
    request in that many, and once only: what retries are for.
    """

    name: str
    codes: frozenset[str] = frozenset()
    script: Script | None = None
    place: str = HTTP
    is_harmless: bool = False
    begins_streams: bool = False
    share: int = 1

    def allowed(self, *, stream: bool, has_fallback: bool) -> frozenset[Outcome]:
        """The outcomes that are right."""
        if stream and self.begins_streams:
            return frozenset({Outcome.BROKEN_OFF})
        if self.is_harmless or has_fallback or self.share > 1:
            return frozenset({Outcome.ANSWERED})
        return frozenset({Outcome.FAILED})


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "fault", "param": None, "code": None}}


def _status(status: int, headers: dict[str, str] | None = None) -> Script:
    kinds = {429: "rate_limit_error", 529: "overloaded_error", 401: "authentication_error"}

    def script(dialect: str, stream: bool) -> Behaviour:
        body = _error(f"a fault: {status}")
        if dialect == ANTHROPIC:
            error = {"type": kinds.get(status, "api_error"), "message": f"a fault: {status}"}
            body = {"type": "error", "error": error}
        return Json(status, body, headers or {})

    return script


def _same(behaviour: Behaviour) -> Script:
    return lambda dialect, stream: behaviour


# Behind the first words of a stream, and inside a body that is not one.
_MIDDLE: Final = {OPENAI: 900, ANTHROPIC: 1_000}
_INSIDE: Final = 60


def _middle(make: Callable[[int], Any]) -> Script:
    return lambda dialect, stream: Answer() + make(_MIDDLE[dialect] if stream else _INSIDE)


def _error_event(dialect: str, stream: bool) -> Behaviour:
    if not stream:
        return _status(529)(dialect, stream)
    if dialect == ANTHROPIC:
        return Events([{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}])
    return Events([_error("Overloaded")])


_UNAVAILABLE: Final = frozenset({"upstream_unavailable"})
_INVALID: Final = frozenset({"upstream_invalid_response"})
_CUT_OFF: Final = frozenset(
    {"upstream_stream_interrupted", "upstream_invalid_response", "upstream_unavailable"}
)
# A relay hands on the upstream's own error object, which may have no code.
_LIMITED: Final = frozenset({"rate_limit_exceeded", "status 429"})
_SILENT: Final = frozenset(
    {
        "upstream_headers_timeout",
        "upstream_first_token_timeout",
        "upstream_idle_timeout",
        "upstream_total_timeout",
    }
)

FAULTS: Final = (
    # No connection, or none that is of use.
    Fault("connection refused", _UNAVAILABLE, place="refusing"),
    Fault("name not found (DNS)", _UNAVAILABLE, place="unresolvable"),
    Fault("connecting hangs", frozenset({"upstream_connect_timeout"}), place="black hole"),
    Fault("TLS handshake hangs", frozenset({"upstream_connect_timeout"}), place="silent TLS"),
    Fault("TLS certificate is not trusted", _UNAVAILABLE, place="untrusted TLS"),
    Fault("connected, then silence", frozenset({"upstream_headers_timeout"}), place="silent"),
    Fault("half-closed at once", _UNAVAILABLE, place="half-closing"),
    # Connections that end.
    Fault("closed without an answer", _UNAVAILABLE, _same(Disconnecting())),
    Fault("reset without an answer", _UNAVAILABLE, _same(Disconnecting() + Cut(0, reset=True))),
    Fault("closed inside the head", _CUT_OFF, _same(Answer() + Cut(40, within="response"))),
    Fault("closed inside the reply", _CUT_OFF, _middle(Cut), begins_streams=True),
    Fault(
        "reset inside the reply",
        _CUT_OFF,
        _middle(lambda place: Cut(place, reset=True)),
        begins_streams=True,
    ),
    Fault(
        "reply ends early, politely",
        _CUT_OFF,
        lambda dialect, stream: (
            Answer() + Cut(_MIDDLE[dialect], clean=True)
            if stream
            else Json(200, {}) + WithHeaders({"content-type": "application/json"})
        ),
        begins_streams=True,
    ),
    Fault("answers, then closes the connection", script=_same(Answer() + CloseIdle()), is_harmless=True),
    Fault(
        "closes an idle connection as the next request comes",
        script=_same(Answer() + CloseIdle("on_next_request")),
        is_harmless=True,
    ),
    Fault(
        "resets an idle connection as the next request comes",
        script=_same(Answer() + CloseIdle("on_next_request", reset=True)),
        is_harmless=True,
    ),
    # Slowness.
    Fault("silence before the head", frozenset({"upstream_headers_timeout"}), _same(Answer() + Stall())),
    Fault("silence behind the head", _SILENT, _same(Answer() + Stall("body"))),
    Fault("silence inside the reply", _SILENT, _middle(Stall), begins_streams=True),
    Fault("a slow reply", script=_same(Answer() + SlowDrip(256, 0.005)), is_harmless=True),
    # Nonsense.
    Fault("garbage instead of HTTP", _INVALID, _same(Garbage())),
    Fault("head of 200 kB", _INVALID, _same(Answer() + WithHeaders({"x-big": "a" * 200_000}))),
    Fault("web page with status 200", _INVALID, _same(Html(200))),
    Fault("web page with status 502", _UNAVAILABLE, _same(Html(502))),
    Fault("empty reply", _INVALID | _CUT_OFF, _same(Reply(200))),
    Fault("a reply that is JSON, and not a reply", _INVALID | _CUT_OFF, _same(Json(200, []))),
    Fault("redirect to itself", _INVALID | _UNAVAILABLE | {"status 500"}, _same(Redirect("/"))),
    Fault("interim answers first", script=_same(Answer() + Interim(103, times=3)), is_harmless=True),
    # Refusals.
    Fault("429 to all", _LIMITED, _status(429)),
    Fault(
        "429 to all, come back in a minute",
        _LIMITED,
        _status(429, {"retry-after": "60"}),
    ),
    Fault("529 to all", frozenset({"overloaded"}), _status(529)),
    Fault("503 to all", frozenset({"overloaded", "status 503", "status 500"}), _status(503)),
    Fault("500 to all", frozenset({"status 500"}), _status(500)),
    Fault("408 to all", frozenset({"upstream_timeout", "status 408", "status 500"}), _status(408)),
    Fault("409 to all", frozenset({"conflict", "status 409", "status 500"}), _status(409)),
    Fault("401 to all", frozenset({"upstream_authentication_error"}), _status(401)),
    Fault("error event instead of output", frozenset({"overloaded", "status 500"}), _error_event),
    # Once in a while: what a retry is for.
    Fault("one in 20: closed without an answer", script=_same(Disconnecting()), share=20),
    Fault("one in 20: 500", script=_status(500), share=20),
    Fault("one in 20: 503", script=_status(503), share=20),
    Fault("one in 20: 529", script=_status(529), share=20),
    Fault("one in 20: 429, come back at once", script=_status(429, {"retry-after": "0"}), share=20),
    Fault("one in 20: 409", script=_status(409), share=20),
    Fault("one in 20: closed inside the head", script=_same(Answer() + Cut(40, within="response")), share=20),
)
