"""A stream on its way to the client: upstream bytes in, client bytes out, and nothing else.

Owns the contract that every pair of dialects fulfils, and the translating kind of it,
which joins one dialect's decoder to another's encoder. Reads no socket and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from api.services.translation.conversation import FinishReason, JsonObject
from api.services.translation.events import (
    Event,
    ReplyFailed,
    ReplyFinished,
    ReplyStarted,
    is_output,
)
from api.services.translation.failures import Failure
from api.services.translation.sse import frame_end
from api.services.translation.templates import FrameTemplate
from api.services.translation.usage import Usage


class StreamTranslator(Protocol):
    """One stream. Any cut of the upstream's bytes gives the same client bytes.

    Until `has_output`, the caller sends nothing, not even a status, so that another
    upstream may still answer. A `failure` is not written: the caller raises it as an HTTP
    error while nothing has been sent, and afterwards writes it as the last line of the
    stream. After `failure` or `is_finished`, `feed` and `close` return nothing.
    """

    @property
    def has_output(self) -> bool: ...
    @property
    def is_finished(self) -> bool: ...
    @property
    def failure(self) -> Failure | None: ...
    @property
    def usage(self) -> Usage | None:
        """What has been counted until now, of use also when the client goes away; None: nothing."""

    @property
    def upstream_model(self) -> str | None: ...
    @property
    def finish(self) -> FinishReason | None: ...

    @property
    def paused_content(self) -> list[JsonObject] | None:
        """What to send back to an upstream that paused in mid-reply; None: it did not."""

    def resume(self) -> None:
        """The bytes that follow are of the answer to `paused_content`, and continue the reply."""

    def end_pause(self) -> bytes:
        """Nobody continues a paused reply: what there is of it is the whole."""

    def feed(self, data: bytes) -> bytes: ...

    def feed_unstreamed(self, body: bytes) -> bytes:
        """The upstream answered with one JSON body instead of a stream: the client gets a stream of it."""

    def close(self) -> bytes:
        """The upstream's bytes have ended. An unfinished stream has failed, also when it ended politely."""


@dataclass(frozen=True, slots=True)
class PlainFrames:
    """What surrounds the text in frames that say `event` and nothing else; spaces may stand before `last`."""

    before: bytes
    after: bytes
    last: bytes
    event: type[Event]
    index: int


class EventDecoder(Protocol):
    """The reading half: one dialect's bytes to events."""

    @property
    def usage(self) -> Usage | None: ...
    @property
    def paused_content(self) -> list[JsonObject] | None: ...
    @property
    def plain_frames(self) -> PlainFrames | None:
        """Frames that may be translated without being read; None: the next must be read."""

    def pass_over(self, texts: list[bytes]) -> None:
        """Take note of the texts, in JSON's writing, of `plain_frames` that were translated unread."""

    def feed(self, data: bytes) -> list[Event]: ...
    def close(self) -> list[Event]: ...
    def decode_unstreamed(self, body: bytes) -> list[Event]: ...
    def resume(self) -> None: ...
    def end_pause(self) -> list[Event]: ...


class EventEncoder(Protocol):
    """The writing half: events to one dialect's bytes. It writes no failure."""

    def encode(self, events: list[Event]) -> bytes: ...

    def around(self, event: type[Event], index: int) -> tuple[bytes, bytes] | None:
        """What it writes before and after the text of such an event, once the reply has begun."""


class TranslatedStream:
    """A stream between two dialects."""

    def __init__(self, decoder: EventDecoder, encoder: EventEncoder) -> None:
        self.has_output = False
        self.is_finished = False
        self.failure: Failure | None = None
        self.upstream_model: str | None = None
        self.finish: FinishReason | None = None
        self.paused_content: list[JsonObject] | None = None
        self._decoder = decoder
        self._encoder = encoder
        self._template: FrameTemplate | None = None

    @property
    def usage(self) -> Usage | None:
        return self._decoder.usage

    def resume(self) -> None:
        self.paused_content = None
        self._decoder.resume()

    def end_pause(self) -> bytes:
        self.paused_content = None
        return self._pass_on(self._decoder.end_pause())

    def feed(self, data: bytes) -> bytes:
        if self.is_finished or self.failure is not None:
            return b""
        texts: list[bytes] = []
        if self._template is not None:
            out = self._template.fill_one(data, texts)
            if out is not None:
                self._decoder.pass_over(texts)
                return out
        pieces: list[bytes] = []
        place = 0
        while place < len(data) and not self.is_finished and self.failure is None:
            if self._template is not None:
                place = self._template.fill(data, pieces, texts, place=place)
                if texts:
                    self._decoder.pass_over(texts)
                    texts = []
            # Whatever is not alike goes the long way by itself: what follows it may be alike again.
            end = frame_end(data, place)
            events = self._decoder.feed(data[place:end])
            if events:
                pieces.append(self._pass_on(events))
            if self.has_output and place < end:
                self._template = self._make_template()
            place = end
        self.paused_content = self._decoder.paused_content
        return b"".join(pieces)

    def feed_unstreamed(self, body: bytes) -> bytes:
        if self.is_finished or self.failure is not None:
            return b""
        out = self._pass_on(self._decoder.decode_unstreamed(body))
        self.paused_content = self._decoder.paused_content
        return out

    def close(self) -> bytes:
        if self.is_finished or self.failure is not None:
            return b""
        return self._pass_on(self._decoder.close())

    def _pass_on(self, events: list[Event]) -> bytes:
        if not self.has_output:
            self._look_for_start(events)
        last = events[-1] if events else None
        if isinstance(last, ReplyFailed):
            self.failure = last.failure
        elif isinstance(last, ReplyFinished):
            self.is_finished = True
            self.finish = last.reason
        return self._encoder.encode(events)

    def _make_template(self) -> FrameTemplate | None:
        frames = self._decoder.plain_frames
        around = self._encoder.around(frames.event, frames.index) if frames is not None else None
        if frames is None or around is None:
            return None
        return FrameTemplate(frames.before, frames.after, *around, last=frames.last)

    def _look_for_start(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, ReplyStarted):
                self.upstream_model = event.upstream_model or None
            elif is_output(event):
                self.has_output = True
                return
