"""Which deployments and keys rest after trouble, so that requests go where they are answered.

A candidate that rests is passed over as long as anything else is left. When nothing else
is left it is tried all the same: a rest never turns a possible answer into a refusal.
Without VALKEY_URL every process finds out by itself; with it, what one finds the others
hear within a second.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from django.conf import settings

from api.services.cooldowns.candidates import OpenCircuit as OpenCircuit
from api.services.cooldowns.circuit import Rules as Rules
from api.services.cooldowns.circuit import State as State
from api.services.cooldowns.registry import Cooldowns as Cooldowns
from api.services.cooldowns.verdicts import Reason as Reason

if TYPE_CHECKING:
    from api.services.cooldowns.sharing import ValkeyBoard

_open: dict[asyncio.AbstractEventLoop, Cooldowns] = {}
_boards: dict[asyncio.AbstractEventLoop, ValkeyBoard] = {}


def current() -> Cooldowns:
    """The cooldowns of the running event loop, made on first use as the settings say."""
    loop = asyncio.get_running_loop()
    cooldowns = _open.get(loop)
    return cooldowns if cooldowns is not None else _start(loop)


async def claim(name: str, seconds: float) -> bool:
    """Whether to do what `name` says, which one of all processes does within so many seconds.

    Where they do not know of each other, each does it.
    """
    board = _boards.get(asyncio.get_running_loop())
    return board is None or await board.claim(name, seconds)


async def close() -> None:
    """Tell nobody any more. Called once, when the process stops: what still ends then counts here alone."""
    board = _boards.pop(asyncio.get_running_loop(), None)
    if board is not None:
        await board.close()


def _start(loop: asyncio.AbstractEventLoop) -> Cooldowns:
    rules = Rules(
        after=settings.COOLDOWN_AFTER,
        seconds=settings.COOLDOWN_SECONDS,
        maximum=max(settings.COOLDOWN_SECONDS, settings.COOLDOWN_MAX),
    )
    cooldowns = _open[loop] = Cooldowns(rules, loop=loop)
    if settings.VALKEY_URL and rules.after:
        # Imported here: it takes a tenth of a second that most installations need not spend.
        from api.services.cooldowns.sharing import ValkeyBoard

        board = _boards[loop] = ValkeyBoard(cooldowns, settings.VALKEY_URL, timeout=settings.VALKEY_TIMEOUT)
        board.start()
    return cooldowns
