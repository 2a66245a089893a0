"""The values between what is to be sent upstream and the transports that send it. PURE."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias


class SharedHeaders(dict[str, str]):
    """The headers of many requests. Nobody changes them, so a transport may keep what it makes of them.

    `kept`: for whom, and what.
    """

    __slots__ = ("kept",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(headers)
        self.kept: tuple[object, bytes] | None = None


# Not frozen: one is made for each request, and freezing triples what that costs.
@dataclass(slots=True)
class WireRequest:
    """One request, ready to be sent. Its headers hold a secret: never log it.

    `allows_private`: the URL may lead to this machine or its network.
    """

    url: str
    headers: Mapping[str, str]
    body: bytes
    allows_private: bool = False
    method: str = "POST"

    def __repr__(self) -> str:
        return f"WireRequest({len(self.body)} bytes)"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `headers` runs from the request being sent to the response's headers,
    `first_token` to the first event with output, `idle` between two pieces of a stream;
    `total` bounds a reply that is not streamed."""

    connect: float
    headers: float
    first_token: float
    idle: float
    total: float


Take: TypeAlias = Callable[[bytes], bool]
"""Takes a piece of a body, at once; says whether it wants the next."""


class WireResponse(Protocol):
    """A response whose headers have arrived. Header names are in lower case."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def take_whole(self, limit: int) -> bytes | None:
        """The whole body, if it is all there and nothing is left to close. None: see `read`."""
        ...

    async def read(self, limit: int, seconds: float | None = None) -> bytes:
        """The whole body.

        Raises TimeoutError when it does not end within `seconds`, and a Failure where it
        breaks off or is longer than `limit` bytes.
        """
        ...

    async def read_piece(self, seconds: float | None) -> bytes:
        """What has arrived, at least one byte; b"" at the clean end.

        Raises TimeoutError when nothing came for `seconds` (nothing is lost: it may be
        called again) and a Failure where the body breaks off.
        """
        ...

    async def pour(self, take: Take, seconds: float | None) -> bool:
        """Hand every piece to `take` as it arrives, until that has had enough.

        Returns whether the body has ended. Raises as `read_piece` does, with the time
        counted anew from each piece. `take` may be called from the event loop itself,
        while the caller waits here.
        """
        ...

    async def close(self) -> None:
        """Let go. A response that was not read to its end takes its connection with it."""
        ...


class Transport(Protocol):
    async def send(
        self, request: WireRequest, timeouts: Timeouts, seconds: float | None = None
    ) -> WireResponse:
        """Send and wait for the response's headers.

        Raises TimeoutError when that takes more than `seconds` in all, and a Failure for
        whatever else goes wrong.
        """
        ...

    async def close(self) -> None: ...


async def pour_pieces(
    read_piece: Callable[[float | None], Awaitable[bytes]], take: Take, seconds: float | None
) -> bool:
    """`pour` for responses that are read piece by piece."""
    while piece := await read_piece(seconds):
        if not take(piece):
            return False
    return True
