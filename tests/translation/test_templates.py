"""Frames that are translated unread come out as if they had been read.

Fed byte by byte no frame is ever whole, so all of them are read: that is the reference.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.services.translation.dialects.anthropic_messages.stream import StreamDecoder
from api.services.translation.dialects.openai_chat.relay import StreamRelay
from api.services.translation.dialects.openai_chat.replies import ReplyContext
from api.services.translation.dialects.openai_chat.stream import StreamEncoder
from api.services.translation.streams import StreamTranslator, TranslatedStream
from api.services.translation.templates import FrameTemplate, learn_template

TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(
        ['say "hi"', "back\\slash", "a/b", "\n\n", "\u2028", "data: [DONE]", '"},', "é", "\x01"]
    ),
    min_size=1,
    max_size=12,
)


def sse(value: Any, event: str = "", *, ascii_only: bool = False, padding: str = "") -> bytes:
    text = json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"))
    text = text[:-1] + padding + text[-1]
    return (f"event: {event}\n" if event else "").encode() + f"data: {text}\n\n".encode()


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [choice], **more}


def fed(make: Callable[[], StreamTranslator], pieces: list[bytes]) -> tuple[bytes, Any]:
    stream = make()
    out = b"".join(stream.feed(piece) for piece in pieces) + stream.close()
    assert stream.failure is None
    return out, (stream.usage, stream.finish, stream.upstream_model)


def assert_same_however_it_is_cut(make: Callable[[], StreamTranslator], frames: list[bytes]) -> None:
    whole = b"".join(frames)
    read, facts = fed(make, [whole[i : i + 1] for i in range(len(whole))])
    assert fed(make, frames) == (read, facts)
    assert fed(make, [*frames[:4], b"".join(frames[4:])]) == (read, facts)
    assert fed(make, [b"".join(frames[i : i + 2]) for i in range(0, len(frames), 2)]) == (read, facts)
    for end in (sum(map(len, frames[:i])) for i in range(3, len(frames), 3)):
        for cut in (end - 1, end + 9):
            assert fed(make, [whole[:cut], whole[cut:]]) == (read, facts)


@settings(deadline=None)
@given(texts=TEXTS, ascii_only=st.booleans(), asked=st.booleans(), model=st.sampled_from(["fast", "gpt-4o"]))
@pytest.mark.parametrize("more", [{}, {"usage": None}, {"usage": None, "obfuscation": True}, {"choices": 2}])
def test_a_relay(texts: list[str], ascii_only: bool, asked: bool, model: str, more: dict[str, Any]) -> None:
    choices = more.get("choices", 1)
    extra = {name: value for name, value in more.items() if name == "usage"}
    values = [chunk({"role": "assistant", "content": ""}, index=i, **extra) for i in range(choices)]
    for number, text in enumerate(texts):
        names = ("content", "content", "reasoning_content") if number % 5 else ("refusal",)
        value = chunk({names[number % len(names)]: text}, index=number % choices, **extra)
        if more.get("obfuscation"):
            value["obfuscation"] = "x\u00e9"[: number % 3] + "pad" * (number % 4)
        values.append(value)
    values += [chunk({}, "stop", index=i, **extra) for i in range(choices)]
    if extra:
        values.append({**chunk({}), "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}})
    frames = [sse(value, ascii_only=ascii_only) for value in values] + [b"data: [DONE]\n\n"]
    assert_same_however_it_is_cut(lambda: StreamRelay(model, asked, "gpt-4o-mini"), frames)


@settings(deadline=None)
@given(texts=TEXTS, ascii_only=st.booleans(), padding=st.sampled_from(["", " ", "      "]))
@pytest.mark.parametrize("kind", ["text", "thinking", "tool_use"])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_translation(texts: list[str], ascii_only: bool, padding: str, kind: str, legacy: bool) -> None:
    delta, name = {
        "text": ("text_delta", "text"),
        "thinking": ("thinking_delta", "thinking"),
        "tool_use": ("input_json_delta", "partial_json"),
    }[kind]
    start = {"type": "message_start", "message": {"id": "m", "model": "claude", "usage": {"input_tokens": 2}}}
    frames = [sse(start, "message_start")]
    for index, block in enumerate(({"type": "text", "text": ""}, {"type": kind, "id": "t", "name": "f"})):
        opened = {"type": "content_block_start", "index": index, "content_block": block}
        frames.append(sse(opened, "content_block_start"))
        for text in texts:
            said = {"type": delta, name: text} if index else {"type": "text_delta", "text": text}
            wire = {"type": "content_block_delta", "index": index, "delta": said}
            frames.append(sse(wire, "content_block_delta", ascii_only=ascii_only, padding=padding))
        frames.append(sse({"type": "content_block_stop", "index": index}, "content_block_stop"))
    ending = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}
    frames += [sse(ending, "message_delta"), sse({"type": "message_stop"}, "message_stop")]
    context = ReplyContext("claude-x", 1, uses_legacy_functions=legacy)
    assert_same_however_it_is_cut(
        lambda: TranslatedStream(StreamDecoder(holds_pauses=True), StreamEncoder(context)), frames
    )


def relay_frames(count: int) -> list[bytes]:
    return [sse(chunk({"content": f"word {number}"}, usage=None)) for number in range(count)]


def translation_frames(count: int) -> list[bytes]:
    opened = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"word {number}"}}
        for number in range(count)
    ]
    return [
        sse({"type": "message_start", "message": {"id": "m", "model": "claude"}}, "message_start"),
        sse(opened, "content_block_start"),
        *(sse(delta, "content_block_delta") for delta in deltas),
    ]


@pytest.mark.parametrize(
    ("make", "frames"),
    [
        (lambda: StreamRelay("fast", False, "gpt-4o"), relay_frames(400)),
        (
            lambda: TranslatedStream(StreamDecoder(), StreamEncoder(ReplyContext("m", 1))),
            translation_frames(400),
        ),
    ],
)
def test_a_cut_frame_is_read_and_those_behind_it_are_not(
    make: Callable[[], StreamTranslator], frames: list[bytes]
) -> None:
    """A stream that is faster than its client comes in full buffers, each of which ends within a frame."""
    whole = b"".join(frames)
    cuts = [whole[i : i + 5000] for i in range(0, len(whole), 5000)]
    stream = make()
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for piece in cuts:
            stream.feed(piece)
    finally:
        sys.setprofile(before)
    # A frame that is read takes some thirty calls, one that is not about ten.
    assert calls < 400 * 20


def test_what_was_passed_over_is_in_the_content_of_a_pause() -> None:
    decoder = StreamDecoder(holds_pauses=True)
    stream = TranslatedStream(decoder, StreamEncoder(ReplyContext("m", 1)))
    frames = [
        sse({"type": "message_start", "message": {"id": "m", "model": "claude"}}, "message_start"),
        sse({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        *(
            sse(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}},
                "content_block_delta",
            )
            for word in ("one ", 'two "', "three\n", "four")
        ),
        sse({"type": "content_block_stop", "index": 0}, "content_block_stop"),
        sse({"type": "message_delta", "delta": {"stop_reason": "pause_turn"}}, "message_delta"),
        sse({"type": "message_stop"}, "message_stop"),
    ]
    for frame in frames:
        stream.feed(frame)
    assert stream.paused_content == [{"type": "text", "text": 'one two "three\nfour'}]


RAW = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}'


def fill(template: FrameTemplate | None, data: bytes) -> tuple[int, list[bytes]]:
    assert template is not None
    pieces: list[bytes] = []
    return template.fill(data, pieces), pieces


def test_a_template_takes_what_is_alike_and_stops_at_what_is_not() -> None:
    template = learn_template(RAW, RAW.replace(b"choices", b"picks") + b"\n\n")
    like = RAW.replace(b'"a"', b'"other words"') + b"\n\n"
    assert fill(template, like + like + b"data: [DONE]\n\n") == (
        2 * len(like),
        [like.replace(b"choices", b"picks")] * 2,
    )


@pytest.mark.parametrize(
    "text",
    [b"", b"\\u00e9", b"a\\/b", b"\\", b'"', b'x","finish_reason":"stop","y":"', b"\xff", b"a\nb", b"\x00"],
)
def test_a_text_that_must_be_read_is_left(text: bytes) -> None:
    template = learn_template(RAW, RAW + b"\n\n")
    assert fill(template, RAW.replace(b'"a"', b'"%b"' % text) + b"\n\n") == (0, [])


@pytest.mark.parametrize(
    "raw",
    [
        RAW.replace(b'"a"', b"null"),
        RAW.replace(b'"a"', b'""'),
        RAW.replace(b'"a"', b'"a","x":{"content":"b"}'),
        RAW.replace(b'"content"', b'"text"'),
    ],
)
def test_nothing_is_learned_from_what_has_no_single_text(raw: bytes) -> None:
    assert learn_template(raw, raw + b"\n\n") is None


def test_a_stream_is_read_on_after_its_templates_were_used() -> None:
    """An error, a finish and a model's own usage behind a row of like frames are seen."""
    stream = StreamRelay("gpt-4o", True, "gpt-4o")
    for word in ("a", "b", "c"):
        stream.feed(sse(chunk({"content": word}, usage=None)))
    both = sse(chunk({"content": "d"}, usage=None)) + sse(chunk({"content": "e"}, "length", usage=None))
    assert stream.feed(both) == both
    assert stream.finish is not None
    assert stream.finish.value == "length"
    assert stream.feed(sse({"error": {"message": "no more"}})) == b""
    assert stream.failure is not None
