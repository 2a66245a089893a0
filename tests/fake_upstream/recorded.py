"""What the server saw: requests as they came off the wire, and peers that left too early.

Owns plain values only; refuses to judge them, which is the rule modules' work.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request, complete, with its headers in wire order and wire spelling."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    at: float
    """`time.monotonic()` when the last byte of it arrived."""
    connection_id: int
    number: int
    """Counts from 1 since the server started or was reset."""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def json(self) -> Any:
        """The body, parsed; a body that is not JSON raises `ValueError`."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever its spelling."""
        values = self.header_values(name)
        return values[0] if values else None

    def header_values(self, name: str) -> list[str]:
        wanted = name.lower()
        return [value for key, value in self.headers if key.lower() == wanted]


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The peer closed, or reset, while its reply was being written or was held back."""

    request: RecordedRequest
    at: float
    """`time.monotonic()` when the server noticed."""
    bytes_written: int
    """Bytes of the reply that had been handed to the socket, head included."""
