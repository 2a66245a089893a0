"""Which deployments and keys rest after trouble, so that requests go where they are answered.

A candidate that rests is passed over as long as anything else is left. When nothing else
is left it is tried all the same: a rest never turns a possible answer into a refusal.
Without VALKEY_URL every process finds out by itself; with it, what one finds the others
hear within a second.
"""

from __future__ import annotations

import asyncio

from django.conf import settings

from api.services.cooldowns.circuit import Rules as Rules
from api.services.cooldowns.circuit import State as State
from api.services.cooldowns.registry import Cooldowns as Cooldowns
from api.services.cooldowns.registry import OpenCircuit as OpenCircuit
from api.services.cooldowns.verdicts import Reason as Reason

_open: dict[asyncio.AbstractEventLoop, Cooldowns] = {}


def current() -> Cooldowns:
    """The cooldowns of the running event loop, made on first use as the settings say."""
    loop = asyncio.get_running_loop()
    cooldowns = _open.get(loop)
    if cooldowns is None:
        cooldowns = _open[loop] = _make(loop)
    return cooldowns


async def close() -> None:
    """Let go of the running loop's cooldowns. Called once, when the process stops."""
    _open.pop(asyncio.get_running_loop(), None)


def _make(loop: asyncio.AbstractEventLoop) -> Cooldowns:
    rules = Rules(
        after=settings.COOLDOWN_AFTER,
        seconds=settings.COOLDOWN_SECONDS,
        maximum=max(settings.COOLDOWN_SECONDS, settings.COOLDOWN_MAX),
    )
    return Cooldowns(rules, loop=loop)
