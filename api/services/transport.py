"""Which client speaks to upstreams: one transport for each event loop, as UPSTREAM_CLIENT says."""

from __future__ import annotations

import asyncio

from django.conf import settings

from api.services.pool import PoolTransport
from api.services.wire import Transport

_open: dict[asyncio.AbstractEventLoop, Transport] = {}


def current() -> Transport:
    """The transport of the running event loop, opened on first use."""
    loop = asyncio.get_running_loop()
    transport = _open.get(loop)
    if transport is None:
        transport = _open[loop] = _make()
    return transport


def _make() -> Transport:
    if settings.UPSTREAM_CLIENT == "pool":
        return PoolTransport()
    # aiohttp and httpx are ten megabytes that only this setting needs.
    from api.services.aiohttp_transport import AiohttpTransport

    return AiohttpTransport()


async def close_all() -> None:
    """Close the running loop's transport. Called once, when the process stops."""
    transport = _open.pop(asyncio.get_running_loop(), None)
    if transport is not None:
        await transport.close()
