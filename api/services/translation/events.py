"""What a stream says, one event at a time, and `fold`, which makes a whole reply of them.

A stream is: one `ReplyStarted`, then output events, then either one `ReplyFinished`
or one `ReplyFailed`. Nothing follows the last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from api.services.translation.conversation import (
    FinishReason,
    RedactedThinkingPart,
    Reply,
    ThinkingPart,
    ToolCallPart,
    UrlCitation,
)
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.usage import Usage


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    id: str
    upstream_model: str


@dataclass(frozen=True, slots=True)
class TextAdded:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningAdded:
    """A piece of the thinking's text, for people to read."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingFinished:
    """A whole block of thinking, for the client to send back. `index` counts blocks from 0."""

    index: int
    part: ThinkingPart | RedactedThinkingPart


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """`index` counts tool calls from 0, whatever else the reply holds."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolArgumentsAdded:
    index: int
    json: str


@dataclass(frozen=True, slots=True)
class CitationsAdded:
    citations: tuple[UrlCitation, ...]


@dataclass(frozen=True, slots=True)
class RefusalAdded:
    text: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The upstream says that it is still there."""


@dataclass(frozen=True, slots=True)
class ReplyFinished:
    reason: FinishReason
    usage: Usage | None
    service_tier: str | None = None


@dataclass(frozen=True, slots=True)
class ReplyFailed:
    """The stream broke, or its upstream reported an error. `usage` is what was counted until then."""

    failure: Failure
    usage: Usage | None = None


Event: TypeAlias = (
    ReplyStarted
    | TextAdded
    | ReasoningAdded
    | ThinkingFinished
    | ToolCallStarted
    | ToolArgumentsAdded
    | CitationsAdded
    | RefusalAdded
    | Heartbeat
    | ReplyFinished
    | ReplyFailed
)


def is_output(event: Event) -> bool:
    """Whether the event carries something of the reply, so that there is no way back to another upstream."""
    return not isinstance(event, ReplyStarted | Heartbeat | ReplyFailed)


def interrupted() -> Failure:
    """The stream ended without its terminal event, however politely."""
    return Failure(FailureKind.UPSTREAM_STREAM_INTERRUPTED, "The upstream response ended unexpectedly.")


def fold(events: Iterable[Event]) -> Reply:
    """The whole reply that a stream tells. A stream that failed, or never finished, raises its `Failure`.

    Tool calls of a refused reply are left out: they were never meant to be carried out.
    """
    state = _Fold()
    for event in events:
        if isinstance(event, ReplyFailed):
            raise event.failure
        if isinstance(event, ReplyFinished):
            return state.finish(event)
        state.add(event)
    raise interrupted()


@dataclass(slots=True)
class _Fold:
    started: ReplyStarted = ReplyStarted("", "")
    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    thought: list[str] = field(default_factory=list)  # of the block that has not finished
    thinking: list[ThinkingPart | RedactedThinkingPart] = field(default_factory=list)
    calls: dict[int, tuple[ToolCallStarted, list[str]]] = field(default_factory=dict)
    citations: list[UrlCitation] = field(default_factory=list)

    def add(self, event: Event) -> None:
        match event:
            case ReplyStarted():
                self.started = event
            case TextAdded(text):
                self.text.append(text)
            case ReasoningAdded(text):
                self.thought.append(text)
            case ThinkingFinished(_, part):
                if isinstance(part, ThinkingPart):
                    self.thought.clear()
                self.thinking.append(part)
            case ToolCallStarted(index):
                self.calls.setdefault(index, (event, []))
            case ToolArgumentsAdded(index, json) if index in self.calls:
                self.calls[index][1].append(json)
            case CitationsAdded(citations):
                self.citations.extend(citations)
            case RefusalAdded(text):
                self.refusal.append(text)
            case _:
                pass

    def finish(self, finished: ReplyFinished) -> Reply:
        if self.thought:  # reasoning of an upstream that signs nothing
            self.thinking.append(ThinkingPart("".join(self.thought), ""))
        calls = tuple(
            ToolCallPart(id=call.id, name=call.name, arguments="".join(json))
            for _, (call, json) in sorted(self.calls.items())
        )
        return Reply(
            id=self.started.id,
            upstream_model=self.started.upstream_model,
            finish=finished.reason,
            usage=finished.usage,
            text="".join(self.text) or None,
            refusal="".join(self.refusal) or None,
            thinking=tuple(self.thinking),
            tool_calls=() if finished.reason is FinishReason.CONTENT_FILTER else calls,
            citations=tuple(self.citations),
            service_tier=finished.service_tier,
        )
