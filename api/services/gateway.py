"""`serve`: the way of one request, from the client's body to its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings

from api.services import admission, cooldowns, dispatch, lifecycle, limits, tracing
from api.services.early_stream import EarlyStream
from api.services.exchange import Inbound
from api.services.pursuit import Pursuit, is_refused, plan, retry_budgets
from api.services.recording import Record
from api.services.reply_stream import ReplyStream
from api.services.translation.dialects.openai_chat.requests import check_relay
from api.services.translation.failures import Failure, FailureKind
from routing import lookup
from routing.domain.keys import KeyRow, is_allowed
from routing.domain.table import ListedModel, ModelRow, RoutingTable

_DEADLINE: Final[float] = settings.REQUEST_DEADLINE


@dataclass(slots=True)
class Call:
    """A request that was read: its parsed body, its headers (names in lower case) and when it began."""

    request_id: str
    body: Any
    headers: Mapping[str, str]
    started: float
    key: KeyRow | None = None
    record: Record = field(init=False)

    def __post_init__(self) -> None:
        self.record = Record(
            self.request_id, self.started, key_prefix=self.key.prefix if self.key is not None else None
        )
        self.record.trace_context = tracing.read_context(self.headers)


@dataclass(slots=True)
class Answer:
    """Either a whole `body` or `frames`, which the caller must close."""

    headers: dict[str, str]
    body: bytes = b""
    frames: ReplyStream | EarlyStream | None = None


async def serve(call: Call) -> Answer:
    """Answer one chat request.

    Raises a Failure before anything was sent; afterwards a failure ends the stream with
    an error event. Either way exactly one line about the request is logged.
    """
    record = call.record
    try:
        check_relay(call.body)
        body: dict[str, Any] = call.body
        table = current_table()
        record.config_version = table.version
        model = _resolve(table, body["model"], call.key, record)
        record.is_stream = body.get("stream") is True
        if record.is_stream and not model.allows_streaming:
            raise Failure(
                FailureKind.UNSUPPORTED_VALUE,
                "Unsupported value: 'stream' does not support true with the model "
                f"`{record.requested_model}`. Streaming is switched off for it.",
                param="stream",
            )
        inbound = Inbound(body=body, headers=call.headers, created=dispatch.wall_clock())
        places = admission.current()
        places.check_room()
        # Limits first: a key that is over its own waits in nobody's way.
        scopes = (*call.key.scopes, *model.scopes) if call.key is not None else model.scopes
        if scopes:
            limiter = limits.current()
            record.lease = limiter.take(scopes) or await limiter.acquire(scopes)
        if not places.try_enter():
            await places.enter()
        record.place = places
        answer = await _answer(inbound, table, model, record)
        if answer.frames is None:
            record.finish_request(status=200)
        return answer
    except Failure as failure:
        record.finish_request(status=failure.status, failure=failure)
        raise
    except BaseException as error:
        ending = lifecycle.claim_cancellation() if isinstance(error, asyncio.CancelledError) else None
        if ending is not None:
            record.finish_request(status=ending.status, failure=ending)
            raise ending from None
        record.finish_request(status=dispatch.status_of(error))
        raise


async def _answer(inbound: Inbound, table: RoutingTable, model: ModelRow, record: Record) -> Answer:
    """The first answer that there is. A reply that has begun is never started again."""
    retry_budgets.of(model.public_id).count_request(record.started)
    deadline = record.started + _DEADLINE
    candidates = plan(model)
    further: Pursuit | None = None
    if candidates and cooldowns.current().admit(candidates[0]):
        try:
            reply = await dispatch.try_candidate(inbound, model, candidates[0], record, deadline)
        except Failure as failure:
            further = Pursuit(inbound, table, model, candidates, record, deadline, begun=True)
            reply = await further.after_failure(failure)
        else:
            if model.fallbacks and is_refused(reply, record):
                further = Pursuit(inbound, table, model, candidates, record, deadline, begun=True)
                reply = await further.after_refusal(reply)
    else:
        further = Pursuit(inbound, table, model, candidates, record, deadline, begun=False)
        reply = await (further.begin() if candidates else further.after_failure(_nothing_deployed(record)))
    if isinstance(reply, bytes):
        return Answer(record.headers(), body=reply)
    if reply.has_output:
        return Answer(record.headers(), frames=reply)
    if further is None:
        further = Pursuit(inbound, table, model, candidates, record, deadline, begun=True)
    return Answer(record.headers(), frames=EarlyStream(reply, further, record))


def _nothing_deployed(record: Record) -> Failure:
    return Failure(
        FailureKind.PROVIDER_NOT_CONFIGURED,
        f"The model `{record.requested_model}` has no deployment that is switched on. "
        "The operator adds one in the admin under Models.",
    )


def current_table() -> RoutingTable:
    """The snapshot in force.

    Raises:
        Failure: none was loaded yet.
    """
    try:
        return lookup.current()
    except lookup.NotLoaded:
        raise Failure(
            FailureKind.OVERLOADED,
            "The proxy is starting and has no configuration yet. Try again in a moment.",
            retry_after=1,
        ) from None


def list_models(key: KeyRow | None) -> tuple[ListedModel, ...]:
    return current_table().listed(key)


def find_model(name: str, key: KeyRow | None) -> ListedModel:
    """What `GET /models/{id}` shows: any model or alias that answers this caller, listed or not."""
    table = current_table()
    listed = table.find_listed(name, key)
    if listed is None:
        raise _model_not_found(table, name, key)
    return listed


def _resolve(table: RoutingTable, name: str, key: KeyRow | None, record: Record) -> ModelRow:
    record.requested_model = name
    resolution = table.resolve(name)
    # Out of a key's scope, a model is as unknown as one that does not exist.
    if resolution is None or not resolution.model.is_enabled or not is_allowed(key, resolution.model):
        raise _model_not_found(table, name, key)
    record.alias = resolution.alias.name if resolution.alias else None
    record.model = resolution.model.public_id
    return resolution.model


_SHOWN_NAME = 200


def _model_not_found(table: RoutingTable, name: str, key: KeyRow | None) -> Failure:
    shown = name if len(name) <= _SHOWN_NAME else name[:_SHOWN_NAME] + "…"
    message = f"The model `{shown}` does not exist or you do not have access to it."
    if matches := table.close_matches(name, key=key):
        message += " Did you mean " + " or ".join(f"`{match}`" for match in matches) + "?"
    return Failure(FailureKind.MODEL_NOT_FOUND, message, param="model")
