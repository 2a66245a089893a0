"""Circuits that all processes know, through Valkey.

A task of its own tells and asks, once a second and at once when something changed here;
no request ever waits for it. What is told is the state of a circuit as it is when it is
told, so that nothing piles up while Valkey is away: then every process goes by what it
found itself.

Whoever found the trouble also probes first: to the others the rest is a little longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from api.services.attempts import CandidateKey
from api.services.cooldowns.candidates import CandidateCircuit, Names
from api.services.cooldowns.circuit import PROBE_SECONDS
from api.services.cooldowns.registry import UNUSED_SECONDS, Cooldowns
from api.services.cooldowns.verdicts import Reason
from api.services.valkey_client import open_client

logger = logging.getLogger("patchbay.cooldowns")

_SCRIPT: Final = Path(__file__).with_name("sharing.lua").read_text(encoding="utf-8")
_INDEX: Final = "patchbay:cooldowns"
_CHUNK: Final = 100
"""Circuits that are told or taken in in one go: requests run in between."""


class ValkeyBoard:
    """A `Board` for `cooldowns`: `start()` it, and `close()` it at the end.

    `interval` seconds pass between two looks, so what others found is known here that
    much later at most.
    """

    def __init__(self, cooldowns: Cooldowns, url: str, *, timeout: float, interval: float = 1.0) -> None:
        self.is_away = False
        self._cooldowns = cooldowns
        self._timeout = timeout
        self._interval = interval
        self._client = open_client(url, connect_timeout=timeout)
        self._script = self._client.register_script(_SCRIPT)
        # Circuits to tell about; True where an earlier rest is to be cut short.
        self._news: dict[CandidateKey, bool] = {}
        # The episode of each circuit as Valkey last showed it.
        self._shown: dict[CandidateKey, str] = {}
        self._has_news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._cooldowns.board = self
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        self._cooldowns.board = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=self._timeout)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(self._timeout):
                await self._client.aclose()

    async def claim(self, name: str, seconds: float) -> bool:
        """Whether it is this process that does what `name` says; no other will hear yes for `seconds`.

        While Valkey is away, everybody hears yes.
        """
        if self.is_away:
            return True
        try:
            async with asyncio.timeout(self._timeout):
                taken = await self._client.set(f"{_INDEX}:{name}", "", nx=True, px=round(seconds * 1000))
        except Exception as error:
            logger.debug("Nobody could be asked about %s (%s).", name, type(error).__name__)
            return True
        return bool(taken)

    def post_rest(self, circuit: CandidateCircuit, *, is_shorter: bool = False) -> None:
        circuit.episode = secrets.token_hex(8)
        self._post(circuit.key, is_shorter)

    def post_state(self, circuit: CandidateCircuit) -> None:
        self._post(circuit.key, False)

    def _post(self, key: CandidateKey, is_shorter: bool) -> None:
        self._news[key] = self._news.get(key, False) or is_shorter
        self._has_news.set()

    async def _run(self) -> None:
        lost_at = 0.0
        while True:
            self._has_news.clear()
            news = dict(islice(self._news.items(), _CHUNK))
            for key in news:
                del self._news[key]
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await self._script(
                        keys=[_INDEX],
                        args=[
                            orjson.dumps(self._changes(news)),
                            round(UNUSED_SECONDS * 1000),
                            # With more to tell, to ask is for later.
                            int(not self._news),
                        ],
                    )
                if answer:
                    await self._take_in(orjson.loads(answer))
            # Whatever the client library raises, and the server's own errors: nothing of it
            # may end the task, and all of it is gone once the server is well again.
            except Exception as error:
                self._news = {
                    key: self._news.get(key, False) or news.get(key, False) for key in {*news, *self._news}
                }
                # What it forgets meanwhile was closed by nobody.
                self._shown = {}
                if not self.is_away:
                    self.is_away, lost_at = True, time.monotonic()
                    logger.warning(
                        "Valkey is away (%s: %s). Until it is back, each worker finds out by itself which "
                        "deployments fail.",
                        type(error).__name__,
                        str(error) or f"no answer within {self._timeout:g} s",
                    )
                await asyncio.sleep(self._interval)
                continue
            if self.is_away:
                self.is_away = False
                logger.warning(
                    "Valkey is back after %.1f s: cooldowns are shared again.", time.monotonic() - lost_at
                )
            if not self._news:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._interval):
                        await self._has_news.wait()

    def _changes(self, news: dict[CandidateKey, bool]) -> list[Sequence[Any]]:
        now = self._cooldowns.clock()
        changes: list[Sequence[Any]] = []
        for key, is_shorter in news.items():
            circuit = self._cooldowns.find(key)
            if circuit is None or circuit.is_closed:
                changes.append(("close", _circuit_text(key)))
                continue
            probe = 0.0 if circuit.probe_since is None else circuit.probe_since + PROBE_SECONDS - now
            changes.append(
                (
                    "rest",
                    _circuit_text(key),
                    round((circuit.until - now) * 1000),
                    _write(circuit),
                    max(0, round(probe * 1000)),
                    int(is_shorter),
                )
            )
        return changes

    async def _take_in(self, answer: list[tuple[str, int, str, int]]) -> None:
        shown: dict[CandidateKey, str] = {}
        for number, (text, left, value, probe) in enumerate(answer):
            if number % _CHUNK == _CHUNK - 1:
                await asyncio.sleep(0)
            notice = _read(text, value)
            if notice is None:
                continue
            shown[notice.key] = notice.episode
            # What changed here while the question was on its way is told next.
            if notice.key not in self._news:
                self._compare(notice, left / 1000, probe / 1000)
        for key, episode in self._shown.items():
            circuit = self._cooldowns.find(key)
            if (
                key not in shown
                and key not in self._news
                and circuit is not None
                and circuit.episode == episode
                and not circuit.is_closed
            ):
                self._cooldowns.close(circuit)
        self._shown = shown

    def _compare(self, notice: _Notice, left: float, probe: float) -> None:
        circuit = self._cooldowns.find(notice.key)
        if circuit is None or circuit.episode != notice.episode:
            circuit = self._cooldowns.adopt(
                notice.key,
                notice.names,
                # By then the probe of whoever began the rest is under way, and known.
                seconds=left + 1.5 * self._interval if left > 0 else 0.0,
                reason=notice.reason,
                failure=notice.failure,
                streak=notice.streak,
                resets=notice.resets,
                episode=notice.episode,
            )
        if not circuit.is_closed:
            circuit.held_until = self._cooldowns.clock() + probe if probe > 0 else 0.0


@dataclass(frozen=True, slots=True)
class _Notice:
    """What Valkey holds of one circuit."""

    key: CandidateKey
    names: Names
    episode: str
    reason: Reason
    failure: str | None
    streak: int
    resets: int


def _write(circuit: CandidateCircuit) -> str:
    names = circuit.names
    return orjson.dumps(
        {
            "episode": circuit.episode,
            "names": [names.provider, names.upstream_id, names.credential],
            "reason": circuit.reason.value,
            "failure": circuit.failure,
            "streak": circuit.streak,
            "resets": circuit.resets,
        }
    ).decode()


@lru_cache(maxsize=10_000)  # Most of what a look shows, the look before had shown.
def _read(text: str, value: str) -> _Notice | None:
    """None where another version of this program, or another program, wrote something else."""
    deployment, _, credential = text.partition("|")
    try:
        seen = orjson.loads(value)
        provider, upstream_id, label = seen["names"]
        return _Notice(
            key=(int(deployment), credential or None),
            names=Names(str(provider), str(upstream_id), None if label is None else str(label)),
            episode=str(seen["episode"]),
            reason=Reason(seen["reason"]),
            failure=None if seen["failure"] is None else str(seen["failure"]),
            streak=int(seen["streak"]),
            resets=int(seen["resets"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        logger.debug("A shared cooldown cannot be read (%s: %s).", type(error).__name__, error)
        return None


def _circuit_text(key: CandidateKey) -> str:
    return f"{key[0]}|{key[1] or ''}"
