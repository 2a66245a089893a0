"""What a stream says, one event at a time, and `fold`, which makes a whole reply of them.

A stream is: one `ReplyStarted`, then output events, then either one `ReplyFinished`
or one `ReplyFailed`. Nothing follows the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from api.services.translation.conversation import (
    FinishReason,
    RedactedThinkingPart,
    ThinkingPart,
    UrlCitation,
)
from api.services.translation.failures import Failure
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
