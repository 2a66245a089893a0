"""An upstream's stream on its way to the client: waiting, keep-alive, continuation, the end.

Once there is output, a piece goes from the upstream's socket through the translator to
the client's within one call from the event loop. The task that serves the request sleeps
meanwhile, and wakes where there is something to decide: silence, a slow client, a pause,
a failure, the end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

from django.conf import settings

from api.services import lifecycle, upstream
from api.services.exchange import MAX_CONTINUATIONS, Exchange
from api.services.recording import CLIENT_CLOSED_REQUEST, Attempt, Record
from api.services.translation.conversation import FinishReason
from api.services.translation.dialects.openai_chat.failures import encode_stream_failure
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.sse import comment
from api.services.translation.usage import Usage
from api.services.wire import Timeouts, WireResponse
from routing.domain.table import ProviderRow

_DRAIN_SECONDS = 2.0
_REST_BYTES = 64 * 1024

_drains: set[asyncio.Task[None]] = set()


class Client(Protocol):
    """Where frames can go without a task that carries them."""

    def write(self, frame: bytes) -> bool:
        """Send a frame. False: there is more on its way than the client reads, see `drain`."""
        ...

    async def drain(self) -> None:
        """Until the client has read enough of it."""
        ...


class ReplyStream:
    """An upstream's stream on its way to the client: iterate it once, and close it whatever happens.

    With a client attached, the iteration yields only what was not written to it already.
    """

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
        self._client: Client | None = None
        self._held: list[bytes] = []
        self._translating = 0.0
        self._frames = self._read_frames()
        self._is_ended = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._frames

    def attach(self, client: Client) -> None:
        """Write to `client` from now on. What was held until now still comes from the iteration first."""
        self._client = client

    async def aclose(self) -> None:
        """Let go of the upstream. Closed before its end, the request counts as cancelled by the client."""
        await self._frames.aclose()
        # A generator that was never started runs no `finally`.
        await self._end(None, is_closed_by_client=True)

    async def release(self) -> None:
        """Let go of the upstream without a word, for a stream that never began."""
        self._is_ended = True
        await self._response.close()

    @property
    def has_output(self) -> bool:
        """Whether there is anything to send. Until then another upstream may still answer."""
        return self._translator.has_output

    @property
    def is_finished(self) -> bool:
        """The reply was read to its end: what is handed out now is the last of it."""
        return self._translator.is_finished

    @property
    def finish(self) -> FinishReason | None:
        """How the reply ended, as far as it was read."""
        return self._translator.finish

    @property
    def usage(self) -> Usage | None:
        """What was counted, as far as it was read."""
        return self._translator.usage

    async def wait_output(self, seconds: float) -> None:
        """Read until there is output to send, or `seconds` have passed since the request went out.

        Raises:
            Failure: the stream failed before it said anything.
        """
        content_type = self._response.headers.get("content-type", "")
        if content_type.startswith("text/html"):
            raise Failure(
                FailureKind.UPSTREAM_INVALID_RESPONSE,
                "The upstream answered with a web page instead of a stream. "
                "The operator checks the provider's base URL.",
            )
        if content_type.startswith("application/json"):
            # The upstream does not stream: the client gets a stream of the whole reply.
            async with asyncio.timeout(self._timeouts.total):
                body = await self._response.read(settings.MAX_REPLY_BYTES)
            self._hold(self._translator.feed_unstreamed(body))
        while not self._translator.has_output:
            left = self._began + seconds - time.perf_counter()
            if left <= 0:
                return
            try:
                await self._read(left)
            except TimeoutError:
                continue

    async def _read_frames(self) -> AsyncGenerator[bytes, None]:
        """What the client gets. Ends with an error event where the upstream fails."""
        failure: Failure | None = None
        is_closed_by_client = True
        opened, self._translating = time.perf_counter(), 0.0
        try:
            if not self._translator.has_output:
                # It opened for want of output: the client, and all on the way, hear that it lives.
                yield comment("keep-alive")
            while True:
                if self._held and self._translator.has_output:
                    pieces, self._held = self._held, []
                    yield pieces[0] if len(pieces) == 1 else b"".join(pieces)
                    # While the client took its time, nobody listened: that was no silence.
                    self._last_piece = time.perf_counter()
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
        except asyncio.CancelledError:
            failure = lifecycle.claim_cancellation()
            if failure is None:
                raise
            is_closed_by_client = False
            yield encode_stream_failure(failure)
        finally:
            # Open, a stream waits for its upstream and its client; only the translation is ours.
            self._record.upstream_seconds += time.perf_counter() - opened - self._translating
            await self._end(failure, is_closed_by_client=is_closed_by_client)

    async def _read(self, seconds: float) -> None:
        """Take what comes, until there is something to send or to decide.

        Raises:
            TimeoutError: nothing came for `seconds`, and the upstream may still take its time.
            Failure: the upstream failed, or its time is up.
        """
        await self._continue_if_paused()
        if self._translator.is_finished:
            return
        client = self._client if self._translator.has_output and not self._held else None
        take = self._hold_piece if client is None else self._pass_piece
        try:
            is_ended = await self._response.pour(take, min(seconds, self._patience()))
        except TimeoutError:
            self._check_patience()
            raise
        except Failure:
            # A reply that was complete before the connection broke is complete all the same.
            out = self._translator.close()
            if not self._translator.is_finished:
                raise
            self._hold(out)
            return
        if is_ended:
            self._hold(self._translator.close())
        elif self._translator.failure is not None:
            raise self._translator.failure
        elif client is not None:
            await client.drain()
            self._last_piece = time.perf_counter()

    def _hold_piece(self, piece: bytes) -> bool:
        translator = self._translator
        self._last_piece = time.perf_counter()
        out = translator.feed(piece)
        self._translating += time.perf_counter() - self._last_piece
        if out:
            self._held.append(out)
        if translator.has_output and self._record.first_output is None:
            self._record.first_output = time.perf_counter()
        return False  # Until there is output, patience counts from the request, not from the last piece.

    def _pass_piece(self, piece: bytes) -> bool:
        """Called for every piece of every stream: each line of it counts."""
        translator = self._translator
        self._last_piece = began = time.perf_counter()
        out = translator.feed(piece)
        if translator.is_finished:
            # The last frames go out with what ends the answer, in one piece.
            self._hold(out)
            is_read = False
        else:
            is_read = self._client.write(out) if out else True  # type: ignore[union-attr]
        self._translating += time.perf_counter() - began
        return is_read and translator.failure is None and translator.paused_content is None

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
        response = await upstream.send(following, self._provider, self._timeouts, self._attempt)
        if response.status != 200:
            raise await upstream.read_failure(following, response, self._timeouts)
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
            if failure.kind is FailureKind.SHUTTING_DOWN:
                upstream.abandon_attempt(self._attempt, "cancelled")
            else:
                upstream.fail_attempt(self._attempt, failure)
            record.finish_request(status=200, failure=failure)
        elif is_closed_by_client:
            upstream.abandon_attempt(self._attempt, "cancelled")
            record.finish_request(status=CLIENT_CLOSED_REQUEST)
        else:
            upstream.finish_attempt(self._attempt, record.first_output)
            record.finish_request(status=200)
            if self._response.take_whole(_REST_BYTES) is not None:
                return
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
