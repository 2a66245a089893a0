"""A client that trusts nothing: it reads one response off the wire and says how it ended.

It owns HTTP's framing only, and refuses to be lenient about it: what a forgiving library
would smooth over (a missing last chunk, bytes behind the end) is what it is here to see.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

PATH: Final = "/api/v1/chat/completions"


class End(StrEnum):
    """How the bytes of a response ended."""

    WHOLE = "whole"
    NO_CONNECTION = "no connection"
    CUT = "cut"
    HUNG = "hung"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Seen:
    """One response as it came. `detail` says what is wrong with it, where something is."""

    end: End
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    detail: str = ""


class _Malformed(Exception):
    pass


class Client:
    """One keep-alive connection, opened anew when the server closed it. One request at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request_id: str, body: Any, *, seconds: float, leave_after: int = 0) -> Seen:
        """The response to one chat request, within `seconds`.

        With `leave_after`, hang up once that many bytes of it have come (0: never).
        """
        data = json.dumps(body).encode()
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\nauthorization: Bearer chaos\r\n"
            f"x-request-id: {request_id}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(data)}\r\n\r\n"
        ).encode()
        response = _Response(leave_after)
        try:
            async with asyncio.timeout(seconds):
                try:
                    reader, writer = await self._connect()
                except OSError as error:
                    return Seen(End.NO_CONNECTION, detail=str(error))
                writer.write(head + data)
                await response.read(reader)
        except TimeoutError:
            self.close()
            return response.seen(End.HUNG, f"not over after {seconds:g} s")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.close()
            return response.seen(End.CUT, str(error) or type(error).__name__)
        except _Malformed as error:
            self.close()
            return response.seen(End.MALFORMED, str(error))
        if response.has_left or response.headers.get("connection", "").lower() == "close":
            self.close()
        return response.seen(End.WHOLE)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        streams = self._streams
        if streams is not None:
            # A server may close a connection on which nothing is under way; the next request
            # then goes out on another, as with every HTTP client.
            await asyncio.sleep(0)
            if not streams[0].at_eof() and streams[0].exception() is None:
                return streams
            self.close()
        self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return self._streams

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


class _Response:
    def __init__(self, leave_after: int) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.has_left = False
        self._leave_after = leave_after

    def seen(self, end: End, detail: str = "") -> Seen:
        return Seen(end, self.status, self.headers, self.body, detail)

    async def read(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if version != "HTTP/1.1" or not rest[:3].isdecimal():
            raise _Malformed(f"not a status line: {first[:80]!r}")
        self.status = int(rest[:3])
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise _Malformed(f"not a header: {line[:80]!r}")
            if name.lower() in self.headers and name.lower() != "set-cookie":
                raise _Malformed(f"the header {name} came twice")
            self.headers[name.lower()] = value.strip()
        if self._leave_after and self._leave_after <= len(head):
            self.has_left = True
            return
        if self.headers.get("transfer-encoding") == "chunked":
            await self._read_chunks(reader)
        elif "content-length" in self.headers:
            self.body = await reader.readexactly(int(self.headers["content-length"]))
        else:
            raise _Malformed("neither content-length nor chunks")

    async def _read_chunks(self, reader: asyncio.StreamReader) -> None:
        while not self.has_left:
            line = await reader.readuntil(b"\r\n")
            try:
                size = int(line[:-2], 16)
            except ValueError:
                raise _Malformed(f"not a chunk's size: {line[:40]!r}") from None
            chunk = await reader.readexactly(size + 2)
            if chunk[-2:] != b"\r\n":
                raise _Malformed("a chunk does not end where it said")
            self.body += chunk[:-2]
            if size == 0:
                return
            if self._leave_after and len(self.body) >= self._leave_after:
                self.has_left = True
