"""The client's connection, as one request has it: what the lane asks of whichever server there is.

Our own server (proxy_site/direct_cycle.py) answers at once and without ASGI's messages.
`AsgiConnection` is the same over any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class ClientGone(Exception):
    """The client closed its connection before its request was whole. There is nobody to answer."""


class OpenAnswer(Protocol):
    """An answer that goes out frame by frame, its head with the first."""

    def write(self, frame: bytes) -> bool:
        """Send a frame. False: there is more on its way than the client reads, see `drain`."""
        ...

    async def drain(self) -> None:
        """Until the client has read enough of it."""
        ...

    def end(self, frame: bytes) -> None:
        """Send the last frame, which may be empty, and say that it was."""
        ...


class Connection(Protocol):
    """What takes effect here does so at once; only `receive` and `send`, ASGI's own, wait."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str:
        """Decoded, without its query."""
        ...

    @property
    def query(self) -> bytes: ...

    @property
    def fields(self) -> Sequence[tuple[bytes, bytes]]:
        """The headers in their order. Names may be in any case."""
        ...

    @property
    def scope(self) -> dict[str, Any]:
        """All of it, as ASGI says it."""
        ...

    @property
    def is_abandoned(self) -> bool:
        """The client has hung up, and the task that serves it was cancelled to say so."""
        ...

    def take_body(self) -> bytes | None:
        """The whole body; None where some of it has not come yet: `receive` waits for that."""
        ...

    async def receive(self) -> Any: ...

    async def send(self, message: Any) -> None: ...

    def watch(self) -> None:
        """From now on, until `finish`, a client that hangs up cancels the task that serves it."""
        ...

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        """Send a whole answer; its length is told beside `headers`.

        False: nothing was sent, and `send` must. The client may still have to read what it
        got before.
        """
        ...

    def begin_answer(self, status: int, headers: Mapping[str, str]) -> OpenAnswer | None:
        """Begin an answer that goes out frame by frame. None, as in `answer`: `send` must."""
        ...

    def finish(self) -> None:
        """The task that served the request is at its end."""
        ...


class AsgiConnection:
    """Over ASGI's messages. Nothing can be taken or sent without waiting."""

    def __init__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.fields: Sequence[tuple[bytes, bytes]] = scope["headers"]
        self.receive = receive
        self.send = send
        self.is_abandoned = False
        self._watcher: asyncio.Task[None] | None = None

    def take_body(self) -> None:
        return None

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        return False

    def begin_answer(self, status: int, headers: Mapping[str, str]) -> None:
        return None

    def watch(self) -> None:
        self._watcher = asyncio.create_task(self._watch(asyncio.current_task()))

    async def _watch(self, task: asyncio.Task[Any] | None) -> None:
        # With the body read, the only message left is that the client hung up.
        message = await self.receive()
        if message["type"] == "http.disconnect" and task is not None:
            self.is_abandoned = True
            task.cancel()

    def finish(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
