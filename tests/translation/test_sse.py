from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services.translation.failures import FailureKind
from api.services.translation.sse import DONE, Frame, FrameSplitter, comment, data_frame, replace_data
from tests.translation.feeding import cut, pieces_of


def split(pieces: list[bytes], limit: int = 10_000) -> tuple[list[Frame], bool]:
    splitter = FrameSplitter(limit)
    frames = [frame for piece in pieces for frame in splitter.feed(piece)]
    frames += splitter.close()
    return frames, splitter.failure is not None


def data_of(text: str) -> list[str | None]:
    return [None if frame.data is None else frame.data.decode() for frame in split([text.encode()])[0]]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_line_end_ends_a_line(line_end: str) -> None:
    text = "event: a\ndata: 1\n\n: hi\n\ndata: 2\n\n\n\ndata:3\ndata:  4\nid: 7\nretry: 1\n\n".replace(
        "\n", line_end
    )
    frames, _ = split([text.encode()])
    assert [(frame.event, frame.data) for frame in frames] == [
        ("a", b"1"),
        (None, None),
        (None, b"2"),
        (None, b"3\n 4"),
    ]
    assert [frame.is_comment for frame in frames] == [False, True, False, False]
    assert b"\r" not in b"".join(frame.raw for frame in frames)


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_other_line_separators_are_text(character: str) -> None:
    assert data_of(f"data: a{character}b\n\n") == [f"a{character}b"]


def test_byte_order_mark_is_not_part_of_the_first_line() -> None:
    assert data_of("\ufeffdata: 1\n\ndata: \ufeff2\n\n") == ["1", "\ufeff2"]


def test_a_last_frame_without_its_empty_line_comes_at_the_close() -> None:
    splitter = FrameSplitter()
    assert splitter.feed(b"data: 1\n") == []
    assert [frame.data for frame in splitter.close()] == [b"1"]
    assert splitter.close() == []


def test_a_line_without_a_colon_is_a_field_without_a_value() -> None:
    assert data_of("data\n\n") == [""]
    assert data_of("datax: 1\n\n") == [None]


@given(
    st.lists(
        st.sampled_from(
            [
                b"data: ",
                b"data:",
                b"event: e",
                b": c",
                b"\n",
                b"\r",
                b"\r\n",
                b"\n\n",
                "é😀\u2028".encode(),
                b"{}",
            ]
        ),
        max_size=30,
    ).map(b"".join),
    st.lists(st.integers(0, 1000), max_size=8),
)
def test_any_cut_gives_the_same_frames(data: bytes, places: list[int]) -> None:
    whole = split([data], limit=20)
    assert split(cut(data, places), limit=20) == whole
    assert split(pieces_of(data, 1), limit=20) == whole


@given(st.binary(max_size=200))
def test_any_bytes_are_split(data: bytes) -> None:
    split([data])


def test_a_frame_of_the_limit_passes_and_one_more_byte_does_not() -> None:
    fits, too_long = b"data: " + b"x" * 14, b"data: " + b"x" * 15
    for size in (0, 1, 3):
        frames, has_failed = split(pieces_of(fits + b"\n\n", size), limit=20)
        assert (len(frames), has_failed) == (1, False)
        frames, has_failed = split(pieces_of(b"data: 1\n\n" + too_long + b"\n\ndata: 2\n\n", size), limit=20)
        assert ([frame.data for frame in frames], has_failed) == ([b"1"], True)


def test_an_endless_line_is_given_up() -> None:
    splitter = FrameSplitter(1000)
    for _ in range(2000):
        splitter.feed(b"x")
    assert splitter.failure is not None
    assert splitter.failure.kind is FailureKind.UPSTREAM_INVALID_RESPONSE
    assert splitter.feed(b"\n\ndata: 1\n\n") == []


def test_a_large_frame_in_small_pieces_takes_linear_time() -> None:
    def seconds_for(size: int) -> float:
        splitter = FrameSplitter()
        piece = b"x" * 100
        began = time.process_time()
        splitter.feed(b"data: ")
        for _ in range(size // len(piece)):
            splitter.feed(piece)
        (frame,) = splitter.feed(b"\n\n")
        assert frame.data is not None
        assert len(frame.data) == size
        return time.process_time() - began

    seconds_for(100_000)
    small, large = seconds_for(1_000_000), seconds_for(10_000_000)
    # Ten times the bytes; quadratic work would make it a hundred.
    assert large < 40 * small + 0.1


def test_a_frame_with_other_data_keeps_its_other_lines() -> None:
    (frame,) = FrameSplitter().feed(b": note\nevent: e\ndata: 1\ndata: 2\nid: 7\n\n")
    assert replace_data(frame, b"{}") == b": note\nevent: e\ndata: {}\nid: 7\n\n"
    (frame,) = FrameSplitter().feed(b"data:1\n\n")
    assert replace_data(frame, b"{}") == b"data: {}\n\n"


def test_what_is_written_reads_back() -> None:
    frames, _ = split([data_frame(b'{"a":1}') + comment("keep\nalive\u2028!") + DONE])
    assert [frame.data for frame in frames] == [b'{"a":1}', None, b"[DONE]"]
    assert frames[1].raw == b": keep alive !"
