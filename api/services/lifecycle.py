"""Where this process is in its life: serving, about to go, or ending what is still open.

One fact for the whole process, set by the server (proxy_site/shutdown.py) and read on the
request path. It only ever goes forward. What to do about it is each reader's business.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import Final

from api.services.translation.failures import Failure, FailureKind

_COME_BACK_SECONDS: Final = 1.0


class Phase(IntEnum):
    SERVING = 0
    DRAINING = 1
    """No new work is wanted: load balancers are told, and connections close after their answer."""
    ENDING = 2
    """Requests that are still open are cancelled, and say so to their clients."""


_phase = Phase.SERVING


def advance(phase: Phase) -> None:
    global _phase
    _phase = max(_phase, phase)


def is_draining() -> bool:
    """The process is about to go, whether it ends its open requests already or not."""
    return _phase is not Phase.SERVING


def claim_cancellation() -> Failure | None:
    """What to tell the client of a task that was cancelled because the process ends.

    The cancellation counts as dealt with from here on, so that the task can still answer.
    None: it was cancelled for another reason, which goes on.
    """
    if _phase is not Phase.ENDING:
        return None
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
    return Failure(
        FailureKind.SHUTTING_DOWN,
        "The proxy is shutting down and could not wait any longer for this reply. Send the request again.",
        retry_after=_COME_BACK_SECONDS,
    )
