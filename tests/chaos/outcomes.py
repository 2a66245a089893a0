"""What a client got, judged: exactly one well-formed outcome, or a wrong one. PURE.

A reply has to be the very one that was asked for: each request carries a word that the
upstream says back, so that a lost, doubled or mixed-up piece shows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.chaos.client import End, Seen


class Outcome(StrEnum):
    ANSWERED = "answered"
    """A whole reply, or a stream to its `[DONE]`."""
    FAILED = "failed"
    """An HTTP error in OpenAI's shape."""
    BROKEN_OFF = "broken off"
    """A stream that had begun and ended with an error event."""
    NOT_TAKEN = "not taken"
    """No connection came about: the request never left the client."""
    CUT = "cut"
    """The connection broke. Never right, but for a worker that was killed."""
    WRONG = "wrong"
    """Anything else: a hang, half a reply, somebody else's reply, a shape no SDK reads."""


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    status: int = 0
    code: str | None = None
    detail: str = ""
    attempts: int = 0


def expected_text(word: str) -> str:
    """What the fake upstream answers to a request that says `word`."""
    return f"You said: {word}"


def judge(seen: Seen, *, request_id: str, word: str, model: str, stream: bool) -> Verdict:
    """The verdict on the response to one request."""
    if seen.end is End.NO_CONNECTION:
        return Verdict(Outcome.NOT_TAKEN, detail=seen.detail)
    if seen.end is End.CUT:
        return Verdict(Outcome.CUT, seen.status, detail=f"cut: {seen.detail}")
    try:
        if seen.end is not End.WHOLE:
            raise _Wrong(f"{seen.end}: {seen.detail}")
        if seen.headers.get("x-request-id") != request_id:
            raise _Wrong(f"x-request-id is {seen.headers.get('x-request-id')!r}")
        attempts = int(seen.headers.get("x-patchbay-attempts", "0"))
        if seen.status != 200:
            code = _check_error(_object(seen.body), seen.status)
            return Verdict(Outcome.FAILED, seen.status, code, attempts=attempts)
        if not stream:
            _check_reply(_object(seen.body), word, model)
            return Verdict(Outcome.ANSWERED, 200, attempts=attempts)
        return _judge_stream(seen.body, word, model, attempts)
    except _Wrong as wrong:
        shown = seen.body[-300:].decode("utf-8", "replace")
        return Verdict(Outcome.WRONG, seen.status, detail=f"{wrong} … {shown!r}")


class _Wrong(Exception):
    pass


def _object(body: bytes | str) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        raise _Wrong("not JSON") from None
    if not isinstance(value, dict):
        raise _Wrong("not a JSON object")
    return value


def _check_error(body: dict[str, Any], status: int | None) -> str | None:
    error = body.get("error")
    if set(body) != {"error"} or not isinstance(error, dict):
        raise _Wrong(f"status {status} without an error object")
    if not {"message", "type", "param", "code"} <= set(error) or not error["message"]:
        raise _Wrong("an error object without its four keys")
    if "Traceback" in str(error["message"]):
        raise _Wrong("a traceback in an error")
    code = error["code"]
    return code if code is None else str(code)


def _check_reply(body: dict[str, Any], word: str, model: str) -> None:
    try:
        choice = body["choices"][0]
        text, finish = choice["message"]["content"], choice["finish_reason"]
        usage = body["usage"]["total_tokens"]
    except (KeyError, IndexError, TypeError) as error:
        raise _Wrong(f"a reply without {error}") from None
    if text != expected_text(word):
        raise _Wrong(f"the text of another reply: {text!r}")
    if body.get("model") != model or body.get("object") != "chat.completion" or finish != "stop" or not usage:
        raise _Wrong(f"model {body.get('model')!r}, finish {finish!r}, {usage} tokens")


def _judge_stream(body: bytes, word: str, model: str, attempts: int) -> Verdict:
    if not body.endswith(b"\n\n"):
        raise _Wrong("the stream ends in the middle of a frame")
    frames = [frame for frame in body.decode().split("\n\n") if frame and not frame.startswith(":")]
    text, finish = "", None
    ids: set[Any] = set()
    for number, frame in enumerate(frames):
        if not frame.startswith("data: "):
            raise _Wrong(f"not a frame: {frame[:80]!r}")
        data = frame.removeprefix("data: ")
        is_last = number == len(frames) - 1
        if data == "[DONE]":
            if not is_last:
                raise _Wrong("something after [DONE]")
            if finish != "stop" or text != expected_text(word):
                raise _Wrong(f"[DONE] after finish {finish!r} and the text {text!r}")
            return Verdict(Outcome.ANSWERED, 200, attempts=attempts)
        chunk = _object(data)
        if "error" in chunk:
            if not is_last:
                raise _Wrong("something after an error event")
            if not expected_text(word).startswith(text):
                raise _Wrong(f"an error event after the text of another reply: {text!r}")
            return Verdict(Outcome.BROKEN_OFF, 200, _check_error(chunk, None), attempts=attempts)
        if chunk.get("object") != "chat.completion.chunk" or chunk.get("model") != model:
            raise _Wrong(f"not a chunk of this model: {data[:80]!r}")
        ids.add(chunk.get("id"))
        if len(ids) > 1:
            raise _Wrong("chunks of two replies in one stream")
        for choice in chunk["choices"]:
            text += choice["delta"].get("content") or ""
            finish = choice.get("finish_reason") or finish
    raise _Wrong("the stream ends without [DONE] and without an error event")
