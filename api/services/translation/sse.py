"""Server-sent events, from bytes to frames and back.

Owns where a frame ends and which of its lines are data. Knows nothing of what the data
say: JSON, `[DONE]` and event names belong to the dialects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from api.services.translation.failures import Failure, FailureKind

DONE: Final = b"data: [DONE]\n\n"
"""The end of an OpenAI stream. The empty line belongs to it: openai-python drops a last event without one."""

MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""No real event comes near it; it stops an upstream that never ends its line from filling our memory."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


# Not frozen: one is made per chunk of every stream, and freezing triples what that costs.
@dataclass(slots=True)
class Frame:
    """One event of the stream, or a block of comments (then `data` is None).

    `raw` is the frame as it came, without the empty line that ended it and with every
    line end turned into LF, so that it does not depend on how the bytes were cut.
    """

    raw: bytes
    data: bytes | None
    event: str | None = None

    @property
    def is_comment(self) -> bool:
        return self.data is None and self.event is None


class FrameSplitter:
    """Cuts a byte stream into frames; any cut of the same bytes gives the same frames.

    Lines end at LF, CRLF or CR and nowhere else: U+2028 and its like stand unescaped in
    JSON strings. When a frame outgrows the limit, `failure` is set and all that follows
    is ignored; the frames before it have been handed out.
    """

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self.failure: Failure | None = None
        self.is_between_frames = True
        """Nothing of an unfinished frame is held, so whole frames may go around this splitter."""
        self._limit = max_frame_bytes
        self._pending = bytearray()  # the unfinished frame; only what is new is searched for its end
        self._skips_line_feed = False
        self._is_first = True

    def feed(self, data: bytes) -> list[Frame]:
        if not data or self.failure is not None:
            return []
        if self._skips_line_feed or b"\r" in data:
            data = self._unify_line_ends(data)
        if self._pending:
            end, after = self._find_end(data)
            if end < 0:
                self._keep(data)
                return []
            first = bytes(self._pending) + data[:end]
            self._pending.clear()
            *blocks, rest = data[after:].split(b"\n\n")
            blocks.insert(0, first)
        else:
            *blocks, rest = data.split(b"\n\n")
        frames = self._parse(blocks) if blocks else []
        if rest and self.failure is None:
            self._keep(rest.lstrip(b"\n"))
        self.is_between_frames = not self._pending and not self._skips_line_feed
        return frames

    def close(self) -> list[Frame]:
        """The stream has ended: what is left of it, as a frame. It may have been cut anywhere."""
        block = bytes(self._pending)
        self._pending.clear()
        return self._parse([block])

    def _unify_line_ends(self, data: bytes) -> bytes:
        # A CR ends its line at once; the LF of a CRLF is swallowed whenever it comes.
        if self._skips_line_feed and data.startswith(b"\n"):
            data = data[1:]
        self._skips_line_feed = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _find_end(self, data: bytes) -> tuple[int, int]:
        """Where in `data` the unfinished frame ends (-1: not in it), and where the next may begin."""
        if self._pending.endswith(b"\n") and data.startswith(b"\n"):
            return 0, 1
        end = data.find(b"\n\n")
        return end, end + 2

    def _keep(self, data: bytes) -> None:
        self._pending += data
        # The line end that may turn out to be the frame's last is not part of it.
        if len(self._pending) - self._pending.endswith(b"\n") > self._limit:
            self._overflow()

    def _overflow(self) -> None:
        self._pending.clear()
        self.failure = Failure(
            FailureKind.UPSTREAM_INVALID_RESPONSE, "The upstream sent an event that is too large."
        )

    def _parse(self, blocks: list[bytes]) -> list[Frame]:
        frames = []
        for block in blocks:
            if block[:1] == b"\n" or block[-1:] == b"\n":
                block = block.strip(b"\n")
            if len(block) > self._limit:
                self._overflow()
                break
            if self._is_first and block:
                self._is_first = False
                block = block.removeprefix(_BYTE_ORDER_MARK)
            if block:
                frames.append(_parse_block(block))
        return frames


def frame_end(data: bytes, place: int) -> int:
    """Where the frame at `place` ends, as far as an empty line shows it; else the end of `data`."""
    end = data.find(b"\n\n", place)
    return len(data) if end < 0 else end + 2


def _parse_block(block: bytes) -> Frame:
    if block[:5] == b"data:" and b"\n" not in block:
        return Frame(block, block[6:] if block[5:6] == b" " else block[5:])
    data: list[bytes] = []
    event: str | None = None
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value.decode("utf-8", "replace")
    if not data:
        return Frame(block, None, event)
    return Frame(block, data[0] if len(data) == 1 else b"\n".join(data), event)


def data_frame(json_text: bytes) -> bytes:
    """One event. `json_text` is a single line, as our JSON writer makes it."""
    return b"data: " + json_text + b"\n\n"


def replace_data(frame: Frame, json_text: bytes) -> bytes:
    """The frame with other data; its comments, name and id stay where they were."""
    if b"\n" not in frame.raw:
        return data_frame(json_text)
    lines = []
    is_written = False
    for line in frame.raw.split(b"\n"):
        if line.partition(b":")[0] != b"data":
            lines.append(line)
        elif not is_written:
            lines.append(b"data: " + json_text)
            is_written = True
    return b"\n".join(lines) + b"\n\n"


def comment(text: str) -> bytes:
    """A line that clients ignore: it keeps the connection alive. Line ends in `text` become spaces."""
    return b": " + " ".join(text.splitlines()).encode("utf-8", "replace") + b"\n\n"
