"""One request's way through a pair of dialects: what to send, how to read what comes back. PURE.

A relay (client and upstream speak the same dialect) changes as little as possible; a
translation goes through the neutral conversation. Either way the same few questions are
asked of it, so that dispatch knows neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from api.services.outlet import Outlet, find_outlet
from api.services.providers.kinds import Dialect
from api.services.translation.conversation import ChatRequest, JsonObject, Reply
from api.services.translation.dialects.anthropic_messages import amendments
from api.services.translation.dialects.anthropic_messages import failures as anthropic_failures
from api.services.translation.dialects.anthropic_messages import replies as anthropic_replies
from api.services.translation.dialects.anthropic_messages.requests import encode_request
from api.services.translation.dialects.anthropic_messages.stream import StreamDecoder
from api.services.translation.dialects.anthropic_messages.target import Target
from api.services.translation.dialects.openai_chat import failures as openai_failures
from api.services.translation.dialects.openai_chat import replies as openai_replies
from api.services.translation.dialects.openai_chat import requests as openai_requests
from api.services.translation.dialects.openai_chat.relay import StreamRelay
from api.services.translation.dialects.openai_chat.stream import StreamEncoder
from api.services.translation.failures import Failure
from api.services.translation.ignored import refusal
from api.services.translation.json_text import dump_json
from api.services.translation.streams import StreamTranslator, TranslatedStream
from api.services.wire import WireRequest
from routing.domain.table import DeploymentRow, ModelRow


@dataclass(slots=True)
class Inbound:
    """What the client sent. `created` is the wall clock, in unix seconds."""

    body: JsonObject
    headers: Mapping[str, str]
    created: int
    _request: ChatRequest | None = None

    @property
    def is_strict(self) -> bool:
        """The client wants a 400 rather than a parameter that is ignored."""
        wish = self.headers.get("x-patchbay-strict")
        return wish is not None and wish.strip().lower() in {"1", "true", "yes", "on"}

    @property
    def request(self) -> ChatRequest:
        """The neutral request, decoded once however many candidates are tried."""
        if self._request is None:
            self._request = openai_requests.decode_request(self.body)
        return self._request


@dataclass(frozen=True, slots=True)
class Options:
    """The operator's choices for translations, the same for every request: see `Target`."""

    auto_cache: bool = False
    repairs_turns: bool = False
    inlines_system: bool = False


MAX_CONTINUATIONS: Final = 5
"""How often a turn that an upstream pauses (for its own tools) is continued for the client."""


class Exchange(Protocol):
    @property
    def wire(self) -> WireRequest: ...

    @property
    def ignored(self) -> tuple[str, ...]:
        """The names of the client's parameters that do not reach the upstream as they were meant."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text of this upstream may quote to a client."""
        ...

    def read_reply(self, body: bytes) -> openai_replies.ReadReply: ...

    def continue_after(self, body: bytes) -> Exchange | None:
        """What to send next, where the upstream paused its turn; None where the reply is whole."""
        ...

    def open_stream(self) -> StreamTranslator: ...

    def continue_with(self, content: list[JsonObject]) -> Exchange | None:
        """Like `continue_after`, for a stream that paused after `content`."""
        ...

    def read_failure(
        self, status: int, headers: Mapping[str, str], body: bytes, *, now: float
    ) -> Failure: ...

    def amend(self, failure: Failure) -> Exchange | None:
        """The same request without what `failure` is about, where that may be left out."""
        ...


def open_exchange(
    inbound: Inbound, model: ModelRow, deployment: DeploymentRow, *, secret: str | None, options: Options
) -> Exchange:
    """
    Raises:
        Failure: the request cannot be put into the upstream's dialect, or, where client
            or operator want that strictly, not without leaving something out.
    """
    outlet = find_outlet(deployment, secret)
    if outlet.kind.dialect is Dialect.OPENAI_CHAT:
        return _open_relay(inbound, outlet)
    return _open_translation(inbound, model, outlet, options)


# Relays.


