"""Our own HTTP/1.1 client: a pool of connections on asyncio and httptools.

Made for one thing, a POST whose reply may be a long stream, at a small cost of CPU.
It keeps no cookies, follows no redirects and speaks no HTTP/2.

    pool.py        the transport: idle connections, when to try again
    connection.py  one socket: writing a request, what comes back, letting go
    response.py    one response: parsing, buffering, waiting
    inflate.py     gzip and deflate bodies
    targets.py     a URL and its headers as the bytes of a request's head
    connect.py     TCP, TLS and proxies;  dial.py: names, addresses, happy eyeballs
    proxies.py     which proxy the environment names
"""

from __future__ import annotations

from api.services.pool.pool import PoolTransport

__all__ = ["PoolTransport"]
