"""Places and the queue before them: in order, without holes, never more than there are."""

from __future__ import annotations

import asyncio

import pytest

from api.services.admission import Admission
from api.services.translation.failures import Failure, FailureKind

NEVER = 3600.0


async def _settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_whoever_waits_comes_in_in_the_order_of_arrival() -> None:
    async def scenario() -> None:
        places = Admission(places=1, max_queued=10, timeout=NEVER)
        order: list[int] = []

        async def visit(number: int) -> None:
            await places.enter()
            order.append(number)

        await places.enter()
        visitors = []
        for number in range(5):
            visitors.append(asyncio.create_task(visit(number)))
            await _settle()
        assert (places.in_use, places.queued, order) == (1, 5, [])
        for done in range(1, 6):
            places.leave()
            # Handed on, not freed: whoever comes now does not slip in before those who wait.
            assert not places.try_enter()
            await _settle()
            assert order == list(range(done))
        places.leave()
        assert (places.in_use, places.queued) == (0, 0)
        await asyncio.gather(*visitors)

    asyncio.run(scenario())


def test_a_full_queue_refuses_at_once() -> None:
    async def scenario() -> None:
        places = Admission(places=1, max_queued=1, timeout=NEVER)
        await places.enter()
        waiting = asyncio.create_task(places.enter())
        await _settle()
        told = []
        for _ in range(4):
            with pytest.raises(Failure) as refused:
                await places.enter()
            assert refused.value.kind is FailureKind.OVERLOADED
            assert refused.value.status == 503
            assert refused.value.should_retry is True
            told.append(refused.value.retry_after)
        assert set(told) == {1, 2, 3}, "those who were refused together do not return together"
        with pytest.raises(Failure):
            places.check_room()
        assert places.refused == 5
        places.leave()
        await waiting
        places.check_room()

    asyncio.run(scenario())


def test_whoever_waited_too_long_is_refused_and_leaves_no_hole() -> None:
    async def scenario() -> None:
        places = Admission(places=1, max_queued=5, timeout=0.01)
        await places.enter()
        with pytest.raises(Failure) as refused:
            await places.enter()
        assert refused.value.kind is FailureKind.OVERLOADED
        assert (places.in_use, places.queued, places.refused) == (1, 0, 1)
        places.leave()
        assert places.in_use == 0
        assert places.try_enter()

    asyncio.run(scenario())


@pytest.mark.parametrize("is_given_first", [False, True])
def test_a_client_that_leaves_the_queue_leaves_no_hole(is_given_first: bool) -> None:
    async def scenario() -> None:
        places = Admission(places=1, max_queued=5, timeout=NEVER)
        await places.enter()
        first, second = (asyncio.create_task(places.enter()) for _ in range(2))
        await _settle()
        if is_given_first:
            # The place and the cancellation come in the same turn of the loop.
            places.leave()
            first.cancel()
        else:
            first.cancel()
            places.leave()
        await second
        assert first.cancelled()
        assert (places.in_use, places.queued) == (1, 0)
        places.leave()
        assert places.in_use == 0

    asyncio.run(scenario())


def test_nobody_is_let_in_twice_whatever_happens_at_once() -> None:
    """Many come, leave and give up; the places come out even."""

    async def scenario() -> None:
        places = Admission(places=3, max_queued=20, timeout=0.005)
        inside = most = 0

        async def visit(number: int) -> None:
            nonlocal inside, most
            await asyncio.sleep(number % 7 * 0.001)
            await places.enter()
            inside += 1
            most = max(most, inside)
            try:
                await asyncio.sleep(number % 5 * 0.001)
            finally:
                inside -= 1
                places.leave()

        visitors = [asyncio.create_task(visit(number)) for number in range(300)]
        for number, visitor in enumerate(visitors):
            if number % 3 == 0:
                asyncio.get_running_loop().call_later(number % 11 * 0.001, visitor.cancel)
        await asyncio.gather(*visitors, return_exceptions=True)
        assert most == 3
        assert (places.in_use, places.queued) == (0, 0)

    asyncio.run(scenario())
