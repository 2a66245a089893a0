"""Checks of upstreams in the background: whom they ask, what they ask, and what an answer changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from random import Random

import pytest

from api.services import transport
from api.services.attempts import Candidate
from api.services.cooldowns import Cooldowns, Rules, State
from api.services.cooldowns.sharing import ValkeyBoard
from api.services.health_checks import HealthChecks, list_targets
from api.services.translation.failures import FailureKind
from routing.domain.table import CredentialRow, DeploymentRow, ModelRow, ProviderRow, RoutingTable, Secret
from tests.cooldowns.rows import Clock, failure
from tests.limits.conftest import shared_server, valkey_url
from tests.transport.raw_server import Peer, RawServer, Received

__all__ = ["shared_server", "valkey_url"]

INTERVAL = 60.0


class Upstream:
    """A server that answers every request with `status`; 0: by hanging up."""

    def __init__(self) -> None:
        self.status = 200
        self.seen: list[Received] = []
        self.most_at_once = 0
        self._open = 0

    async def serve(self, peer: Peer) -> None:
        received = await peer.read_request()
        self.seen.append(received)
        self._open += 1
        self.most_at_once = max(self.most_at_once, self._open)
        await asyncio.sleep(0)
        if self.status:
            await peer.send(
                f"HTTP/1.1 {self.status} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}".encode()
            )
        self._open -= 1
        await peer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    yield Upstream()
    await transport.close_all()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cooldowns(clock: Clock) -> Cooldowns:
    return Cooldowns(Rules(after=3), clock=clock, rng=Random(1))


def catalog(url: str, kind: str = "openai", keys: int = 1, deployments: int = 1) -> RoutingTable:
    provider = ProviderRow(
        id=1,
        name=kind,
        kind=kind,
        base_url=url,
        requires_key=kind != "openai_compatible",
        allows_private_network=True,
        credentials=tuple(
            CredentialRow(f"key:{key}", f"label {key}", Secret(f"sk-{key}")) for key in range(1, keys + 1)
        ),
    )
    rows = tuple(
        DeploymentRow(id=number, provider=provider, upstream_id=f"model-{number}")
        for number in range(1, deployments + 1)
    )
    return RoutingTable(version=1, models=[ModelRow(id=1, public_id="m", deployments=rows)])


def candidates_of(table: RoutingTable) -> Sequence[Candidate]:
    return [candidate for target in list_targets(table) for candidate in target.candidates]


def checks(cooldowns: Cooldowns, table: RoutingTable) -> HealthChecks:
    return HealthChecks(cooldowns, INTERVAL, lambda: table)


@pytest.mark.parametrize(
    ("kind", "path", "header", "value"),
    [
        ("openai", "/v1/models", "authorization", "Bearer sk-1"),
        ("openai_compatible", "/v1/models", "authorization", "Bearer sk-1"),
        ("anthropic", "/v1/models", "x-api-key", "sk-1"),
    ],
)
async def test_a_check_lists_models_with_the_key(
    upstream: Upstream, cooldowns: Cooldowns, kind: str, path: str, header: str, value: str
) -> None:
    async with RawServer(upstream.serve) as server:
        await checks(cooldowns, catalog(server.url, kind, deployments=3)).check_all()
    [received] = upstream.seen
    assert received.line == f"GET {path} HTTP/1.1"
    assert received.headers[header] == value
    assert received.body == b""


async def test_who_had_a_request_lately_is_left_alone(
    upstream: Upstream, cooldowns: Cooldowns, clock: Clock
) -> None:
    async with RawServer(upstream.serve) as server:
        table = catalog(server.url, keys=2)
        first, _ = candidates_of(table)
        cooldowns.succeed(first, 0.1)
        await checks(cooldowns, table).check_all()
        assert [received.headers["authorization"] for received in upstream.seen] == ["Bearer sk-2"]
        clock.advance(INTERVAL)
        await checks(cooldowns, table).check_all()
    assert len(upstream.seen) == 3


async def test_failed_checks_count_until_nobody_s_request_has_to_find_out(
    upstream: Upstream, cooldowns: Cooldowns, clock: Clock
) -> None:
    upstream.status = 503
    async with RawServer(upstream.serve) as server:
        table = catalog(server.url)
        [candidate] = candidates_of(table)
        for _ in range(3):
            assert not cooldowns.is_resting(candidate)
            await checks(cooldowns, table).check_all()
            # Rounds are not exactly as far apart as they should be.
            clock.advance(INTERVAL * 0.9)
    assert [circuit.state for circuit in cooldowns.open_circuits()] == [State.HALF_OPEN]


async def test_a_check_that_fails_is_the_probe_that_no_request_has_to_be(
    upstream: Upstream, cooldowns: Cooldowns, clock: Clock
) -> None:
    upstream.status = 0
    async with RawServer(upstream.serve) as server:
        table = catalog(server.url)
        [candidate] = candidates_of(table)
        for _ in range(3):
            cooldowns.fail(candidate, failure())
        clock.advance(20)
        assert not cooldowns.is_resting(candidate)
        await checks(cooldowns, table).check_all()
    assert cooldowns.is_resting(candidate)


@pytest.mark.parametrize("status", [200, 403, 404, 405, 429, 501])
async def test_an_answer_ends_the_rest_early_and_the_next_request_probes(
    upstream: Upstream, cooldowns: Cooldowns, status: int
) -> None:
    upstream.status = status
    async with RawServer(upstream.serve) as server:
        table = catalog(server.url)
        [candidate] = candidates_of(table)
        for _ in range(3):
            cooldowns.fail(candidate, failure())
        assert cooldowns.is_resting(candidate)
        await checks(cooldowns, table).check_all()
    assert [circuit.state for circuit in cooldowns.open_circuits()] == [State.HALF_OPEN]
    assert cooldowns.admit(candidate)
    assert not cooldowns.admit(candidate)


@pytest.mark.parametrize(
    ("kind", "status", "ends"),
    [
        (FailureKind.UPSTREAM_AUTHENTICATION, 200, True),
        (FailureKind.UPSTREAM_AUTHENTICATION, 404, False),
        (FailureKind.UPSTREAM_AUTHENTICATION, 401, False),
        (FailureKind.UPSTREAM_RATE_LIMITED, 200, False),
        (FailureKind.UPSTREAM_QUOTA, 200, False),
    ],
)
async def test_what_the_upstream_said_of_the_key_stands_until_it_says_otherwise(
    upstream: Upstream, cooldowns: Cooldowns, kind: FailureKind, status: int, ends: bool
) -> None:
    upstream.status = status
    async with RawServer(upstream.serve) as server:
        table = catalog(server.url)
        [candidate] = candidates_of(table)
        cooldowns.fail(candidate, failure(kind))
        await checks(cooldowns, table).check_all()
    assert cooldowns.is_resting(candidate) is not ends


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_key_that_may_not_list_models_is_no_bad_key(
    upstream: Upstream, cooldowns: Cooldowns, clock: Clock, status: int
) -> None:
    upstream.status = status
    async with RawServer(upstream.serve) as server:
        table = catalog(server.url)
        for _ in range(10):
            await checks(cooldowns, table).check_all()
            clock.advance(INTERVAL)
    assert len(upstream.seen) == 10
    assert not cooldowns.is_any_resting


async def test_a_provider_is_asked_for_one_key_at_a_time(upstream: Upstream, cooldowns: Cooldowns) -> None:
    async with RawServer(upstream.serve) as server:
        await checks(cooldowns, catalog(server.url, keys=6)).check_all()
    assert len(upstream.seen) == 6
    assert upstream.most_at_once == 1


async def test_a_provider_without_an_address_is_not_blamed(cooldowns: Cooldowns) -> None:
    await checks(cooldowns, catalog("", "openai_compatible")).check_all()
    assert not cooldowns.is_any_resting


def test_who_cannot_be_asked_is_no_target() -> None:
    def table(provider: ProviderRow, **options: bool) -> RoutingTable:
        row = DeploymentRow(id=1, provider=provider, upstream_id="m")
        model = replace(ModelRow(id=1, public_id="m", deployments=(row,)), **options)  # type: ignore[arg-type]
        return RoutingTable(version=1, models=[model])

    keyless = ProviderRow(id=1, name="openai", kind="openai")
    own = ProviderRow(id=2, name="own", kind="openai_compatible", requires_key=False)
    assert [target.credential for target in list_targets(table(own))] == [None]
    assert not list_targets(table(keyless))
    assert not list_targets(table(replace(own, is_enabled=False)))
    assert not list_targets(table(own, is_enabled=False))
    assert not list_targets(table(ProviderRow(id=3, name="demo", kind="demo", requires_key=False)))


async def test_of_all_workers_one_asks(valkey_url: str) -> None:
    boards = [ValkeyBoard(Cooldowns(Rules()), valkey_url, timeout=2.0) for _ in range(3)]
    try:
        assert sorted([await board.claim("check:1|key:1", 30) for board in boards]) == [False, False, True]
        assert await boards[0].claim("check:1|key:2", 30)
    finally:
        for board in boards:
            await board.close()


async def test_without_valkey_each_worker_asks() -> None:
    board = ValkeyBoard(Cooldowns(Rules()), "unix:///nowhere/at/all", timeout=0.5)
    assert await board.claim("check:1|key:1", 30)
    await board.close()


async def test_they_go_on_whatever_happens(upstream: Upstream, cooldowns: Cooldowns) -> None:
    rounds = 0
    enough = asyncio.Event()

    def read_table() -> RoutingTable:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            enough.set()
        raise RuntimeError("not today")

    running = HealthChecks(cooldowns, 0.01, read_table)
    running.start()
    async with asyncio.timeout(5):
        await enough.wait()
    await running.stop()
