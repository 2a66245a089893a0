"""One attempt: encode, send, decode. The I/O between the gateway and a transport."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator

from django.conf import settings

from api.services import transport
from api.services.attempts import Candidate
from api.services.demo import DemoTransport
from api.services.exchange import Exchange, Inbound, Options, ReadReply, open_exchange
from api.services.providers.catalog import KINDS
from api.services.recording import CLIENT_CLOSED_REQUEST, Attempt, Record
from api.services.translation.dialects.openai_chat.failures import encode_stream_failure
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.sse import comment
from api.services.wire import Timeouts, Transport, WireResponse
from routing.domain.table import DeploymentRow, ModelRow, ProviderRow

_MAX_ERROR_BYTES = 1024 * 1024
MAX_CONTINUATIONS = 5
"""How often a turn that an upstream pauses (for its own tools) is continued for the client."""
_DRAIN_SECONDS = 2.0

_demo = DemoTransport()
_options = Options(
    auto_cache=settings.ANTHROPIC_AUTO_CACHE,
    repairs_turns=settings.REPAIR_TOOL_TURNS,
    inlines_system=settings.ANTHROPIC_INLINE_SYSTEM,
)
_drains: set[asyncio.Task[None]] = set()


def wall_clock() -> int:
    return int(time.time())


def status_of(error: BaseException) -> int:
    """The status that the log gives a request that ended with `error` and no answer."""
    return CLIENT_CLOSED_REQUEST if isinstance(error, asyncio.CancelledError | GeneratorExit) else 500


async def fetch_reply(inbound: Inbound, model: ModelRow, candidate: Candidate, record: Record) -> bytes:
    """The whole reply as the client's body."""
    deployment = candidate.deployment
    exchange = _open(inbound, model, candidate, record)
    attempt = record.begin_attempt(_name(deployment))
    timeouts = _timeouts(deployment.provider)
    began = time.perf_counter()
    try:
        async with asyncio.timeout(timeouts.total):
            reply = await _converse(exchange, deployment.provider, timeouts, record, attempt)
    except TimeoutError:
        raise _end_attempt(
            attempt,
            Failure(
                FailureKind.UPSTREAM_TOTAL_TIMEOUT,
                f"The upstream did not finish its reply within {timeouts.total:g} seconds.",
            ),
        ) from None
    except Failure as failure:
        raise _end_attempt(attempt, failure) from None
    except asyncio.CancelledError:
        attempt.end("cancelled")
        raise
    finally:
        record.upstream_seconds += time.perf_counter() - began
    attempt.end("ok")
    record.usage, record.finish = reply.usage, reply.finish.value if reply.finish else None
    return reply.body


async def _converse(
    exchange: Exchange, provider: ProviderRow, timeouts: Timeouts, record: Record, attempt: Attempt
) -> ReadReply:
    """Send, and send again where the protocol asks for it: a paused turn, a thought that no longer fits."""
    is_amended = False
    for _ in range(MAX_CONTINUATIONS + 2):
        response = await _transport(provider).send(exchange.wire, timeouts)
        _note_response(attempt, response)
        try:
            if response.status == 200:
                body = await response.read(settings.MAX_REPLY_BYTES)
                following = exchange.continue_after(body)
                if following is None:
                    return exchange.read_reply(body)
                exchange = following
                continue
            failure = await _read_failure(exchange, response)
        finally:
            await response.close()
        amended = None if is_amended else exchange.amend(failure)
        if amended is None:
            raise failure
        exchange, is_amended = amended, True
        record.ignored = exchange.ignored
    raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE, "The upstream paused its turn too many times.")


async def open_stream(inbound: Inbound, model: ModelRow, candidate: Candidate, record: Record) -> ReplyStream:
    """The client's frames, once the first output is there.

    Until then any trouble is raised as a Failure, so that the client gets a status it
    can act on. After KEEPALIVE_INTERVAL seconds without output the stream opens all the
    same, with comments.
    """
    deployment = candidate.deployment
    exchange = _open(inbound, model, candidate, record)
    attempt = record.begin_attempt(_name(deployment))
    timeouts = _timeouts(deployment.provider)
    began = time.perf_counter()
    response: WireResponse | None = None
    stream: ReplyStream | None = None
    try:
        response, exchange = await _send_stream(exchange, deployment.provider, timeouts, attempt)
        record.ignored = exchange.ignored
        stream = ReplyStream(exchange, deployment.provider, response, timeouts, record, attempt, began)
        await stream.wait_output(settings.KEEPALIVE_INTERVAL)
    except BaseException as error:
        record.upstream_seconds += time.perf_counter() - began
        if isinstance(error, TimeoutError):
            error = Failure(
                FailureKind.UPSTREAM_TOTAL_TIMEOUT,
                f"The upstream did not finish its reply within {timeouts.total:g} seconds.",
            )
        if stream is not None:
            await stream.release()
        elif response is not None:
            await response.close()
        if isinstance(error, Failure):
            raise _end_attempt(attempt, error) from None
        attempt.end("cancelled" if isinstance(error, asyncio.CancelledError) else "error")
        raise
    record.upstream_seconds += time.perf_counter() - began
    return stream


