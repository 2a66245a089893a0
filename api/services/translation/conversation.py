"""The neutral values between wire formats: what a client asks and what a model replies.

Owns no wire names: every dialect reads its own format into these values and writes
them back out. What a dialect cannot say is refused with a `Failure` or named in
`ignored`; nothing leaves a conversation without a word.

No value here is changed once it is made. Those that a request or a reply is made of are
not frozen all the same: freezing triples what it costs to make one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from api.services.translation.usage import Usage

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object as parsed: keys in the order in which they were read."""


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class FinishReason(StrEnum):
    """Why a reply ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


class Effort(StrEnum):
    """How hard a model should think, weakest first."""

    NONE = "none"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


@dataclass(frozen=True, slots=True)
class CacheMark:
    """A prompt-cache breakpoint after the part that carries it.

    `ttl` is "5m", "1h" or None (the provider's own).
    """

    ttl: str | None = None


@dataclass(frozen=True, slots=True)
class InlineData:
    """Bytes that travel in the request, still in base64 without white space."""

    media_type: str
    base64: str


@dataclass(frozen=True, slots=True)
class RemoteUrl:
    """An address that the upstream fetches. We never do."""

    url: str


@dataclass(frozen=True, slots=True)
class FileReference:
    """The id of a file that the client uploaded at the upstream."""

    file_id: str


MediaSource: TypeAlias = InlineData | RemoteUrl | FileReference


# Every part carries `path`, the place in the client's request that an error names.


@dataclass(slots=True)
class TextPart:
    text: str
    cache: CacheMark | None = None
    path: str = ""


@dataclass(slots=True)
class ImagePart:
    source: MediaSource
    cache: CacheMark | None = None
    path: str = ""


@dataclass(slots=True)
class DocumentPart:
    """A PDF or a text file. An inline `text/plain` source holds the text itself in `text`."""

    source: MediaSource | None
    text: str | None = None
    title: str | None = None
    cache: CacheMark | None = None
    path: str = ""


@dataclass(slots=True)
class AudioPart:
    base64: str
    format: str
    path: str = ""


@dataclass(slots=True)
class RefusalPart:
    text: str
    path: str = ""


@dataclass(slots=True)
class ToolCallPart:
    """One call of a tool.

    `arguments` is JSON text as the model wrote it (for a custom tool: its free text);
    `path` is the place of that text.
    """

    id: str
    name: str
    arguments: str
    is_custom: bool = False
    cache: CacheMark | None = None
    path: str = ""


@dataclass(slots=True)
class ToolResultPart:
    """What the client answers to the call `call_id`; `parts` is empty for an empty answer."""

    call_id: str
    parts: tuple[TextPart | ImagePart | DocumentPart, ...]
    is_plain_text: bool = True
    cache: CacheMark | None = None
    path: str = ""


@dataclass(slots=True)
class ThinkingPart:
    """A thought with the provider's signature: it goes back verbatim or not at all."""

    text: str
    signature: str


@dataclass(slots=True)
class RedactedThinkingPart:
    data: str


@dataclass(slots=True)
class NativePart:
    """A block in the wire format of `dialect`, which only that dialect can write back out."""

    dialect: str
    block: JsonObject
    path: str = ""


Part: TypeAlias = (
    TextPart
    | ImagePart
    | DocumentPart
    | AudioPart
    | RefusalPart
    | ToolCallPart
    | ToolResultPart
    | ThinkingPart
    | RedactedThinkingPart
    | NativePart
)


@dataclass(slots=True)
class Turn:
    """One message. `is_plain_text` tells a string from a list with one text part."""

    role: Role
    parts: tuple[Part, ...]
    is_plain_text: bool = False
    index: int = 0


@dataclass(slots=True)
class Tool:
    """A function the model may call.

    `parameters` is its JSON schema (for a custom tool: the format of its free text).
    `extras` holds provider fields that a client set on it on purpose. `path` is the
    place in the client's request that an error names.
    """

    name: str
    description: str | None = None
    parameters: JsonObject | None = None
    is_strict: bool = False
    is_custom: bool = False
    cache: CacheMark | None = None
    extras: JsonObject = field(default_factory=dict)
    native: NativePart | None = None
    index: int = 0
    path: str = ""


class ToolChoiceMode(StrEnum):
    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"
    NAMED = "named"


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`name` goes with NAMED; `allowed` limits the tools that the choice is made among (None: all)."""

    mode: ToolChoiceMode
    name: str | None = None
    allowed: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """The reply must be JSON: any object (`schema` None), or one that fits `schema`."""

    schema: JsonObject | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class WebSearch:
    """The provider's own web search.

    `context_size` is low, medium or high; `location` has city, country, region, timezone.
    """

    context_size: str | None = None
    location: JsonObject | None = field(default=None, hash=False)


@dataclass(slots=True)
class ChatRequest:
    """One request for a reply. None everywhere means: the client did not say.

    `ignored` names the request's parameters that were already dropped while reading;
    `extensions` holds fields of a provider's own API that a client set on purpose.
    `cache` asks for a breakpoint after the last part that can carry one;
    `caches_automatically` says whether the provider may choose breakpoints by itself.
    `names` has the client's word for a field where it differs from ours. `is_plain`: none of
    the fields from `stop` to `extensions` is set, so that nobody need ask for each.
    """

    model: str
    turns: tuple[Turn, ...]
    is_stream: bool = False
    includes_usage: bool = False
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    is_parallel: bool | None = None
    uses_legacy_functions: bool = False
    response_format: JsonFormat | None = None
    effort: Effort | None = None
    web_search: WebSearch | None = None
    cache: CacheMark | None = None
    caches_automatically: bool | None = None
    end_user: str | None = None
    service_tier: str | None = None
    extensions: JsonObject = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    is_plain: bool = field(default=False, compare=False)

    def name_of(self, field_name: str) -> str:
        """What the client calls the field: "max_completion_tokens" for `max_tokens`, say."""
        return self.names.get(field_name, field_name)


@dataclass(slots=True)
class UrlCitation:
    """A source of the reply's text. `start` and `end` are character positions in the joined text."""

    url: str
    title: str
    start: int
    end: int


@dataclass(slots=True)
class Reply:
    """A whole reply. `text` is None where there is none; `refusal` is the model's own explanation."""

    id: str
    upstream_model: str
    finish: FinishReason
    usage: Usage | None
    text: str | None = None
    refusal: str | None = None
    thinking: tuple[ThinkingPart | RedactedThinkingPart, ...] = ()
    tool_calls: tuple[ToolCallPart, ...] = ()
    citations: tuple[UrlCitation, ...] = ()
    service_tier: str | None = None
