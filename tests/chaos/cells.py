"""One cell of the table: a fault, a dialect, streamed or not, with something to fall back to or nothing."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.chaos.faults import ANTHROPIC, DIALECTS, FAULTS, HTTP, OPENAI, Fault
from tests.chaos.load import Tally, ask_all, make_word, word_of
from tests.chaos.outcomes import Outcome
from tests.chaos.rig import ALONE, SETUPS, Rig, model_name, speaks
from tests.fake_upstream import Answer, Behaviour, Cut, RecordedRequest


@dataclass(frozen=True, slots=True)
class Cell:
    fault: Fault
    dialect: str
    stream: bool
    setup: str

    @property
    def model(self) -> str:
        return model_name(self.fault.place, self.dialect, self.setup)

    @property
    def allowed(self) -> frozenset[Outcome]:
        return self.fault.allowed(stream=self.stream, has_fallback=self.setup != ALONE)

    def __str__(self) -> str:
        kind = "stream" if self.stream else "whole reply"
        return f"{self.fault.name}, {speaks(self.dialect)}, {kind}, {self.setup}"


@dataclass(frozen=True, slots=True)
class Result:
    cell: Cell
    tally: Tally
    problems: tuple[str, ...] = field(default=())


def all_cells() -> list[Cell]:
    """Every fault in every form. Below HTTP, both dialects are the same bytes: one will do."""
    return [
        Cell(fault, dialect, stream, setup)
        for fault in FAULTS
        for dialect in (DIALECTS if fault.place == HTTP else (OPENAI,))
        for stream in (False, True)
        for setup in SETUPS
    ]


async def run(rig: Rig, cell: Cell, *, count: int, at_once: int) -> Result:
    """`count` requests through the fault."""
    tally = Tally()
    words = [make_word() for _ in range(count)]
    with _doing(rig, cell, words):
        await ask_all(
            rig.server.port, cell.model, stream=cell.stream, words=words, at_once=at_once, tally=tally
        )
    return Result(cell, tally, tuple(problems_of(cell, tally, count)))


def problems_of(cell: Cell, tally: Tally, count: int) -> Iterator[str]:
    """What should not have happened."""
    if tally.sent != count:
        yield f"{count} requests, {tally.sent} outcomes"
    if tally.count(cell.allowed) != count:
        yield f"expected {' or '.join(sorted(cell.allowed))}, got {tally}"
    for code in tally.codes:
        if cell.fault.codes and code not in cell.fault.codes:
            yield f"the code {code} says something else than what happened"


@contextlib.contextmanager
def _doing(rig: Rig, cell: Cell, words: list[str]) -> Iterator[None]:
    script, share = cell.fault.script, cell.fault.share
    if script is None:
        yield
        return
    behaviour = script(cell.dialect, cell.stream)
    struck = set(words[share // 2 :: share]) if share > 1 else set()

    def choose(request: RecordedRequest) -> Behaviour | None:
        if share == 1:
            return behaviour
        word = word_of(request)
        if word in struck:
            struck.discard(word)
            return behaviour
        return None

    rig.troubled.on_request = choose
    try:
        yield
    finally:
        rig.troubled.reset()


async def cut_everywhere(
    rig: Rig, *, dialect: str, stream: bool, setup: str, step: int, at_once: int
) -> tuple[Tally, int, list[str]]:
    """A reply that ends behind its n-th byte, for each n in steps of `step`: counts, its length, problems.

    Where the client has had nothing yet, a fallback answers; else a stream ends with an error.
    """
    length = len(await _reply_bytes(rig, dialect, stream))
    places: dict[str, tuple[int, bool]] = {}
    for place in range(random.randrange(step), length, step):
        for reset in (False, True):
            places[make_word()] = (place, reset)
    tally = Tally()

    def choose(request: RecordedRequest) -> Behaviour | None:
        place, reset = places[word_of(request)]
        return Answer() + Cut(place, reset=reset, within="response")

    rig.troubled.on_request = choose
    try:
        await ask_all(
            rig.server.port,
            model_name(HTTP, dialect, setup),
            stream=stream,
            words=list(places),
            at_once=at_once,
            tally=tally,
        )
    finally:
        rig.troubled.reset()
    problems = []
    # Cut behind its last needed byte, a reply is whole: the end of the connection is not part of it.
    allowed = {Outcome.ANSWERED} if setup != ALONE else {Outcome.ANSWERED, Outcome.FAILED}
    if stream:
        allowed.add(Outcome.BROKEN_OFF)
    if tally.sent != len(places) or tally.count(allowed) != tally.sent:
        problems.append(f"cut everywhere, {dialect}, stream {stream}, {setup}: {tally}")
    return tally, length, problems


async def _reply_bytes(rig: Rig, dialect: str, stream: bool) -> bytes:
    """How much the upstream sends for one of these requests, head and all."""
    import http.client
    import json

    path = "/anthropic/v1/messages" if dialect == ANTHROPIC else "/openai/v1/chat/completions"
    model = "claude-sonnet-4-5" if dialect == ANTHROPIC else "gpt-4o"
    body: dict[str, object] = {
        "model": model,
        "messages": [{"role": "user", "content": make_word()}],
        "stream": stream,
    }
    if dialect == ANTHROPIC:
        body["max_tokens"] = 100
    elif stream:
        body["stream_options"] = {"include_usage": True}
    connection = http.client.HTTPConnection("127.0.0.1", rig.troubled.port, timeout=10)
    try:
        connection.request(
            "POST",
            path,
            json.dumps(body),
            {
                "content-type": "application/json",
                "authorization": "Bearer test-x",
                "x-api-key": "test-x",
                "anthropic-version": "2023-06-01",
            },
        )
        response = connection.getresponse()
        assert response.status == 200, response.read()
        head = sum(len(name) + len(value) + 4 for name, value in response.getheaders()) + 19
        return b" " * head + response.read()
    finally:
        connection.close()
