"""Requests through the proxy, several at a time, and the count of what came back."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.client import Client
from tests.chaos.outcomes import Outcome, Verdict, judge
from tests.fake_upstream import RecordedRequest

PATIENCE = 20.0
"""Seconds after which a request counts as hung: far more than all time limits of the rig together."""

_numbers = itertools.count(1)


@dataclass
class Tally:
    """What became of the requests that were sent."""

    sent: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    attempts: Counter[int] = field(default_factory=Counter)
    details: list[str] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        self.sent += 1
        self.outcomes[verdict.outcome] += 1
        self.attempts[verdict.attempts] += 1
        if verdict.outcome in {Outcome.FAILED, Outcome.BROKEN_OFF}:
            self.codes[verdict.code or f"status {verdict.status}"] += 1
        if verdict.detail and len(self.details) < 5:
            self.details.append(verdict.detail)

    def count(self, outcomes: Iterable[Outcome]) -> int:
        return sum(self.outcomes[outcome] for outcome in outcomes)

    def __str__(self) -> str:
        parts = [f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items())]
        codes = [f"{count} × {code}" for code, count in sorted(self.codes.items())]
        return f"{self.sent} sent: {', '.join(parts)} ({', '.join(codes)}) {' | '.join(self.details)}"


def make_word() -> str:
    """A word that no other request says. Several tokens long, so that its reply has several chunks."""
    number = next(_numbers)
    return " ".join(f"word-{number}-{part}" for part in ("one", "two", "three", "four", "five", "six"))


def word_of(request: RecordedRequest) -> str:
    """The word that a request at the upstream says."""
    content: Any = json.loads(request.body)["messages"][-1]["content"]
    return content if isinstance(content, str) else str(content[0]["text"])


async def ask(client: Client, model: str, *, stream: bool, word: str | None = None) -> Verdict:
    """One request, judged."""
    word = word or make_word()
    request_id = f"chaos-{next(_numbers)}"
    body = {"model": model, "messages": [{"role": "user", "content": word}], "stream": stream}
    seen = await client.send(request_id, body, seconds=PATIENCE)
    return judge(seen, request_id=request_id, word=word, model=model, stream=stream)


async def ask_all(
    port: int, model: str, *, stream: bool, words: Iterable[str], at_once: int, tally: Tally
) -> None:
    """A request for each word, `at_once` of them at a time, each on one of as many connections."""
    left = iter(words)

    async def work() -> None:
        client = Client(port)
        try:
            for word in left:
                tally.add(await ask(client, model, stream=stream, word=word))
        finally:
            client.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())


class SteadyLoad:
    """`async with SteadyLoad(port, model) as load:` clients that ask again and again until the block ends.

    Half of them stream. `is_over`: called after each verdict; true ends that client.
    """

    def __init__(
        self,
        port: int,
        model: str,
        *,
        clients: int = 8,
        pause: float = 0.0,
        is_over: Callable[[Verdict], bool] = lambda verdict: False,
    ) -> None:
        self.tally = Tally()
        self._port = port
        self._model = model
        self._clients = clients
        self._pause = pause
        self._is_over = is_over
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> SteadyLoad:
        self._tasks = [asyncio.create_task(self._work(bool(number % 2))) for number in range(self._clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def until(self, sent: int) -> None:
        """Until so many more requests are over."""
        goal = self.tally.sent + sent
        while self.tally.sent < goal and not all(task.done() for task in self._tasks):
            await asyncio.sleep(0.01)

    async def _work(self, stream: bool) -> None:
        client = Client(self._port)
        try:
            while not self._stopping:
                verdict = await ask(client, self._model, stream=stream)
                self.tally.add(verdict)
                if self._is_over(verdict):
                    return
                if self._pause:
                    await asyncio.sleep(self._pause * random.uniform(0.5, 1.5))
        finally:
            client.close()
