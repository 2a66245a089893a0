"""The reference: a proxy as one would write it by hand, aiohttp on both sides, on uvloop, no features."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator

import aiohttp
import orjson
import uvloop
from aiohttp import web

_UPSTREAM = os.environ["BENCH_UPSTREAM"] + "/v1/chat/completions"
_HEADERS = {"authorization": "Bearer bench", "content-type": "application/json"}
_MODELS = {"gpt-4o-mini": "gpt-4o-mini"}
_SESSION = web.AppKey("session", aiohttp.ClientSession)


async def complete(request: web.Request) -> web.StreamResponse:
    wanted = orjson.loads(await request.read())
    wanted["model"] = _MODELS[wanted["model"]]
    session = request.app[_SESSION]
    async with session.post(_UPSTREAM, data=orjson.dumps(wanted), headers=_HEADERS) as upstream:
        if not wanted.get("stream"):
            reply = orjson.loads(await upstream.read())
            return web.Response(
                body=orjson.dumps(reply), status=upstream.status, content_type="application/json"
            )
        response = web.StreamResponse(status=upstream.status, headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        async for piece in upstream.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


async def _session(app: web.Application) -> AsyncIterator[None]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        app[_SESSION] = session
        yield


def main() -> None:
    uvloop.install()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/chat/completions", complete)
    app.cleanup_ctx.append(_session)
    web.run_app(
        app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, backlog=4096, print=lambda *_: None
    )


if __name__ == "__main__":
    main()
