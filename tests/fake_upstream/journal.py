"""What happened at the server, and how a test waits for it.

Owns the record and the counting of connections; refuses to act on either.
"""

from __future__ import annotations

import threading
import time
from typing import TypeVar

from tests.fake_upstream.connection import Connection
from tests.fake_upstream.recorded import Disconnect, RecordedRequest

_T = TypeVar("_T")


class Journal:
    """Written in the server's loop, read and waited for in the test's thread."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._requests: list[RecordedRequest] = []
        self._disconnects: list[Disconnect] = []
        self._handed_out = {"requests": 0, "disconnects": 0}
        self._connections: set[Connection] = set()
        self._opened = 0
        self._last_id = 0
        self._idle_races = 0

    def forget(self) -> None:
        """Start the record anew; open connections stay known."""
        with self._news:
            self._requests.clear()
            self._disconnects.clear()
            self._handed_out = {"requests": 0, "disconnects": 0}
            self._opened = 0
            self._idle_races = 0

    # --- what happened --------------------------------------------------------------

    @property
    def requests(self) -> list[RecordedRequest]:
        with self._news:
            return list(self._requests)

    @property
    def disconnects(self) -> list[Disconnect]:
        with self._news:
            return list(self._disconnects)

    @property
    def open_connections(self) -> int:
        with self._news:
            return len(self._connections)

    @property
    def replies_under_way(self) -> int:
        """How many replies are being written, or held back, now."""
        with self._news:
            return sum(connection.is_replying for connection in self._connections)

    @property
    def connections_opened(self) -> int:
        """How many connections were accepted since the start or the last `reset`."""
        with self._news:
            return self._opened

    @property
    def idle_races(self) -> int:
        """Requests that met a connection closing under them (`CloseIdle`)."""
        with self._news:
            return self._idle_races

    def wait_for_request(self, timeout: float = 5.0) -> RecordedRequest:
        """The next request that this method has not returned yet."""
        return self._next("requests", self._requests, timeout)

    def wait_for_disconnect(self, timeout: float = 5.0) -> Disconnect:
        """The next time (not returned yet) that a peer left while its reply was under way."""
        return self._next("disconnects", self._disconnects, timeout)

    def wait_for_connections(self, count: int, timeout: float = 5.0) -> None:
        """Until exactly `count` connections are open."""
        with self._news:
            if not self._news.wait_for(lambda: len(self._connections) == count, timeout):
                raise TimeoutError(f"{len(self._connections)} connections are open, not {count}")

    # --- in the loop: what connections report ---------------------------------------

    def note_opened(self, connection: Connection) -> int:
        """Returns a number for the connection that no other one gets."""
        with self._news:
            self._connections.add(connection)
            self._opened += 1
            self._last_id += 1
            self._news.notify_all()
            return self._last_id

    def connection_closed(self, connection: Connection) -> None:
        with self._news:
            self._connections.discard(connection)
            self._news.notify_all()

    def request_arrived(
        self, method: str, target: str, headers: tuple[tuple[str, str], ...], body: bytes, connection_id: int
    ) -> RecordedRequest:
        with self._news:
            request = RecordedRequest(
                method, target, headers, body, time.monotonic(), connection_id, len(self._requests) + 1
            )
            self._requests.append(request)
            self._news.notify_all()
        return request

    def peer_left(self, disconnect: Disconnect) -> None:
        with self._news:
            self._disconnects.append(disconnect)
            self._news.notify_all()

    def idle_race_lost(self) -> None:
        with self._news:
            self._idle_races += 1
            self._news.notify_all()

    def _next(self, name: str, items: list[_T], timeout: float) -> _T:
        with self._news:
            position = self._handed_out[name]
            if not self._news.wait_for(lambda: len(items) > position, timeout):
                raise TimeoutError(f"no more {name} within {timeout} s; seen so far: {position}")
            self._handed_out[name] = position + 1
            return items[position]
