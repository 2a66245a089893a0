"""Requests that a test starts, watches from outside and reads to their end."""

from __future__ import annotations

import json
import socket
import threading
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from tests.api.http import Response, chat, say


def head_and_body(url: str, body: Any, *, path: str = "/api/v1/chat/completions") -> bytes:
    data = json.dumps(body).encode()
    return (
        f"POST {path} HTTP/1.1\r\nhost: {urlsplit(url).netloc}\r\nauthorization: Bearer t\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    ).encode() + data


class KeptConnection:
    """One connection for several requests, as a client's pool has it."""

    def __init__(self, url: str, *, timeout: float = 20.0) -> None:
        self._url = url
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=timeout)

    def __enter__(self) -> KeptConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, body: Any) -> None:
        self._socket.sendall(head_and_body(self._url, body))

    def send_half(self, path: str) -> None:
        """The head of a request, and not all of the body that it announces."""
        head = f"POST {path} HTTP/1.1\r\nhost: {urlsplit(self._url).netloc}\r\nauthorization: Bearer t\r\n"
        self._socket.sendall(f"{head}content-length: 100\r\n\r\nhalf".encode())

    def get(self, path: str) -> Response:
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        return self.read()

    def read(self) -> Response:
        response = HTTPResponse(self._socket)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Response(response.status, headers, response.read())

    def peek(self) -> bytes:
        """What has come of an answer, which stays to be read."""
        return self._socket.recv(65536, socket.MSG_PEEK)

    def is_closed(self) -> bool:
        """Waits until the server closes its side."""
        return self._socket.recv(1) == b""


class Asked(threading.Thread):
    """A request that is answered in its own time."""

    def __init__(self, url: str, model: str = "gpt-4o-mini", **more: Any) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._body = say(model, **more)
        self._response: Response | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._response = chat(self._url, self._body)
        except OSError as error:
            self.error = error

    def response(self, timeout: float = 20.0) -> Response:
        self.join(timeout)
        assert self._response is not None, self.error or "no answer"
        return self._response


def log_fields(log: str, message: str = "chat") -> list[dict[str, Any]]:
    """The request lines of a log in JSON."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("message") == message]
