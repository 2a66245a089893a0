"""Frames of a stream that differ in one text alone, translated without reading them as JSON. PURE.

A reply of a thousand tokens is a thousand times the same frame with another word in it.
Once a frame has been read and written the long way, its like takes three comparisons.
What a template lets through comes out byte for byte as the long way would write it, so
that it does not matter which frames meet one: texts with escapes that writers of JSON
disagree about, and whatever else is not alike, go the long way.
"""

from __future__ import annotations

import re
from typing import Final

from api.services.translation.json_text import is_utf8

_TEXT: Final = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\["\\bfnrt])++')
_ANY_TEXT: Final = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\["\\bfnrt])*+')
_SPACES: Final = re.compile(rb" *+")


class FrameTemplate:
    """What stands around the text of a frame, and what around it where it goes.

    `before`, then the text, then `after`. Where frames are padded, to hide how long their
    texts are, `last` comes behind the padding: a text of its own, which is passed on in
    front of `out_last`, or spaces, which are dropped.
    """

    __slots__ = ("_after", "_before", "_last", "_out_after", "_out_before", "_out_last", "_padding", "_tail")

    def __init__(
        self,
        before: bytes,
        after: bytes,
        out_before: bytes,
        out_after: bytes,
        *,
        last: bytes = b"",
        out_last: bytes | None = None,
    ) -> None:
        self._before = before
        self._after = after
        self._last = last
        self._out_before = out_before
        self._out_after = out_after
        self._out_last = out_last
        self._padding = None if not last else _SPACES if out_last is None else _ANY_TEXT
        self._tail = after + last if out_last is None else None

    def fill_one(self, data: bytes, texts: list[bytes] | None = None) -> bytes | None:
        """`fill` for what comes most: one frame that is alike, and nothing else. None: it is not that."""
        tail = self._tail
        if tail is None or not data.startswith(self._before) or not data.endswith(tail):
            return None
        text = data[len(self._before) : -len(tail)]
        # There is no end of a frame in it, so it is one.
        if _TEXT.fullmatch(text) is None or not (text.isascii() or is_utf8(text)):
            return None
        if texts is not None:
            texts.append(text)
        return self._out_before + text + self._out_after

    def fill(
        self, data: bytes, pieces: list[bytes], texts: list[bytes] | None = None, *, place: int = 0
    ) -> int:
        """Translate the whole frames in `data` from `place` on that are alike; returns where they end.

        What goes out is added to `pieces`, and each text, as it stands in JSON, to `texts`.
        """
        before, after, padding = self._before, self._after, self._padding
        while data.startswith(before, place):
            start = place + len(before)
            found = _TEXT.match(data, start)
            if found is None:
                break
            end = found.end()
            if not data.startswith(after, end):
                break
            text = data[start:end]
            if not text.isascii() and not is_utf8(text):
                break
            following = end + len(after)
            if padding is None:
                pieces.append(self._out_before + text + self._out_after)
            else:
                padded = padding.match(data, following)
                assert padded is not None, "the pattern matches nothing, too"
                if not data.startswith(self._last, padded.end()):
                    break
                following = padded.end() + len(self._last)
                out = self._out_before + text + self._out_after
                if self._out_last is not None:
                    if not padded[0].isascii():
                        break
                    out += padded[0] + self._out_last
                pieces.append(out)
            if texts is not None:
                texts.append(text)
            place = following
        return place


_NAMES: Final = (b'"content":"', b'"arguments":"', b'"reasoning_content":"', b'"reasoning":"')
_OBFUSCATION: Final = b'"obfuscation":"'


def learn_template(raw: bytes, out: bytes) -> FrameTemplate | None:
    """The template of a chat completion chunk's like: `raw` as it came, `out` what became of it.

    `raw` is one line, without its end. Only a chunk that says nothing but some text
    teaches anything: in one whose other members matter, they would go unread in its like.
    """
    for name in _NAMES:
        # Within a string the quotes would be escaped, so this is a member.
        if raw.count(name) != 1 or out.count(name) != 1:
            continue
        start, out_start = raw.index(name) + len(name), out.index(name) + len(name)
        found = _TEXT.match(raw, start)
        if found is None or not out.startswith(found[0] + b'"', out_start):
            continue
        after, out_after = raw[found.end() :] + b"\n\n", out[out_start + len(found[0]) :]
        if not after.startswith(b'"'):
            continue
        last, out_last = b"", None
        if after.count(_OBFUSCATION) == 1 and out_after.count(_OBFUSCATION) == 1:
            after, padded = _split_behind(after, _OBFUSCATION)
            out_after, out_padded = _split_behind(out_after, _OBFUSCATION)
            padding = _ANY_TEXT.match(padded)
            assert padding is not None, "the pattern matches nothing, too"
            if not out_padded.startswith(padding[0]):
                return None
            last, out_last = padded[padding.end() :], out_padded[padding.end() :]
        return FrameTemplate(raw[:start], after, out[:out_start], out_after, last=last, out_last=out_last)
    return None


def _split_behind(text: bytes, mark: bytes) -> tuple[bytes, bytes]:
    end = text.index(mark) + len(mark)
    return text[:end], text[end:]
