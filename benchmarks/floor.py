"""The floor: a bare ASGI callable over the proxy's own HTTP client. No framework, no key, no limit, no log.

What remains above it is what Django, the routing and the features cost.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import orjson
import uvicorn

from api.services.pool import PoolTransport
from api.services.wire import Timeouts, WireRequest

_UPSTREAM = os.environ["BENCH_UPSTREAM"] + "/v1/chat/completions"
_HEADERS = {
    "authorization": "Bearer bench",
    "content-type": "application/json",
    "accept-encoding": "identity",
}
_TIMEOUTS = Timeouts(connect=10, headers=120, first_token=120, idle=120, total=600)
_MODELS = {"gpt-4o-mini": "gpt-4o-mini"}

_transports: list[PoolTransport] = []


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    wanted = orjson.loads(body)
    wanted["model"] = _MODELS[wanted["model"]]
    if not _transports:
        _transports.append(PoolTransport())
    request = WireRequest(_UPSTREAM, _HEADERS, orjson.dumps(wanted), allows_private=True)
    response = await _transports[0].send(request, _TIMEOUTS)
    if wanted.get("stream"):
        await _start(send, response.status, b"text/event-stream")
        while piece := await response.read_piece(120):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    else:
        reply = orjson.dumps(orjson.loads(await response.read(1 << 26)))
        await _start(send, response.status, b"application/json", (b"content-length", b"%d" % len(reply)))
        await send({"type": "http.response.body", "body": reply})


async def _start(send: Any, status: int, content_type: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", content_type), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})


if __name__ == "__main__":
    uvicorn.run(
        application,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        ws="none",
        access_log=False,
        log_level="warning",
    )
