"""One worker process, as the supervisor starts it: `python -m proxy_site.worker LISTENER LINK`.

Both are numbers of inherited files. LISTENER is the socket that all workers accept from.
LINK leads to the supervisor: the worker reports there once a second, and ends when the
other side is gone, so that no orphan holds the port.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Final

import uvicorn
from django.conf import settings

import proxy_site.asgi as _application  # First of ours: it sets Django up.
from proxy_site.server import raise_file_limit, server_config
from proxy_site.shutdown import GracefulServer
from proxy_site.supervisor import ENDING, READY, STARTING
from routing import lookup

_REPORT_TICKS: Final = 10
"""uvicorn ticks every tenth of a second."""


class Worker(GracefulServer):
    """A server that somebody looks after."""

    def __init__(self, config: uvicorn.Config, *, drain_delay: float, link: socket.socket) -> None:
        super().__init__(config, drain_delay=drain_delay, is_supervised=True)
        self._link = link
        link.setblocking(False)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        assert self._loop is not None
        self._loop.add_reader(self._link, self._read_link)

    async def on_tick(self, counter: int) -> bool:
        if counter % _REPORT_TICKS == 0:
            self._report()
        return await super().on_tick(counter)

    def begin_end(self, *, delay: float | None = None) -> None:
        super().begin_end(delay=delay)
        self._report()

    def _report(self) -> None:
        is_loaded = lookup.status().version is not None
        state = ENDING if self.should_exit else READY if is_loaded else STARTING
        # Full: the supervisor is slow, and has reports enough. Gone: _read_link hears of it.
        with contextlib.suppress(OSError):
            self._link.send(state)

    def _read_link(self) -> None:
        """The supervisor never writes: what can be read is its end."""
        assert self._loop is not None
        self._loop.remove_reader(self._link)
        self.begin_end(delay=0)


def main(listener_file: int, link_file: int) -> int:
    assert _application is not None
    raise_file_limit()
    with socket.socket(fileno=listener_file) as listener, socket.socket(fileno=link_file) as link:
        host, port = listener.getsockname()[:2]
        config = uvicorn.Config(**server_config(host=host, port=port))
        server = Worker(config, drain_delay=settings.DRAIN_DELAY, link=link)
        server.run(sockets=[listener])
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
