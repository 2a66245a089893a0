"""A chat completion stream from an upstream that speaks the same as the client.

Frames pass through as they are. Changed is what must be: the model's name where the
client used another, usage that only we asked for, and texts of errors. A frame in
which nothing changes is not written anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from api.services.translation.conversation import FinishReason, JsonObject
from api.services.translation.dialects.openai_chat.failures import decode_reported_failure
from api.services.translation.dialects.openai_chat.replies import decode_finish, relay_reply
from api.services.translation.dialects.openai_chat.usage import decode_usage
from api.services.translation.events import interrupted
from api.services.translation.failures import Failure
from api.services.translation.json_text import dump_json, load_json
from api.services.translation.sse import DONE, Frame, FrameSplitter, frame_end, replace_data
from api.services.translation.templates import FrameTemplate, learn_template
from api.services.translation.usage import Usage

_LESSONS: Final = 8
"""How often a template is made anew where another kind of frame comes, such as one of another
choice. A stream whose frames keep changing is read frame by frame."""


class StreamRelay:
    """One stream, from its first byte to its last.

    It ends with `[DONE]`. Some servers send none, and some break off just before it: once
    every choice has its finish reason, the reply is whole, and `[DONE]` is added. Any other
    end is a failure. A stream of `[DONE]` alone has failed too: it would be an empty success.
    """

    def __init__(
        self,
        model: str,
        client_asked_usage: bool,
        upstream_id: str,
        secrets: Iterable[str] = (),
    ) -> None:
        self.has_output = False
        self.is_finished = False
        self.failure: Failure | None = None
        self.usage: Usage | None = None
        self.upstream_model: str | None = None
        self.finish: FinishReason | None = None
        self.paused_content: list[JsonObject] | None = None  # this dialect knows no pauses
        self._model = model
        self._upstream_id = upstream_id
        self._renames = model != upstream_id
        self._keeps_usage = client_asked_usage
        self._secrets = tuple(secrets)
        self._splitter = FrameSplitter()
        self._finished_choices: dict[int, bool] = {}
        self._template: FrameTemplate | None = None
        self._lessons = _LESSONS

    def feed(self, data: bytes) -> bytes:
        if self.is_finished or self.failure is not None:
            return b""
        if self._template is not None and self._splitter.is_between_frames:
            out = self._template.fill_one(data)
            if out is not None:
                return out
        pieces: list[bytes] = []
        place = 0
        while place < len(data) and self.failure is None:
            if self._template is not None and self._splitter.is_between_frames:
                place = self._template.fill(data, pieces, place=place)
            # Whatever is not alike goes the long way by itself: what follows it may be alike again.
            end = frame_end(data, place)
            for frame in self._splitter.feed(data[place:end]):
                self._relay(frame, pieces)
                if self.is_finished or self.failure is not None:
                    return b"".join(pieces)
            self.failure = self._splitter.failure
            place = end
        return b"".join(pieces)

    def feed_unstreamed(self, body: bytes) -> bytes:
        """Some servers ignore `stream`: the client gets the whole reply as one chunk per choice."""
        if self.is_finished or self.failure is not None:
            return b""
        try:
            reply = relay_reply(body, model=self._model, upstream_id=self._upstream_id, secrets=self._secrets)
            chunks = _chunks_of(load_json(reply.body))
        except Failure as failure:
            self.failure = failure
            return b""
        pieces: list[bytes] = []
        for chunk in chunks:
            json_text = dump_json(chunk)
            self._relay(Frame(b"data: " + json_text, json_text), pieces)
        self.upstream_model = reply.upstream_model
        self._relay(Frame(b"", b"[DONE]"), pieces)
        return b"".join(pieces)

    def close(self) -> bytes:
        if self.is_finished or self.failure is not None:
            return b""
        pieces: list[bytes] = []
        for frame in self._splitter.close():
            # The end of the bytes may have cut it: only what is whole goes out.
            if frame.data is not None and (frame.data == b"[DONE]" or _parse(frame.data) is not None):
                self._relay(frame, pieces)
        if not self.is_finished and self.failure is None:
            if self._finished_choices and all(self._finished_choices.values()):
                # Whole all the same, and a client may take a stream without `[DONE]` for a broken one.
                self._end(pieces)
            else:
                self.failure = interrupted()
        return b"".join(pieces)

    def resume(self) -> None:
        """Never called: nothing pauses."""

    def end_pause(self) -> bytes:
        return b""

    def _relay(self, frame: Frame, pieces: list[bytes]) -> None:
        data = frame.data
        if data is None:
            pieces.append(frame.raw + b"\n\n")
            return
        if data[:1] != b"{":
            if data.strip() == b"[DONE]":
                self._end(pieces)
                return
            data = data.strip()
        chunk = _parse(data)
        if chunk is None:
            pieces.append(frame.raw + b"\n\n")
            return
        if chunk.get("error") or chunk.get("object") == "error" or frame.event == "error":
            # Some servers send the error's fields without the object around them, which
            # the SDKs would take for an empty chunk.
            wire = chunk if chunk.get("error") else {"error": chunk}
            self.failure = decode_reported_failure(wire, model=self._model, secrets=self._secrets)
            return
        # There is nothing in it but text, as far as we are concerned.
        is_plain = self._lessons > 0
        choices = chunk.get("choices")
        if isinstance(choices, list):
            for choice in choices:
                if type(choice) is dict:
                    self._read_choice(choice)
                    is_plain = is_plain and choice.get("finish_reason") is None
        is_changed = False
        if "usage" in chunk:
            usage = chunk["usage"]
            if usage is not None:
                self.usage = decode_usage(usage) or self.usage
                is_plain = False
            if not self._keeps_usage:
                if usage is not None and not choices:
                    return  # the chunk that we asked for
                del chunk["usage"]
                is_changed = True
        name = chunk.get("model")
        if type(name) is str and name:
            if self.upstream_model is None:
                self.upstream_model = name
            if self._renames and name != self._model:
                chunk["model"] = self._model  # in its old place: the order of keys stays
                is_changed = True
        out = replace_data(frame, dump_json(chunk)) if is_changed else frame.raw + b"\n\n"
        pieces.append(out)
        if is_plain and self.has_output and b"\n" not in frame.raw:
            self._lessons -= 1
            self._template = learn_template(frame.raw, out) or self._template

    def _read_choice(self, choice: JsonObject) -> None:
        index = choice.get("index")
        if type(index) is not int:
            index = 0
        reason = choice.get("finish_reason")
        if reason is not None:
            self._finished_choices[index] = True
            self.finish = self.finish or decode_finish(reason)
            self.has_output = True
        elif index not in self._finished_choices:
            self._finished_choices[index] = False
        if not self.has_output:
            delta = choice.get("delta")
            if isinstance(delta, dict):
                self.has_output = any(value for key, value in delta.items() if key != "role")

    def _end(self, pieces: list[bytes]) -> None:
        if self._finished_choices:
            self.is_finished = True
            pieces.append(DONE)
        else:
            self.failure = interrupted()


def _parse(data: bytes) -> JsonObject | None:
    try:
        value = load_json(data)
    except Failure:
        return None
    return value if isinstance(value, dict) else None


def _chunks_of(reply: JsonObject) -> list[JsonObject]:
    """A whole completion as chunks, with every field in it that we do not know."""
    choices = [_delta_of(choice) for choice in reply["choices"] if isinstance(choice, dict)]
    usage = reply.get("usage")
    chunk = {**reply, "object": "chat.completion.chunk", "choices": choices, "usage": None}
    return [chunk] if usage is None else [chunk, {**chunk, "choices": [], "usage": usage}]


def _delta_of(choice: JsonObject) -> JsonObject:
    message = choice.get("message")
    delta = dict(message) if isinstance(message, dict) else {}
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        delta["tool_calls"] = [
            {"index": index, **call} for index, call in enumerate(calls) if isinstance(call, dict)
        ]
    return {("delta" if key == "message" else key): value for key, value in choice.items()} | {"delta": delta}
