"""Several worker processes on one listening socket: started, looked after, replaced, ended.

Owns processes and signals, and nothing of what they serve. A worker that dies is
replaced, more slowly each time if it dies young. SIGHUP replaces all of them, one after
the other, each only when its successor is ready: they share the socket, so that no
connection is lost in between. A worker reports about once a second; one that has not for
long hangs, and is killed.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

logger = logging.getLogger("patchbay.supervisor")

# What a worker reports.
STARTING: Final = b"s"
READY: Final = b"r"
ENDING: Final = b"e"

_TICK: Final = 0.5
_START_SECONDS: Final = 60.0
"""How long a successor may take until it is ready. Then its predecessor stays."""
_SILENT_TICKS: Final = 60
"""Ticks without a report after which a worker hangs. Ticks, not seconds: if the whole machine
was suspended, nobody was silent."""
_YOUNG_SECONDS: Final = 10.0
_MAX_BACKOFF: Final = 30.0
_LAST_SECONDS: Final = 15.0
"""How long after its grace a worker that was told to stop is still waited for."""

NUMBER_VARIABLE: Final = "PATCHBAY_WORKER"
"""Tells a worker its number."""

StartWorker = Callable[[int, int], Sequence[str]]
"""The command of a worker, from the numbers of its listener and of its link."""


def worker_command(listener: int, link: int) -> list[str]:
    options = [f"-W{option}" for option in sys.warnoptions]
    return [sys.executable, *options, "-m", "proxy_site.worker", str(listener), str(link)]


class _Worker:
    """One process and what it last said."""

    def __init__(self, command: StartWorker, listener: socket.socket, number: int) -> None:
        self.number = number
        self.link, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                command(listener.fileno(), theirs.fileno()),
                pass_fds=(listener.fileno(), theirs.fileno()),
                env=os.environ | {NUMBER_VARIABLE: str(number)},
            )
        self.link.setblocking(False)
        self.started_at = time.monotonic()
        self.told_at: float | None = None
        self.is_ready = False
        self.silent_ticks = 0

    @property
    def age(self) -> float:
        return time.monotonic() - self.started_at

    def read(self) -> bool:
        """Take its reports. False: its side is closed, so it has ended or is about to."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            reports = self.link.recv(4096)
            self.silent_ticks = 0
            if READY in reports:
                self.is_ready = True
            if ENDING in reports and self.told_at is None:
                self.told_at = time.monotonic()  # By somebody else.
            return bool(reports)
        return True

    def tell(self, number: signal.Signals) -> None:
        if self.told_at is None:
            self.told_at = time.monotonic()
        self.process.send_signal(number)  # Nothing happens where it has ended already.

    def describe_end(self) -> str:
        code = self.process.returncode
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


class _Slot:
    """A place that always has a worker, or a time when it gets the next."""

    def __init__(self) -> None:
        self.worker: _Worker | None = None
        self.successor: _Worker | None = None
        self.early_ends = 0
        self.not_before = 0.0


