"""A stream that was opened before it had anything to say, because its client had waited long enough.

Only comments go out until the first output: until then a failing upstream is replaced
by another as if nothing had been sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from django.conf import settings

from api.services import dispatch, lifecycle
from api.services.pursuit import Pursuit, is_refused
from api.services.recording import CLIENT_CLOSED_REQUEST, Record
from api.services.reply_stream import Client, ReplyStream
from api.services.translation.dialects.openai_chat.failures import encode_stream_failure
from api.services.translation.failures import Failure
from api.services.translation.sse import comment


class EarlyStream:
    """The client's frames: iterate it once, and close it whatever happens."""

    def __init__(self, stream: ReplyStream, pursuit: Pursuit, record: Record) -> None:
        self._stream = stream
        self._pursuit = pursuit
        self._record = record
        self._client: Client | None = None
        self._frames = self._read_frames()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._frames

    @property
    def is_finished(self) -> bool:
        return self._stream.is_finished

    def attach(self, client: Client) -> None:
        """Write to `client` once there is output. Comments still come from the iteration."""
        self._client = client

    async def aclose(self) -> None:
        """Let go of the upstream. Closed before its end, the request counts as cancelled by the client."""
        await self._frames.aclose()
        # A generator that was never started runs no `finally`.
        await self._stream.aclose()
        self._record.finish_request(status=CLIENT_CLOSED_REQUEST)

    async def _read_frames(self) -> AsyncGenerator[bytes, None]:
        # It opened for want of output: the client, and all on the way, hear that it lives.
        yield comment("keep-alive")
        search = asyncio.create_task(self._find_output())
        try:
            while not (await asyncio.wait((search,), timeout=settings.KEEPALIVE_INTERVAL))[0]:
                yield comment("keep-alive")
            await search
        except Failure as failure:
            self._record.finish_request(status=200, failure=failure)
            yield encode_stream_failure(failure)
            return
        except asyncio.CancelledError:
            ending = lifecycle.claim_cancellation()
            if ending is None:
                raise
            await _stop(search)
            self._record.finish_request(status=200, failure=ending)
            yield encode_stream_failure(ending)
            return
        finally:
            await _stop(search)
        if self._client is not None:
            self._stream.attach(self._client)
        async for frame in self._stream:
            yield frame

    async def _find_output(self) -> None:
        """Wait for the first output of this upstream, or of those that are asked after it failed."""
        pursuit = self._pursuit
        while not self._stream.has_output:
            deployment = pursuit.deployment
            assert deployment is not None, "a stream that is open came from somewhere"
            try:
                await dispatch.wait_output(self._stream, deployment, self._record, pursuit.deadline)
            except Failure as failure:
                self._replace(await pursuit.after_failure(failure))
                continue
            if is_refused(self._stream, self._record):
                self._replace(await pursuit.after_refusal(self._stream))

    def _replace(self, reply: bytes | ReplyStream) -> None:
        assert isinstance(reply, ReplyStream), "a request for a stream is answered by one"
        self._stream = reply


async def _stop(task: asyncio.Task[None]) -> None:
    """Cancel, and wait until all that it held is free."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()  # Seen: it was told, or came too late to be.
