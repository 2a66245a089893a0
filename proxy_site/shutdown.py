"""uvicorn's server, with an end that loses nothing.

Owns what happens between the first signal and the end of the process: load balancers are
told, then nothing is accepted any more, open requests finish, the last of them are ended
in words. Connections that are idle stay open until they have been quiet for a while: a
client may have sent its next request already.

It overrides methods that uvicorn does not document: `tests/server/test_drain.py` watches
them over real sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, Final, cast

import uvicorn
from django.conf import settings

from api.services import lifecycle
from proxy_site.http_protocol import BoundedProtocol

logger = logging.getLogger("patchbay.server")

_TICK: Final = 0.05
_GOODBYE_SECONDS: Final = 3.0
"""How long cancelled requests may take for their last words, slow clients included."""
_SHUTDOWN_SECONDS: Final = 5.0
"""How long the application may take to put its own things away."""

_ACCEPTED_PER_TURN: Final = 16


def _accepted_per_turn() -> int:
    """How many listening handles there are on one socket, so that as many connections are accepted at once.

    libuv accepts a single one with each in a turn of its loop, and the turns of a busy
    loop are long: of 1,000 clients that come together, the last would wait for a
    thousand of them. Workers that listen to the same socket leave each other their share.
    """
    return max(1, _ACCEPTED_PER_TURN // settings.WEB_CONCURRENCY)


class GracefulServer(uvicorn.Server):
    """`quiet` is how many seconds an idle connection is still listened to.

    SIGTERM and SIGINT begin the end, a second one of them (SIGQUIT always) cuts it short.
    Where a supervisor looks after this process, only SIGTERM counts, however often it
    comes: a terminal or systemd sends every signal to both.
    """

    def __init__(
        self, config: uvicorn.Config, *, drain_delay: float, quiet: float = 1.0, is_supervised: bool = False
    ) -> None:
        super().__init__(config)
        self._drain_delay = drain_delay
        self._quiet = quiet
        self._is_supervised = is_supervised
        self._told_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin_end(self, *, delay: float | None = None) -> None:
        """Stop as SIGTERM does, after `delay` seconds instead of DRAIN_DELAY; once, whoever says it."""
        if self.should_exit:
            return
        if delay is not None:
            self._drain_delay = delay
        self.should_exit = True
        self._told_at = time.monotonic()
        lifecycle.advance(lifecycle.Phase.DRAINING)
        if self._loop is not None:
            # From a signal handler: the loop may be in the middle of anything.
            self._loop.call_soon_threadsafe(self._close_after_answers)

    # What uvicorn calls.

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        # Not listener.dup(): that makes a listener blocking which other workers accept from already, and
        # one of them then waits in accept() with a client in hand.
        more = [
            socket.socket(fileno=os.dup(listener.fileno()))
            for listener in sockets or ()
            for _ in range(_accepted_per_turn() - 1)
        ]
        await super().startup(sockets=[*sockets, *more] if sockets else None)

    async def main_loop(self) -> None:
        await super().main_loop()
        counter = 0
        while not self.force_exit and time.monotonic() < self._told_at + self._drain_delay:
            await self.on_tick(counter)
            counter += 1
            await asyncio.sleep(0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._stop_accepting(sockets or [])
        self._close_after_answers()
        grace = self.config.timeout_graceful_shutdown
        await self._wait_for_requests(time.monotonic() + (grace if grace is not None else float("inf")))
        await self._end_requests()
        await self._close_connections()
        try:
            async with asyncio.timeout(0.5 if self.force_exit else _SHUTDOWN_SECONDS):
                await self.lifespan.shutdown()
        except TimeoutError:
            logger.warning("The process ends although not everything could be put away in time.")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers: dict[signal.Signals, Any] = {
            signal.SIGTERM: self.handle_exit,
            signal.SIGQUIT: self.handle_exit,
            signal.SIGINT: signal.SIG_IGN if self._is_supervised else self.handle_exit,
        }
        if self._is_supervised:
            handlers[signal.SIGHUP] = signal.SIG_IGN
        elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # `nohup` ignores it.
            handlers[signal.SIGHUP] = self.handle_exit
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGQUIT or (self.should_exit and not self._is_supervised):
            self.force_exit = True
        self.begin_end()

    # The steps of the end.

    def _connections(self) -> list[BoundedProtocol]:
        return cast(list[BoundedProtocol], list(self.server_state.connections))

    def _close_after_answers(self) -> None:
        for connection in self._connections():
            connection.close_after_answer()

    async def _stop_accepting(self, sockets: Sequence[socket.socket]) -> None:
        """Close the listener. Who has connected already, and was not accepted yet, is served all the same."""
        waiting = [listener.dup() for listener in sockets]
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for listener in waiting:
            with contextlib.suppress(BlockingIOError), listener:
                while True:
                    accepted, _ = listener.accept()
                    accepted.setblocking(False)
                    await loop.connect_accepted_socket(self._make_protocol, accepted)
        for listener in sockets:
            listener.close()

    def _make_protocol(self) -> asyncio.Protocol:
        protocol: Any = self.config.http_protocol_class
        return cast(
            asyncio.Protocol,
            protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state),
        )

    async def _wait_for_requests(self, deadline: float) -> None:
        """Until every request is answered and every idle connection was quiet, or the grace is over."""
        quiet_since: dict[BoundedProtocol, tuple[object, float]] = {}
        while not self.force_exit:
            now = time.monotonic()
            self._close_quiet(quiet_since, now)
            if (not self.server_state.connections and not self.server_state.tasks) or now >= deadline:
                return
            await asyncio.sleep(_TICK)

    def _close_quiet(self, quiet_since: dict[BoundedProtocol, tuple[object, float]], now: float) -> None:
        for connection in self._connections():
            if not connection.is_idle():
                continue
            # Another cycle than at the last look: it was not idle all the time.
            cycle, since = quiet_since.get(connection, (None, now))
            if connection not in quiet_since or cycle is not connection.cycle:
                quiet_since[connection] = (connection.cycle, now)
                since = now
            if now - since >= self._quiet:
                connection.transport.close()

    async def _end_requests(self) -> None:
        """Cancel what is still open; the lane answers for each (lifecycle.claim_cancellation).

        Who sends a next request meanwhile, behind a stream that had no way to say that
        there will be none, is answered too.
        """
        if not self.server_state.tasks:
            return
        logger.warning("%d requests are ended unfinished: the process stops.", len(self.server_state.tasks))
        lifecycle.advance(lifecycle.Phase.ENDING)
        end = time.monotonic() + (0.5 if self.force_exit else _GOODBYE_SECONDS)
        quiet_since: dict[BoundedProtocol, tuple[object, float]] = {}
        cancelled: set[asyncio.Task[Any]] = set()
        while (now := time.monotonic()) < end and (self.server_state.tasks or self.server_state.connections):
            tasks = set(self.server_state.tasks)
            # A task that was never begun could not answer: whoever came just now begins first.
            await asyncio.sleep(0)
            for task in tasks - cancelled:
                task.cancel()
            cancelled |= tasks
            self._close_quiet(quiet_since, now)
            await asyncio.sleep(_TICK)

    async def _close_connections(self) -> None:
        for connection in self._connections():
            connection.transport.close()
        end = time.monotonic() + 1.0
        while self.server_state.connections and time.monotonic() < end:
            await asyncio.sleep(_TICK)  # What was written last goes out.
        for connection in self._connections():
            connection.transport.abort()