async def _send_stream(
    exchange: Exchange, provider: ProviderRow, timeouts: Timeouts, attempt: Attempt
) -> tuple[WireResponse, Exchange]:
    response = await _transport(provider).send(exchange.wire, timeouts)
    _note_response(attempt, response)
    if response.status == 200:
        return response, exchange
    try:
        failure = await _read_failure(exchange, response)
    finally:
        await response.close()
    amended = exchange.amend(failure)
    if amended is None:
        raise failure
    response = await _transport(provider).send(amended.wire, timeouts)
    _note_response(attempt, response)
    if response.status == 200:
        return response, amended
    try:
        raise await _read_failure(amended, response)
    finally:
        await response.close()


class ReplyStream:
    """An upstream's stream on its way to the client: iterate it once, and close it whatever happens."""

    def __init__(
        self,
        exchange: Exchange,
        provider: ProviderRow,
        response: WireResponse,
        timeouts: Timeouts,
        record: Record,
        attempt: Attempt,
        began: float,
    ) -> None:
        self._exchange = exchange
        self._provider = provider
        self._translator = exchange.open_stream()
        self._continuations = 0
        self._response = response
        self._timeouts = timeouts
        self._record = record
        self._attempt = attempt
        self._began = began
        self._last_piece = began
        self._held: list[bytes] = []
        self._frames = self._read_frames()
        self._is_ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._frames

    async def aclose(self) -> None:
        """Let go of the upstream. Closed before its end, the request counts as cancelled by the client."""
        await self._frames.aclose()
        # A generator that was never started runs no `finally`.
        await self._end(None, is_closed_by_client=True)

    async def release(self) -> None:
        """Let go of the upstream without a word, for a stream that never began."""
        self._is_ended = True
        await self._response.close()

    async def wait_output(self, seconds: float) -> None:
        """Read until there is output to send, or `seconds` have passed since the request went out.

        Raises:
            Failure: the stream failed before it said anything.
        """
        if self._response.headers.get("content-type", "").startswith("application/json"):
            # The upstream does not stream: the client gets a stream of the whole reply.
            async with asyncio.timeout(self._timeouts.total):
                body = await self._response.read(settings.MAX_REPLY_BYTES)
            self._hold(self._translator.feed_unstreamed(body))
        while not self._translator.has_output:
            left = self._began + seconds - time.perf_counter()
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                await self._read(left)

    async def _read_frames(self) -> AsyncGenerator[bytes, None]:
        """What the client gets. Ends with an error event where the upstream fails."""
        failure: Failure | None = None
        is_closed_by_client = True
        try:
            if not self._translator.has_output:
                # It opened for want of output: the client, and all on the way, hear that it lives.
                yield comment("keep-alive")
            while True:
                if self._held and self._translator.has_output:
                    pieces, self._held = self._held, []
                    yield pieces[0] if len(pieces) == 1 else b"".join(pieces)
                if self._translator.is_finished:
                    break
                try:
                    await self._read(settings.KEEPALIVE_INTERVAL)
                except TimeoutError:
                    yield comment("keep-alive")
            is_closed_by_client = False
        except Failure as error:
            is_closed_by_client = False
            failure = error
            if self._held and self._translator.has_output:
                yield b"".join(self._held)
            yield encode_stream_failure(failure)
        finally:
            await self._end(failure, is_closed_by_client=is_closed_by_client)

    async def _read(self, seconds: float) -> None:
        """Take one piece.

        Raises:
            TimeoutError: nothing came for `seconds`, and the upstream may still take its time.
            Failure: the upstream failed, or its time is up.
        """
        await self._continue_if_paused()
        try:
            piece = await self._response.read_piece(min(seconds, self._patience()))
        except TimeoutError:
            self._check_patience()
            raise
        except Failure:
            # A reply that was complete before the connection broke is complete all the same.
            self._last_piece = time.perf_counter()
            out = self._translator.close()
            if not self._translator.is_finished:
                raise
            self._hold(out)
            return
        self._last_piece = time.perf_counter()
        self._hold(self._translator.feed(piece) if piece else self._translator.close())

    async def _continue_if_paused(self) -> None:
        """Where the upstream paused its turn, ask it to go on, and go on with the same reply."""
        content = self._translator.paused_content
        if content is None:
            return
        following = self._exchange.continue_with(content)
        if following is None or self._continuations >= MAX_CONTINUATIONS:
            self._hold(self._translator.end_pause())
            return
        self._continuations += 1
        self._exchange = following
        await self._response.close()
        response = await _transport(self._provider).send(following.wire, self._timeouts)
        _note_response(self._attempt, response)
        if response.status != 200:
            try:
                raise await _read_failure(following, response)
            finally:
                await response.close()
        self._response = response
        self._translator.resume()

    def _hold(self, out: bytes) -> None:
        translator = self._translator
        if out:
            self._held.append(out)
        if translator.has_output and self._record.first_output is None:
            self._record.first_output = time.perf_counter()
        if translator.failure is not None:
            raise translator.failure

    def _patience(self) -> float:
        """Seconds until the upstream's silence is a failure."""
        now = time.perf_counter()
        if self._translator.has_output:
            return max(0.001, self._last_piece + self._timeouts.idle - now)
        return max(0.001, self._began + self._timeouts.first_token - now)

    def _check_patience(self) -> None:
        if self._patience() > 0.001:
            return
        if self._translator.has_output:
            raise Failure(
                FailureKind.UPSTREAM_IDLE_TIMEOUT,
                f"The upstream sent nothing for {self._timeouts.idle:g} seconds in the middle of its reply.",
            )
        raise Failure(
            FailureKind.UPSTREAM_FIRST_TOKEN_TIMEOUT,
            f"The upstream sent no output within {self._timeouts.first_token:g} seconds.",
        )

    async def _end(self, failure: Failure | None, *, is_closed_by_client: bool) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        record, translator = self._record, self._translator
        record.usage = translator.usage
        record.finish = translator.finish.value if translator.finish is not None else None
        if failure is not None:
            _end_attempt(self._attempt, failure)
            record.finish_request(status=200, failure=failure)
        elif is_closed_by_client:
            self._attempt.end("cancelled")
            record.finish_request(status=CLIENT_CLOSED_REQUEST)
        else:
            self._attempt.end("ok")
            record.finish_request(status=200)
            # The body's own end is still to be read, for the connection to serve again;
            # the client does not wait for that.
            task = asyncio.create_task(_drain(self._response))
            _drains.add(task)
            task.add_done_callback(_drains.discard)
            return
        await self._response.close()