class Supervisor:
    """`run` returns when all workers have ended: 0, or 1 where none of them could start.

    SIGTERM and SIGINT end all workers as their own SIGTERM does; a second one ends them
    at once. `patience` is how long a worker may take for that by its settings, in seconds.
    `is_ready` says whether any worker has ever been. Each worker is told a number that no
    other living one has; `on_end` is called with it when the worker has ended, before
    another gets it.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        workers: int,
        patience: float,
        command: StartWorker = worker_command,
        silent_ticks: int = _SILENT_TICKS,
        on_end: Callable[[int], None] | None = None,
    ) -> None:
        self._listener = listener
        self._command = command
        self._patience = patience
        self._silent_ticks = silent_ticks
        self._on_end = on_end
        self._slots = [_Slot() for _ in range(workers)]
        self._retired: set[_Worker] = set()
        self._to_replace: list[_Slot] = []
        self.is_ready = False
        self._status = 0
        self._stops = 0
        self._wants_replacement = False
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        wake, woken = socket.socketpair()
        for end in (wake, woken):
            end.setblocking(False)
        self._selector.register(woken, selectors.EVENT_READ)
        before = {
            number: signal.signal(number, self._handle)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        }
        earlier_wake = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            self._look_after(woken)
        finally:
            signal.set_wakeup_fd(earlier_wake)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            wake.close()
            woken.close()
        return self._status

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stops += 1
        elif number == signal.SIGHUP:
            self._wants_replacement = True

    def _look_after(self, woken: socket.socket) -> None:
        last_tick = time.monotonic()
        has_told = has_forced = False
        while True:
            if self._stops and not has_told:
                has_told = True
                self._stop()
            if self._stops > 1 and not has_forced:
                has_forced = True
                self._tell_all(signal.SIGQUIT)
                self._patience = 2.0 - _LAST_SECONDS
            if not has_told:
                if self._wants_replacement:
                    self._wants_replacement = False
                    logger.info("SIGHUP: every worker is replaced, one after the other.")
                    self._to_replace = list(self._slots)
                self._fill()
                self._replace_next()
            elif not self._workers():
                return
            for key, _ in self._selector.select(_TICK):
                if key.fileobj is woken:
                    with contextlib.suppress(BlockingIOError):
                        woken.recv(4096)
                elif not key.data.read():
                    self._selector.unregister(key.fileobj)
            self._reap(has_told)
            if time.monotonic() - last_tick >= _TICK:
                last_tick = time.monotonic()
                self._end_the_silent()

    def _workers(self) -> list[_Worker]:
        held = (worker for slot in self._slots for worker in (slot.worker, slot.successor))
        return [*(worker for worker in held if worker is not None), *self._retired]

    def _start(self, slot: _Slot) -> _Worker | None:
        """A new process; None where the machine has no room for one, to be tried again."""
        try:
            worker = _Worker(self._command, self._listener, self._free_number())
        except OSError as error:
            logger.error("A worker could not be started: %s. It is tried again.", error.strerror)
            slot.not_before = time.monotonic() + _MAX_BACKOFF
            return None
        self._selector.register(worker.link, selectors.EVENT_READ, worker)
        return worker

    def _free_number(self) -> int:
        taken = {worker.number for worker in self._workers()}
        return next(number for number in itertools.count(1) if number not in taken)

    def _fill(self) -> None:
        now = time.monotonic()
        for slot in self._slots:
            if slot.worker is None and now >= slot.not_before:
                slot.worker = self._start(slot)

    # Replacing all of them.

    def _replace_next(self) -> None:
        """One step: start a successor, or let it take over when it is ready."""
        if not self._to_replace or self._retired:
            return  # The one before is still on its way out: never more than one process too many.
        slot = self._to_replace[0]
        if slot.successor is None:
            if time.monotonic() >= slot.not_before:
                slot.successor = self._start(slot)
        elif slot.successor.is_ready:
            self._to_replace.pop(0)
            if slot.worker is not None:
                self._retire(slot.worker)
            slot.worker, slot.successor = slot.successor, None
            slot.early_ends = 0
            if not self._to_replace:
                logger.info("Every worker is replaced.")
        elif slot.successor.age > _START_SECONDS:
            logger.error(
                "A new worker was not ready within %g seconds: the old ones stay. Its own lines say why.",
                _START_SECONDS,
            )
            slot.successor.tell(signal.SIGKILL)
            self._give_up_replacing(slot)

    def _retire(self, worker: _Worker) -> None:
        self._retired.add(worker)
        worker.tell(signal.SIGTERM)

    def _give_up_replacing(self, slot: _Slot) -> None:
        if slot.successor is not None:
            self._retired.add(slot.successor)
            slot.successor = None
        self._to_replace = []

    # Ends that were not asked for, and those that were.

    def _reap(self, is_stopping: bool) -> None:
        for worker in [worker for worker in self._workers() if worker.process.poll() is not None]:
            # What it said last: it may have been ready and have ended since.
            worker.read()
            self.is_ready = self.is_ready or worker.is_ready
            with contextlib.suppress(KeyError):
                self._selector.unregister(worker.link)
            worker.link.close()
            if self._on_end is not None:
                self._on_end(worker.number)
            if worker in self._retired:
                self._retired.discard(worker)
                continue
            for slot in self._slots:
                if slot.successor is worker:
                    end = worker.describe_end()
                    logger.error("A new worker %s before it was ready: the old ones stay.", end)
                    slot.successor = None
                    self._to_replace = []
                elif slot.worker is worker:
                    slot.worker = None
                    if not is_stopping:
                        self._mourn(slot, worker)
        if not self.is_ready:
            self.is_ready = any(worker.is_ready for worker in self._workers())

    def _mourn(self, slot: _Slot, worker: _Worker) -> None:
        if not self.is_ready and not worker.is_ready:
            logger.error("A worker %s before any was ready; the lines above say why.", worker.describe_end())
            self._status = 1
            self._stops = max(self._stops, 1)
            return
        slot.early_ends = slot.early_ends + 1 if worker.age < _YOUNG_SECONDS else 0
        delay = min(_MAX_BACKOFF, 2.0 ** (slot.early_ends - 2)) if slot.early_ends > 1 else 0.0
        slot.not_before = time.monotonic() + delay
        logger.error(
            "Worker %d %s; another takes its place%s.",
            worker.process.pid,
            worker.describe_end(),
            f" in {delay:g} s" if delay else "",
        )

    def _end_the_silent(self) -> None:
        now = time.monotonic()
        for worker in self._workers():
            worker.silent_ticks += 1
            if worker.told_at is not None:
                if now - worker.told_at > self._patience + _LAST_SECONDS:
                    logger.error("Worker %d does not end and is killed.", worker.process.pid)
                    worker.tell(signal.SIGKILL)
            elif worker.silent_ticks > self._silent_ticks and (
                worker.is_ready or worker.age > _START_SECONDS
            ):
                logger.error("Worker %d has not reported for long and is killed.", worker.process.pid)
                worker.process.kill()

    def _stop(self) -> None:
        # The workers have the socket too: the last of them that closes it closes the port.
        self._listener.close()
        self._tell_all(signal.SIGTERM)

    def _tell_all(self, number: signal.Signals) -> None:
        for worker in self._workers():
            worker.tell(number)
