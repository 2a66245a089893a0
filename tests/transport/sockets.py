"""Which sockets this process has open."""

from __future__ import annotations

import asyncio
import os


def sockets() -> set[str]:
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if name.startswith("socket:"):
            found.add(name)
    return found


async def settle(before: set[str], count: int = 0) -> None:
    """Until just `count` sockets are open that were not open before."""
    async with asyncio.timeout(5):
        while len(sockets() - before) != count:
            await asyncio.sleep(0.01)
