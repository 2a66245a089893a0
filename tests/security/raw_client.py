"""A socket to the proxy: bytes as a test writes them, with no HTTP library to make them decent."""

from __future__ import annotations

import json
import socket
import time
from typing import Self

from tests.live_server import LiveServer


class RawClient:
    def __init__(self, server: LiveServer, timeout: float = 10.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=timeout)
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send_until_refused(self, piece: bytes, most: int) -> int:
        """Send `piece` again and again, until the server stops it or `most` bytes are out."""
        sent = 0
        try:
            while sent < most:
                self._socket.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        return sent

    def read_all(self) -> bytes:
        """Everything until the server closes; a reset ends it as well."""
        parts = [self._unread]
        self._unread = b""
        try:
            while part := self._socket.recv(65536):
                parts.append(part)
        except ConnectionError:
            pass
        return b"".join(parts)

    def read_response(self) -> tuple[int, dict[str, str], bytes]:
        """One response with a known length."""
        while b"\r\n\r\n" not in self._unread:
            self._more()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
        length = int(headers["content-length"])
        while len(self._unread) < length:
            self._more()
        body, self._unread = self._unread[:length], self._unread[length:]
        return int(line.split(" ")[1]), headers, body

    def _more(self) -> None:
        part = self._socket.recv(65536)
        if not part:
            raise ConnectionError("the server closed the connection")
        self._unread += part

    def seconds_until_closed(self) -> float:
        began = time.monotonic()
        self.read_all()
        return time.monotonic() - began


def head(
    method: str = "POST", target: str = "/api/v1/chat/completions", *lines: str, host: str = "127.0.0.1"
) -> bytes:
    fields = "".join(f"{line}\r\n" for line in lines)
    return f"{method} {target} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer t\r\n{fields}\r\n".encode(
        "latin-1"
    )


def chat_bytes(*lines: str, model: str = "gpt-4o-mini") -> bytes:
    """A whole chat request."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello!"}]}).encode()
    return (
        head(
            "POST",
            "/api/v1/chat/completions",
            "content-type: application/json",
            f"content-length: {len(body)}",
            *lines,
        )
        + body
    )


def statuses(data: bytes) -> list[int]:
    """The status lines in what a server said."""
    return [int(line[9:12]) for line in data.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
