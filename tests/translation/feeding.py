"""How the tests feed streams, and read what comes out with none of our own code."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from api.services.translation.streams import StreamTranslator


def pieces_of(data: bytes, size: int) -> list[bytes]:
    """The bytes in pieces of one size; 0 leaves them whole."""
    if size == 0:
        return [data]
    return [data[start : start + size] for start in range(0, len(data), size)]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The bytes cut at these places, wherever they lie."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def feed_all(stream: StreamTranslator, pieces: Iterable[bytes]) -> bytes:
    output = [stream.feed(piece) for piece in pieces]
    return b"".join(output) + stream.close()


def run_stream(stream: StreamTranslator, data: bytes, size: int = 0) -> bytes:
    return feed_all(stream, pieces_of(data, size))


def read_chunks(output: bytes) -> list[Any]:
    """What a client reads: the JSON of every data line; `[DONE]` stays text."""
    chunks = []
    for frame in output.decode().split("\n\n"):
        for line in frame.split("\n"):
            if line.startswith("data: "):
                text = line.removeprefix("data: ")
                chunks.append(text if text == "[DONE]" else json.loads(text))
    return chunks
