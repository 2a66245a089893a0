"""What a worker process does when it starts and before it stops."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any, Final

from django.conf import settings

from api.services import cooldowns, gauges, health_checks, key_use, limits, tracing, transport
from api.services.recording import telling
from proxy_site.logs import write_after
from routing import lookup

logger = logging.getLogger("patchbay.server")

# How long a start waits for the first snapshot before it serves without one: /readyz
# stays red and requests get 503 until the database answers.
_FIRST_LOAD_SECONDS: Final = 10.0

_COLLECT_AFTER: Final = 10_000
"""New objects between two looks of the garbage collector. Python's own 700 are what 30
requests at once have alive."""


async def run_lifespan(receive: Any, send: Any) -> None:
    """The ASGI lifespan protocol: load the snapshot and watch it, then let go of everything."""
    limits.current()  # A wrong VALKEY_URL is told now, not to the first request.
    rests = cooldowns.current()
    watcher = lookup.Watcher(describe_cooldowns=rests.describe)
    unsubscribe = lookup.subscribe(rests.follow)
    key_use_writer = key_use.Writer()
    checks: health_checks.HealthChecks | None = None
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            watcher.start()
            key_use_writer.start()
            gauges.start()
            tracing.start()
            telling.start(settings.LOG_DELAY)
            write_after(telling.tell_before_others)
            checks = health_checks.start(rests)
            loaded = await asyncio.to_thread(watcher.wait_loaded, _FIRST_LOAD_SECONDS)
            if not loaded:
                logger.error(
                    "No configuration could be loaded yet: the database does not answer or is not migrated "
                    "(`python manage.py migrate`). Requests get 503 until it does."
                )
            _spare_what_stays()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            unsubscribe()
            if checks is not None:
                await checks.stop()
            await transport.close_all()
            await limits.close()
            await cooldowns.close()
            gauges.stop()
            write_after(None)
            telling.stop()
            await tracing.stop()
            await asyncio.to_thread(key_use_writer.stop)
            await asyncio.to_thread(watcher.stop)
            await send({"type": "lifespan.shutdown.complete"})
            return


def _spare_what_stays() -> None:
    """Take what was loaded until now out of the garbage collector's sight, and let it look less often.

    Hundreds of thousands of objects live as long as the process; looking through them
    holds every request up. Requests leave next to no cycles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 10, 10)
