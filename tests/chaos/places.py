"""Where an upstream can be that is not even wrong HTTP: addresses that fail before, or below, a request."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

# Too long for a name: the resolver refuses it by itself and asks nobody.
UNRESOLVABLE = "http://" + ".".join(["a" * 60] * 5) + ".invalid"


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """An address that refuses connections: the port is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextlib.contextmanager
def silent(scheme: str) -> Iterator[str]:
    """An address that takes connections and never says a word, not even a TLS handshake's."""
    with _accepting(half_closes=False) as port:
        yield f"{scheme}://127.0.0.1:{port}"


@contextlib.contextmanager
def half_closing() -> Iterator[str]:
    """An address that ends its own side of a connection at once and keeps the other open."""
    with _accepting(half_closes=True) as port:
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _accepting(*, half_closes: bool) -> Iterator[int]:
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                taken.append(connection)
                if half_closes:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=accept, name="accepting", daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()