@dataclass(slots=True)
class _Relay:
    wire: WireRequest
    ignored: tuple[str, ...]
    model: str
    upstream_id: str
    secrets: tuple[str, ...] = field(repr=False)
    client_asked_usage: bool

    def read_reply(self, body: bytes) -> openai_replies.ReadReply:
        return openai_replies.relay_reply(
            body, model=self.model, upstream_id=self.upstream_id, secrets=self.secrets
        )

    def continue_after(self, body: bytes) -> None:
        return None

    def open_stream(self) -> StreamTranslator:
        return StreamRelay(
            model=self.model,
            client_asked_usage=self.client_asked_usage,
            upstream_id=self.upstream_id,
            secrets=self.secrets,
        )

    def continue_with(self, content: list[JsonObject]) -> None:
        return None

    def read_failure(self, status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Failure:
        return openai_failures.decode_failure(
            status, headers, body, model=self.model, secrets=self.secrets, now=now
        )

    def amend(self, failure: Failure) -> None:
        return None


def _open_relay(inbound: Inbound, outlet: Outlet) -> Exchange:
    deployment = outlet.deployment
    relayed = openai_requests.relay_request(
        inbound.body,
        upstream_id=deployment.upstream_id,
        quirks=outlet.quirks,
        wants_usage=True,
    )
    if relayed.ignored and (deployment.is_strict or inbound.is_strict):
        raise refusal(relayed.ignored[0])
    return _Relay(
        _wire(outlet, inbound, relayed.body),
        relayed.ignored,
        inbound.body["model"],
        deployment.upstream_id,
        outlet.secrets,
        relayed.client_asked_usage,
    )


# Translations.


@dataclass(slots=True)
class _Translation:
    wire: WireRequest
    ignored: tuple[str, ...]
    sent: JsonObject
    context: openai_replies.ReplyContext
    secrets: tuple[str, ...] = field(repr=False)
    earlier: Reply | None = None

    def read_reply(self, body: bytes) -> openai_replies.ReadReply:
        reply = self._joined(anthropic_replies.read_message(body))
        encoded = dump_json(openai_replies.encode_reply(reply, self.context))
        return openai_replies.ReadReply(encoded, reply.usage, reply.finish)

    def continue_after(self, body: bytes) -> Exchange | None:
        if not anthropic_replies.may_be_paused(body):
            return None
        message = anthropic_replies.read_message(body, is_repeated=True)
        if not anthropic_replies.is_paused(message):
            return None
        return replace(
            self._resend(amendments.continue_turn(self.sent, message["content"])),
            earlier=self._joined(message),
        )

    def open_stream(self) -> StreamTranslator:
        decoder = StreamDecoder(secrets=self.secrets, holds_pauses=True)
        return TranslatedStream(decoder, StreamEncoder(self.context))

    def continue_with(self, content: list[JsonObject]) -> Exchange:
        return self._resend(amendments.continue_turn(self.sent, content))

    def read_failure(self, status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Failure:
        return anthropic_failures.decode_failure(
            status, headers, body, model=self.context.model, secrets=self.secrets, now=now
        )

    def _joined(self, message: JsonObject) -> Reply:
        reply = anthropic_replies.decode_reply(message, self.secrets)
        return reply if self.earlier is None else anthropic_replies.join_replies(self.earlier, reply)

    def amend(self, failure: Failure) -> Exchange | None:
        if anthropic_failures.is_invalid_signature(failure):
            # The thoughts were bound to a conversation that has changed since. Leaving all
            # of them out is legal; changing one is not.
            return replace(
                self._resend(amendments.without_thinking(self.sent)),
                ignored=(*self.ignored, "messages.thinking_blocks"),
            )
        shrunk = amendments.shrink_max_tokens(self.sent, failure.message)
        if shrunk is not None:
            return replace(self._resend(shrunk), ignored=(*self.ignored, "max_tokens"))
        return None

    def _resend(self, body: JsonObject) -> _Translation:
        return replace(self, sent=body, wire=replace(self.wire, body=dump_json(body)))


def _open_translation(inbound: Inbound, model: ModelRow, outlet: Outlet, options: Options) -> Exchange:
    request, deployment = inbound.request, outlet.deployment
    encoded = encode_request(
        request,
        Target(
            upstream_id=deployment.upstream_id,
            capabilities=outlet.capabilities,
            default_max_tokens=model.default_max_output_tokens,
            is_strict=deployment.is_strict or inbound.is_strict,
            auto_cache=options.auto_cache,
            repairs_turns=options.repairs_turns,
            inlines_system=options.inlines_system,
        ),
    )
    return _Translation(
        wire=_wire(outlet, inbound, encoded.body, betas=encoded.betas),
        ignored=encoded.ignored,
        sent=encoded.body,
        context=openai_replies.ReplyContext(
            model=request.model,
            created=inbound.created,
            uses_legacy_functions=request.uses_legacy_functions,
            custom_tools=frozenset([tool.name for tool in request.tools if tool.is_custom])
            if request.tools
            else frozenset(),
            includes_usage=request.includes_usage,
        ),
        secrets=outlet.secrets,
    )


def _wire(outlet: Outlet, inbound: Inbound, body: JsonObject, *, betas: tuple[str, ...] = ()) -> WireRequest:
    return WireRequest(
        outlet.url,
        outlet.headers(inbound.headers, betas=betas, is_stream=body.get("stream") is True),
        dump_json(body),
        outlet.deployment.provider.allows_private_network,
    )
