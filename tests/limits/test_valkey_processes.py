"""Processes of their own on one Valkey."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from api.services.limits import Limit, Scope
from api.services.limits.valkey import ValkeyLimiter
from api.services.translation.failures import Failure

HAMMER = """
import asyncio, sys
from api.services.limits.valkey import ValkeyLimiter
from api.services.translation.failures import Failure
from routing.domain.limits import Limit, Scope

SCOPES = [Scope("key:1", Limit(requests_per_minute=100)), Scope("team:1", Limit(requests_per_minute=1000))]

async def main():
    limiter = ValkeyLimiter(sys.argv[1], timeout=10, is_open=False)
    admitted = 0

    async def client():
        nonlocal admitted
        for _ in range(20):
            try:
                await limiter.acquire(SCOPES)
            except Failure as failure:
                assert failure.status == 429, failure
            else:
                admitted += 1

    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.gather(*(client() for _ in range(20)))
    print(admitted, flush=True)
    await limiter.close()

asyncio.run(main())
"""

HOLD = """
import asyncio, sys
from api.services.limits.valkey import ValkeyLimiter
from routing.domain.limits import Limit, Scope

async def main():
    limiter = ValkeyLimiter(sys.argv[1], timeout=10, is_open=False, slot_life=1.5)
    leases = [await limiter.acquire([Scope("key:1", Limit(max_concurrent=5))]) for _ in range(5)]
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@contextmanager
def started(root: Path, script: str, url: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, url],
        cwd=root,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "proxy_site.settings"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_a_hundred_a_minute_means_a_hundred_for_all_processes_together(
    valkey_url: str, project_root: Path
) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(started(project_root, HAMMER, valkey_url)) for _ in range(2)]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        # Each of them tried 400 times.
        counts = [int(process.stdout.readline()) for process in processes if process.stdout is not None]
    assert sum(counts) == 100


async def test_the_slots_of_a_killed_process_return(valkey_url: str, project_root: Path) -> None:
    limiter = ValkeyLimiter(valkey_url, timeout=10, is_open=False, slot_life=1.5)
    scopes = [Scope("key:1", Limit(max_concurrent=5))]

    async def is_admitted() -> bool:
        try:
            (await limiter.acquire(scopes)).release()
        except Failure:
            return False
        return True

    with started(project_root, HOLD, valkey_url) as process:
        for _ in range(40):  # Longer than a slot lives by itself.
            assert not await is_admitted()
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(10):
            while not await is_admitted():
                await asyncio.sleep(0.05)
    assert asyncio.get_running_loop().time() - began < 3
    await limiter.close()
