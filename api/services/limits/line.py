"""The one conversation of a process with Valkey: operations go out in batches, never two batches at once.

Under load, what comes together travels together, so a request costs less the more there
are. Owns the timeouts, the loss of Valkey and its return. Knows nothing of limits but
the script that counts them: limits.lua.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from api.services.valkey_client import open_client

logger = logging.getLogger("patchbay.limits")

_SCRIPT: Final = Path(__file__).with_name("limits.lua").read_text(encoding="utf-8")
# Valkey does nothing else while the script runs: about a millisecond at most.
_BATCH: Final = 64
_MAX_WAITING: Final = 10_000
_PROBE_KEY: Final = "patchbay:limits:probe"


class Away(Exception):
    """Valkey gave no answer in time, or gave none lately."""


@dataclass(slots=True, eq=False)
class Operation:
    """One entry of the script's list; see limits.lua for what each name does."""

    name: str
    subject: str | int
    keys: Sequence[str]
    measures: Sequence[str] = ()
    limits: Sequence[int] = ()
    answer: asyncio.Future[list[int]] | None = None


class Line:
    """`ask` waits for an answer, `post` never waits. `on_back` is called when Valkey answers again."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        pause: float,
        slot_life: float,
        on_back: Callable[[], None],
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.is_away = False
        self._timeout = timeout
        self._pause = pause
        self._slot_life = round(slot_life * 1_000_000)
        self._on_back = on_back
        self._clock = clock
        # The time is kept in `_send`.
        self._client = open_client(url, connect_timeout=timeout)
        self._script = self._client.register_script(_SCRIPT)
        self._waiting: deque[Operation] = deque()
        self._has_work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def backlog(self) -> int:
        return len(self._waiting)

    async def ask(self, operation: Operation) -> list[int]:
        """What the script reports of an `acquire`.

        Cancelled or too late, a slot that was taken after all is given back.

        Raises:
            Away: there is no answer. Known to be away, Valkey is not even asked.
        """
        if self.is_away:
            raise Away
        answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        operation.answer = answer
        self._put(operation)
        try:
            async with asyncio.timeout(self._timeout):
                return await answer
        except TimeoutError:
            raise Away from None

    def post(self, operation: Operation) -> None:
        """Send when there is time. While Valkey is away only releases are kept: all else has its moment."""
        if (self.is_away and operation.name != "release") or len(self._waiting) >= _MAX_WAITING:
            return
        self._put(operation)

    async def close(self) -> None:
        """Send what waits, if that works within the timeout, then hang up."""
        if self._task is not None:
            with contextlib.suppress(Away):
                await self.ask(Operation("acquire", "", ()))
            self._task.cancel()
            await asyncio.wait([self._task], timeout=self._timeout)
        await self._client.aclose()

    def _put(self, operation: Operation) -> None:
        self._waiting.append(operation)
        self._has_work.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self._has_work.wait()
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            if not self._waiting:
                self._has_work.clear()
            try:
                self._deliver(batch, await self._send(batch))
            # Whatever the client library raises, and the server's own errors: read-only, out
            # of memory, wrong password. A request cannot do anything about any of them.
            except Exception as error:
                self._lose(error, batch)
                await self._wait_until_back()

    async def _send(self, batch: Sequence[Operation]) -> list[list[int]]:
        places: dict[str, int] = {}
        operations = [
            (
                operation.name,
                operation.subject,
                [places.setdefault(key, len(places) + 1) for key in operation.keys],
                operation.measures,
                operation.limits,
            )
            for operation in batch
        ]
        now = b"" if self._clock is None else self._clock()
        async with asyncio.timeout(self._timeout):
            reply = await self._script(
                keys=list(places), args=[orjson.dumps(operations), self._slot_life, now]
            )
        reports: list[list[int]] = orjson.loads(reply)
        return reports

    def _deliver(self, batch: Sequence[Operation], answers: Sequence[list[int]]) -> None:
        reports = iter(answers)
        for operation in batch:
            if operation.answer is None:
                continue
            report = next(reports)
            if not operation.answer.done():
                operation.answer.set_result(report)
            elif report[0]:  # Nobody waits for it any more.
                self.post(Operation("release", operation.subject, operation.keys))

    def _lose(self, error: Exception, batch: Sequence[Operation]) -> None:
        self.is_away = True
        logger.error(
            "Valkey is away (%s: %s). LIMITS_WITHOUT_VALKEY says what happens to requests until it is back.",
            type(error).__name__,
            str(error) or f"no answer within {self._timeout:g} s",
        )
        waiting = [*batch, *self._waiting]
        self._waiting.clear()
        for operation in waiting:
            if operation.answer is not None:
                if not operation.answer.done():
                    operation.answer.set_exception(Away())
            else:
                # Counting tokens again could count them twice; giving a slot back again does no harm.
                self.post(operation)

    async def _wait_until_back(self) -> None:
        since = time.monotonic()
        while self.is_away:
            await asyncio.sleep(self._pause)
            try:
                # A write: a server that only lets itself be read is of no use.
                await self._send([Operation("settle", 0, (_PROBE_KEY,))])
            except Exception as error:
                logger.debug("Valkey is still away (%s: %s).", type(error).__name__, error)
            else:
                self.is_away = False
        logger.warning("Valkey is back after %.1f s: limits are shared again.", time.monotonic() - since)
        self._on_back()
