"""A reply that is sent piece by piece, as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from api.response import ApiResponse
from api.services.reply_stream import Client


class Frames(Protocol):
    def __aiter__(self) -> AsyncIterator[bytes]: ...

    @property
    def is_finished(self) -> bool:
        """Nothing comes behind the frame that came last, or, of a stream that fails, nothing of its reply."""
        ...

    def attach(self, client: Client) -> None:
        """Write to `client` from now on. What was held until now still comes from the iteration first."""
        ...

    async def aclose(self) -> None: ...


class EventStream(ApiResponse):
    """Server-sent events. The lane sends each item of `frames` at once and closes `frames` whatever happens.

    Where it can, it attaches the client's connection to `frames`, which then write to it themselves.

    The headers keep proxies and caches from holding pieces back (nginx reads X-Accel-Buffering).
    """

    def __init__(self, frames: Frames, headers: Mapping[str, str]) -> None:
        super().__init__(
            b"",
            headers={
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-cache, no-transform",
                "x-accel-buffering": "no",
                **headers,
            },
        )
        self.frames = frames
