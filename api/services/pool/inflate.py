"""Bodies that arrive compressed although nobody asked for it: gzip and deflate, by zlib.

Each piece comes out at most `_PIECE` bytes long, so a small body that unpacks to
gigabytes costs its reader no memory, and `read` stops it at its limit.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from typing import Final

from api.services.pool.response import Response, read_all
from api.services.wire import Take, WireResponse, pour_pieces
from api.services.wire_failures import Trouble

_PIECE: Final = 256 * 1024
_GZIP: Final = 31
_ZLIB: Final = 15
_RAW: Final = -15


def inflated(response: Response) -> WireResponse:
    """The response with its body as the upstream meant it.

    Raises:
        Failure: it is compressed in another way.
    """
    match response.headers.get("content-encoding", "").lower():
        case "" | "identity":
            return response
        case "gzip" | "x-gzip" | "deflate" as encoding:
            return _InflatedResponse(response, is_gzip=encoding != "deflate")
        case _:
            raise Trouble.UNKNOWN_ENCODING.failure()


class _InflatedResponse:
    def __init__(self, response: Response, *, is_gzip: bool) -> None:
        self._response = response
        self._is_gzip = is_gzip
        self._inflater: zlib._Decompress | None = None
        self._packed = b""

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    def take_whole(self, limit: int) -> None:
        return None

    async def read(self, limit: int, seconds: float | None = None) -> bytes:
        # Not by the time to each piece: what comes in may unpack to nothing for ever.
        async with asyncio.timeout(seconds):
            return await read_all(self.read_piece, limit)

    async def pour(self, take: Take, seconds: float | None) -> bool:
        return await pour_pieces(self.read_piece, take, seconds)

    async def read_piece(self, seconds: float | None) -> bytes:
        while True:
            if not self._packed:
                self._packed = await self._response.read_piece(seconds)
                if not self._packed:
                    if self._inflater is not None and not self._inflater.eof:
                        raise Trouble.BROKEN_OFF.failure()
                    return b""
            try:
                piece = self._inflate()
            except zlib.error:
                raise Trouble.BROKEN_OFF.failure() from None
            if piece:
                return piece

    def _inflate(self) -> bytes:
        inflater = self._inflater
        if inflater is None or inflater.eof:  # a gzip body may have several members
            inflater = self._inflater = zlib.decompressobj(self._window_bits())
        piece = inflater.decompress(self._packed, _PIECE)
        self._packed = inflater.unconsumed_tail or inflater.unused_data
        return piece

    def _window_bits(self) -> int:
        if self._is_gzip:
            return _GZIP
        # "deflate" means zlib's format, but some servers send the bare stream:
        # https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1.2
        return _ZLIB if self._packed[0] & 0x0F == 8 else _RAW

    async def close(self) -> None:
        await self._response.close()