async def _drain(response: WireResponse) -> None:
    try:
        for _ in range(16):
            if not await response.read_piece(_DRAIN_SECONDS):
                break
    except (Failure, TimeoutError):
        pass
    finally:
        await response.close()


def _open(inbound: Inbound, model: ModelRow, candidate: Candidate, record: Record) -> Exchange:
    deployment, credential = candidate.deployment, candidate.credential
    if credential is None and deployment.provider.requires_key:
        raise _without_key(deployment.provider)
    exchange = open_exchange(
        inbound,
        model,
        deployment,
        secret=credential.secret.reveal() if credential is not None else None,
        options=_options,
    )
    record.ignored = exchange.ignored
    return exchange


def _without_key(provider: ProviderRow) -> Failure:
    variable = KINDS[provider.kind].key_variable
    remedy = f"set {variable} in the environment or .env and restart, or " if variable else ""
    return Failure(
        FailureKind.PROVIDER_NOT_CONFIGURED,
        f"The provider `{provider.name}` has no API key yet. The operator can {remedy}"
        f"add a provider key in the admin (/admin/routing/provider/).",
    )


def _name(deployment: DeploymentRow) -> str:
    return f"{deployment.provider.name}/{deployment.upstream_id}"


def _transport(provider: ProviderRow) -> Transport:
    return _demo if provider.kind == "demo" else transport.current()


def _timeouts(provider: ProviderRow) -> Timeouts:
    return Timeouts(
        connect=provider.connect_timeout or settings.UPSTREAM_CONNECT_TIMEOUT,
        headers=provider.headers_timeout or settings.UPSTREAM_HEADERS_TIMEOUT,
        first_token=provider.first_token_timeout or settings.UPSTREAM_FIRST_TOKEN_TIMEOUT,
        idle=provider.idle_timeout or settings.UPSTREAM_IDLE_TIMEOUT,
        total=provider.total_timeout or settings.UPSTREAM_TOTAL_TIMEOUT,
    )


def _note_response(attempt: Attempt, response: WireResponse) -> None:
    attempt.upstream_status = response.status
    attempt.upstream_request_id = response.headers.get("request-id") or response.headers.get("x-request-id")


def _end_attempt(attempt: Attempt, failure: Failure) -> Failure:
    attempt.end(failure.kind.value)
    return failure


async def _read_failure(exchange: Exchange, response: WireResponse) -> Failure:
    body = await response.read(_MAX_ERROR_BYTES)
    return exchange.read_failure(response.status, response.headers, body, now=time.time())
