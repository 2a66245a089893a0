"""An address that neither answers nor refuses: connecting to it hangs until the client gives up."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

_FILLERS = 4


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """Yields the URL of a listener whose queue is full, so that the kernel drops every SYN."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(_FILLERS):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"
