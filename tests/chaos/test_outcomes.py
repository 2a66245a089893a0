"""The judge finds what is wrong: each way of being wrong, fed to it once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.client import Client, End, Seen
from tests.chaos.outcomes import Outcome, judge

MODEL, WORD, ID = "m", "w1", "chaos-1"
HEADERS = {"x-request-id": ID, "x-patchbay-attempts": "2"}


def _judge(body: bytes, *, stream: bool, status: int = 200, end: End = End.WHOLE) -> Outcome:
    seen = Seen(end, status, dict(HEADERS), body)
    return judge(seen, request_id=ID, word=WORD, model=MODEL, stream=stream).outcome


def _reply(**changes: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion",
        "model": MODEL,
        "choices": [{"message": {"content": f"You said: {WORD}"}, "finish_reason": "stop"}],
        "usage": {"total_tokens": 5},
        **changes,
    }


def _chunk(text: str = "", finish: str | None = None, **changes: Any) -> bytes:
    chunk = {
        "id": "1",
        "object": "chat.completion.chunk",
        "model": MODEL,
        "choices": [{"delta": {"content": text}, "finish_reason": finish}],
        **changes,
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


ERROR = {"error": {"message": "x", "type": "server_error", "param": None, "code": "overloaded"}}
ERROR_FRAME = b"data: " + json.dumps(ERROR).encode() + b"\n\n"
DONE = b"data: [DONE]\n\n"
WHOLE = _chunk("You said:") + _chunk(" w1") + _chunk(finish="stop") + DONE


def test_well_formed_outcomes_are_told_apart() -> None:
    assert _judge(json.dumps(_reply()).encode(), stream=False) is Outcome.ANSWERED
    assert _judge(b": keep-alive\n\n" + WHOLE, stream=True) is Outcome.ANSWERED
    assert _judge(json.dumps(ERROR).encode(), stream=False, status=503) is Outcome.FAILED
    assert _judge(json.dumps(ERROR).encode(), stream=True, status=503) is Outcome.FAILED
    assert _judge(_chunk("You said:") + ERROR_FRAME, stream=True) is Outcome.BROKEN_OFF
    assert _judge(b"", stream=True, end=End.CUT) is Outcome.CUT
    assert _judge(b"", stream=True, end=End.NO_CONNECTION) is Outcome.NOT_TAKEN


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        json.dumps(_reply(model="other")).encode(),
        json.dumps(_reply(usage=None)).encode(),
        json.dumps(_reply(choices=[])).encode(),
        json.dumps(
            _reply(choices=[{"message": {"content": "You said: w2"}, "finish_reason": "stop"}])
        ).encode(),
        json.dumps(ERROR).encode(),
    ],
)
def test_a_wrong_reply_is_wrong(body: bytes) -> None:
    assert _judge(body, stream=False) is Outcome.WRONG


@pytest.mark.parametrize(
    "body",
    [
        b"",
        WHOLE[:-1],
        WHOLE.removesuffix(DONE),
        WHOLE + DONE,
        WHOLE + ERROR_FRAME,
        _chunk("You said: w1") + DONE,
        _chunk("You said:") + _chunk("You said: w1") + _chunk(finish="stop") + DONE,
        _chunk("You") + _chunk(" said: w1", id="2") + _chunk(finish="stop") + DONE,
        _chunk("You said: w2") + ERROR_FRAME,
        _chunk("You") + b'data: {"error": {"message": "x"}}\n\n',
        _chunk("You") + b"da",
        b'data: {"choices": ',
    ],
)
def test_a_wrong_stream_is_wrong(body: bytes) -> None:
    assert _judge(body, stream=True) is Outcome.WRONG


def test_an_error_without_its_shape_or_with_another_request_id_is_wrong() -> None:
    assert _judge(b"Bad Gateway", stream=False, status=502) is Outcome.WRONG
    assert _judge(b'{"error": "x"}', stream=False, status=502) is Outcome.WRONG
    seen = Seen(End.WHOLE, 503, {"x-request-id": "another"}, json.dumps(ERROR).encode())
    assert judge(seen, request_id=ID, word=WORD, model=MODEL, stream=False).outcome is Outcome.WRONG


@pytest.mark.parametrize("end", [End.HUNG, End.MALFORMED])
def test_a_hang_and_bad_framing_are_wrong(end: End) -> None:
    assert _judge(json.dumps(_reply()).encode(), stream=False, end=end) is Outcome.WRONG


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", End.WHOLE),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", End.WHOLE),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", End.CUT),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", End.CUT),
        (b"", End.CUT),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", End.MALFORMED),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n", End.MALFORMED),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n", End.MALFORMED),
        (b"<html></html>\r\n\r\n", End.MALFORMED),
    ],
)
async def test_the_client_sees_how_a_response_ends(answer: bytes, end: End) -> None:
    seen = await _ask(lambda writer: writer.write(answer))
    assert seen.end is end, seen


async def test_the_client_does_not_wait_for_ever() -> None:
    released = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        client = Client(server.sockets[0].getsockname()[1])
        seen = await client.send(ID, {}, seconds=0.1)
        client.close()
        released.set()
    assert seen.end is End.HUNG


async def _ask(answer: Callable[[asyncio.StreamWriter], None]) -> Seen:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        answer(writer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        client = Client(server.sockets[0].getsockname()[1])
        seen = await client.send(ID, {}, seconds=5)
        client.close()
        return seen
