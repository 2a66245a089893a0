"""Clients that ask without pause, and judge every answer: whole and right, or what was wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.server.exchanges import head_and_body


class Wrong(Exception):
    """An answer that is not whole."""


class Load:
    """`clients` of each kind: plain answers over kept connections, streams, and a new connection each time.

    A client goes by HTTP's rules: it opens a new connection where the last answer said
    `close`, or where the server closed it while it was idle; an answer that breaks off, or
    a request that gets none, is `lost`.
    """

    def __init__(self, url: str, *, model: str, clients: int = 4) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._url = url
        self._model = model
        self._clients = clients
        self._is_over = False
        self.answered: Counter[str] = Counter()
        self.lost: list[str] = []
        self.refused: list[str] = []
        """Answers that are well formed and not a 200."""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for kind in ("plain", "stream", "fresh"):
            self._tasks += [asyncio.create_task(self._ask_on(kind)) for _ in range(self._clients)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def until(self, more: int) -> None:
        """Wait for that many further answers."""
        goal = self.answered.total() + more
        async with asyncio.timeout(60):
            while self.answered.total() < goal:
                await asyncio.sleep(0.01)

    async def _ask_on(self, kind: str) -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        is_stream = kind == "stream"
        request = head_and_body(
            self._url,
            {"model": self._model, "messages": [{"role": "user", "content": "Hi"}], "stream": is_stream},
        )
        while not self._is_over:
            try:
                if connection is not None and connection[0].at_eof():
                    connection = self._closed(connection)
                if connection is None:
                    connection = await asyncio.open_connection(self._host, self._port)
                reader, writer = connection
                writer.write(request)
                async with asyncio.timeout(30):
                    is_kept = await self._read(kind, reader, is_stream=is_stream)
                if not is_kept or kind == "fresh":
                    connection = self._closed(connection)
            except (OSError, EOFError, Wrong, TimeoutError, ValueError) as error:
                self.lost.append(f"{kind}: {error!r}")
                connection = self._closed(connection)
        self._closed(connection)

    @staticmethod
    def _closed(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None) -> None:
        if connection is not None:
            with contextlib.suppress(OSError):
                connection[1].close()

    async def _read(self, kind: str, reader: asyncio.StreamReader, *, is_stream: bool) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(head.split(" ", 2)[1])
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:] if line)
        }
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        else:
            body = b""
            while size := int((await reader.readline()).strip(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        self._judge(kind, status, body, is_stream=is_stream)
        return headers.get("connection") != "close"

    def _judge(self, kind: str, status: int, body: bytes, *, is_stream: bool) -> None:
        if status != 200:
            self.refused.append(f"{kind}: {status} {body[:200]!r}")
        elif is_stream:
            if b'"error"' in body:
                self.refused.append(f"{kind}: {body[-300:]!r}")
            elif not body.endswith(b"data: [DONE]\n\n"):
                raise Wrong(f"a stream without its end: {body[-100:]!r}")
        else:
            reply: dict[str, Any] = json.loads(body)
            if not reply["choices"][0]["message"]["content"]:
                raise Wrong(f"an answer without text: {body[:200]!r}")
        self.answered[kind] += 1
