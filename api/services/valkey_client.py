"""How this process speaks to Valkey, whatever it says there."""

from __future__ import annotations

from valkey.asyncio import Valkey
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import ConnectionError as ValkeyConnectionError


def open_client(url: str, *, connect_timeout: float) -> Valkey:
    """A client that connects on first use. Whoever asks it something keeps the time.

    valkey-py would keep it with `asyncio.wait_for`, which in Python 3.11 loses
    cancellations: https://github.com/python/cpython/issues/86296
    """
    client: Valkey = Valkey.from_url(
        url,
        socket_timeout=None,
        socket_connect_timeout=connect_timeout,
        # A connection that the server closed while it was idle is no reason to call it away.
        retry=Retry(NoBackoff(), 1, (ValkeyConnectionError,)),
        retry_on_error=[ValkeyConnectionError],
        client_name="patchbay",
    )
    return client
