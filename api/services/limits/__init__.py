"""How much a key, a team or a model may use: requests and tokens per minute, concurrent requests.

Without VALKEY_URL every process counts by itself: exact where there is one, a share of
the limit each where there are several. With it, all count together.
"""

from __future__ import annotations

import asyncio

from django.conf import settings

from api.services.limits.leases import UNLIMITED as UNLIMITED
from api.services.limits.leases import Lease as Lease
from api.services.limits.leases import Limiter as Limiter
from api.services.limits.memory import MemoryLimiter
from routing.domain.limits import Limit as Limit
from routing.domain.limits import Scope as Scope

_open: dict[asyncio.AbstractEventLoop, Limiter] = {}


def current() -> Limiter:
    """The limiter of the running event loop, made on first use as the settings say.

    Raises:
        ValueError: VALKEY_URL is not an address.
    """
    loop = asyncio.get_running_loop()
    return _open.get(loop) or _start(loop)


async def close() -> None:
    """Close the running loop's limiter. Called once, when the process stops."""
    limiter = _open.pop(asyncio.get_running_loop(), None)
    if limiter is not None:
        await limiter.close()


def _start(loop: asyncio.AbstractEventLoop) -> Limiter:
    for other in [other for other in _open if other.is_closed()]:
        del _open[other]
    limiter = _open[loop] = _make()
    return limiter


def _make() -> Limiter:
    if not settings.VALKEY_URL:
        return MemoryLimiter(workers=settings.WEB_CONCURRENCY)
    # Imported here: it takes a tenth of a second that most installations need not spend.
    from api.services.limits.valkey import ValkeyLimiter

    return ValkeyLimiter(
        settings.VALKEY_URL,
        timeout=settings.VALKEY_TIMEOUT,
        is_open=settings.LIMITS_WITHOUT_VALKEY == "open",
    )
