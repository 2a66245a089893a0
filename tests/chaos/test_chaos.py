"""The short form of `make chaos`: every fault, each in a form or two, and what happens to the proxy itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.chaos import cells, events, rig
from tests.chaos.cells import Cell, all_cells
from tests.chaos.faults import DIALECTS
from tests.chaos.rig import ALONE, FALLBACK_MODEL, NEXT_DEPLOYMENT, Rig


@pytest.fixture(scope="module")
def whole() -> Iterator[Rig]:
    """Two workers. Cooldowns off: each request is to meet the fault."""
    with rig.start({"COOLDOWN_AFTER": "0"}) as started:
        yield started


@pytest.fixture(scope="module")
def calm() -> Iterator[Rig]:
    """The same for faults that are rare: elsewhere, lasting ones use the retries up."""
    with rig.start({"COOLDOWN_AFTER": "0"}) as started:
        yield started


def _short(cells: list[Cell]) -> list[Cell]:
    """Alone in both forms; what falls back, in one of each."""
    kept = {(ALONE, False), (ALONE, True), (NEXT_DEPLOYMENT, True), (FALLBACK_MODEL, False)}
    return [cell for cell in cells if (cell.setup, cell.stream) in kept]


@pytest.mark.parametrize("cell", [c for c in _short(all_cells()) if c.fault.share == 1], ids=str)
def test_every_request_gets_one_well_formed_outcome(whole: Rig, cell: Cell) -> None:
    result = asyncio.run(cells.run(whole, cell, count=3, at_once=3))
    assert not result.problems, result.problems


@pytest.mark.parametrize("cell", [c for c in _short(all_cells()) if c.fault.share > 1], ids=str)
def test_a_fault_that_is_rare_is_not_felt(calm: Rig, cell: Cell) -> None:
    result = asyncio.run(cells.run(calm, cell, count=cell.fault.share, at_once=3))
    assert not result.problems, result.problems


@pytest.mark.parametrize("setup", [ALONE, NEXT_DEPLOYMENT])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_reply_may_be_cut_behind_any_byte(whole: Rig, dialect: str, stream: bool, setup: str) -> None:
    _, _, problems = asyncio.run(
        cells.cut_everywhere(whole, dialect=dialect, stream=stream, setup=setup, step=29, at_once=8)
    )
    assert not problems


def test_nothing_was_logged_as_a_traceback(whole: Rig) -> None:
    assert "Traceback" not in whole.server.log()


EVENTS = {
    "database file away": lambda: events.database_file_away(2),
    "database locked": lambda: events.database_locked(2),
    "PostgreSQL stopped": lambda: events.postgres_away(2),
    "Valkey stopped": lambda: events.valkey_away(2),
    "worker killed": events.worker_killed,
    "rolling restart": events.rolling_restart,
    "SIGTERM, time enough": lambda: events.terminated(10, replies_last=0.5),
    "SIGTERM, too little time": lambda: events.terminated(1, replies_last=5.0),
    "clients leave": lambda: events.clients_leave(40),
}


@pytest.mark.parametrize("name", EVENTS)
def test_clients_do_not_feel_what_happens_to_the_proxy(name: str) -> None:
    result = asyncio.run(EVENTS[name]())
    assert not result.problems, result.problems
