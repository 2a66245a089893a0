"""The fake upstream itself: a thread with an event loop and a listening socket on 127.0.0.1.

Owns scripts, the record of what arrived, and the listener; what a reply says is made in
`answers.py`, how it is written in `playback.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.fake_upstream.answers import Answers
from tests.fake_upstream.behaviours import Answer, Behaviour, IfValid, Json, golden
from tests.fake_upstream.connection import Connection
from tests.fake_upstream.gates import Pace
from tests.fake_upstream.journal import Journal
from tests.fake_upstream.playback import Ending, Playback, Sink
from tests.fake_upstream.recorded import RecordedRequest
from tests.fake_upstream.tls import make_server_context

OnRequest = Callable[[RecordedRequest], Behaviour | None]


@dataclass(slots=True)
class _Scripted:
    behaviour: Behaviour
    path: str
    left: int | None
    """How many requests it still answers; None: every one."""


class FakeUpstream(Journal):
    """`with FakeUpstream() as upstream:` OpenAI's and Anthropic's APIs on a free port.

    A request is answered by the first scripted behaviour that fits its path, else by what
    `on_request` returns, else like the real API would. Leaving the block raises if the
    server itself failed at something, so that its mistakes cannot pass for the proxy's.
    """

    def __init__(self, *, port: int = 0, tls: bool = False) -> None:
        super().__init__()
        self.answers = Answers()
        self.pace = Pace()
        self.on_request: OnRequest | None = None
        self.certificate_pem = ""
        self._ssl: ssl.SSLContext | None = None
        if tls:
            self._ssl, self.certificate_pem = make_server_context()
        self._port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._listener: asyncio.Server | None = None
        self._scripts: list[_Scripted] = []
        self._errors: list[BaseException] = []
        self._rejecting: bool | None = None

    # --- life -----------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._errors and error is None:
            raise AssertionError("the fake upstream failed by itself") from self._errors[0]

    def start(self) -> None:
        ready = threading.Event()

        def run() -> None:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                ready.set()
                self._loop.run_forever()

        self._thread = threading.Thread(target=run, name="fake-upstream", daemon=True)
        self._thread.start()
        ready.wait()
        self._call(self._listen(_bound_socket(self._port)))

    def close(self) -> None:
        if self._loop is None or self._thread is None:
            return
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop = self._thread = None

    def reset(self) -> None:
        """Forget scripts, records and settings; replies still under way are cut off, idle connections stay."""
        self._call(self._abandon_replies())
        self.pace.reset()
        self.on_request = None
        self.answers.reset()
        with self._news:
            self._scripts.clear()
        self.forget()

    # --- addresses ------------------------------------------------------------------

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"{'https' if self._ssl else 'http'}://127.0.0.1:{self._port}"

    @property
    def openai_url(self) -> str:
        """A base URL as OpenAI's clients take it, `/v1` included."""
        return f"{self.url}/openai/v1"

    @property
    def anthropic_url(self) -> str:
        """A base URL as Anthropic's clients take it, without `/v1`."""
        return f"{self.url}/anthropic"

    # --- scripts --------------------------------------------------------------------

    def script(self, *behaviours: Behaviour, path: str = "", times: int = 1) -> None:
        """Queue behaviours for the next requests whose path starts with `path`, each `times` times."""
        with self._news:
            self._scripts += [_Scripted(behaviour, path, times) for behaviour in behaviours]

    def always(self, behaviour: Behaviour, path: str = "") -> None:
        """Answer so from now on, until `reset`."""
        with self._news:
            self._scripts.append(_Scripted(behaviour, path, None))

    def play_golden(
        self, data: bytes | dict[str, Any] | list[Any], path: str = "", *, strict: bool = True
    ) -> None:
        """Queue a recorded reply: SSE bytes, a JSON object, or a list of events.

        It plays to a request that the real API would take; with `strict` off, to any.
        """
        reply = golden(data)
        self.script(IfValid(reply) if strict else reply, path=path)

    @property
    def scripts_left(self) -> int:
        """Queued behaviours that no request has used up."""
        with self._news:
            return sum(entry.left or 0 for entry in self._scripts)

    @property
    def errors(self) -> list[BaseException]:
        """What the server itself failed at."""
        return list(self._errors)

    # --- settings of the APIs -------------------------------------------------------

    @property
    def retired_models(self) -> set[str]:
        """Model ids that answer 404; add to it."""
        return self.answers.settings.retired_models

    @property
    def reject_unknown_arguments(self) -> bool:
        """Whether OpenAI's side refuses top-level fields that its API does not know."""
        return self.answers.settings.reject_unknown_arguments

    @reject_unknown_arguments.setter
    def reject_unknown_arguments(self, value: bool) -> None:
        self.answers.settings.reject_unknown_arguments = value

    @property
    def verify_signatures(self) -> bool:
        """Whether Anthropic's side insists on thinking blocks of its own issue."""
        return self.answers.settings.verify_signatures

    @verify_signatures.setter
    def verify_signatures(self, value: bool) -> None:
        self.answers.settings.verify_signatures = value

    @property
    def accept_key(self) -> Callable[[str], bool]:
        """Which provider keys are good; at first, those that start with `test-`."""
        return self.answers.settings.accept_key

    @accept_key.setter
    def accept_key(self, value: Callable[[str], bool]) -> None:
        self.answers.settings.accept_key = value

    # --- the listener ---------------------------------------------------------------

    @contextlib.contextmanager
    def refuse_connections(self, *, accept: bool = False, reset: bool = False) -> Iterator[None]:
        """Refuse new connections and end the open ones; with `accept`, take them and close them at once.

        A reset upon accepting may reach the client within its connect call or at its first read.
        """
        # First of all, so that connections which the loop is just accepting end, too.
        self._rejecting = reset
        placeholder: socket.socket | None = None
        try:
            if not accept:
                self._call(self._stop_listening())
                # Bound but not listening: the port stays ours, and connecting to it is refused.
                placeholder = _bound_socket(self._port)
            self._call(self._end_connections(reset=reset))
            yield
        finally:
            self._rejecting = None
            if placeholder:
                self._call(self._listen(placeholder))

    def close_connections(self, *, reset: bool = False) -> None:
        """End all connections, busy or idle, from the server's side."""
        self._call(self._end_connections(reset=reset))

    # --- in the loop: the listener --------------------------------------------------

    async def _listen(self, bound: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: Connection(self, self._reply), sock=bound, ssl=self._ssl, backlog=512
        )
        self._port = bound.getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._listener:
            self._listener.close()
            self._listener = None
            await asyncio.sleep(0)

    async def _stop(self) -> None:
        await self._stop_listening()
        await self._end_connections(reset=False)

    async def _end_connections(self, *, reset: bool) -> None:
        for connection in list(self._connections):
            connection.close(reset=reset)
        await self._until_gone(set(self._connections))

    async def _abandon_replies(self) -> None:
        busy = {connection for connection in self._connections if connection.is_replying}
        for connection in busy:
            connection.close(reset=True)
        await self._until_gone(busy)

    async def _until_gone(self, connections: set[Connection]) -> None:
        deadline = time.monotonic() + 1.0
        while connections & self._connections and time.monotonic() < deadline:
            await asyncio.sleep(0.001)
        for connection in connections & self._connections:  # a peer that does not read
            connection.close(reset=True)
        while connections & self._connections:
            await asyncio.sleep(0.001)

    # --- in the loop: what connections ask for --------------------------------------

    def connection_opened(self, connection: Connection) -> int:
        number = self.note_opened(connection)
        if self._rejecting is not None:
            connection.close(reset=self._rejecting)
        return number

    def broke(self, error: BaseException) -> None:
        self._errors.append(error)

    async def _reply(self, request: RecordedRequest, sink: Sink, keep_alive: bool) -> Ending:
        try:
            behaviour = self._choose(request)
            rendered = behaviour.render(request, self.answers)
        except Exception as error:
            self.broke(error)
            behaviour = Json(500, {"error": {"message": f"the fake upstream itself failed: {error!r}"}})
            rendered = behaviour.render(request, self.answers)
        return await Playback(sink, rendered, behaviour.faults, self.pace, keep_alive=keep_alive).run()

    def _choose(self, request: RecordedRequest) -> Behaviour:
        with self._news:
            for entry in self._scripts:
                if request.path.startswith(entry.path):
                    if entry.left is not None:
                        entry.left -= 1
                        if entry.left == 0:
                            self._scripts.remove(entry)
                    return entry.behaviour
        chosen = self.on_request(request) if self.on_request else None
        return chosen or Answer()

    # --- between the threads --------------------------------------------------------

    def _call(self, work: Any) -> None:
        assert self._loop is not None, "the fake upstream is not running"
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)


def _bound_socket(port: int) -> socket.socket:
    # The protocol is named because asyncio sets TCP_NODELAY only where it reads IPPROTO_TCP,
    # and without it every reply written in two parts comes 40 ms late.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound
