"""A bare HTTP client for tests: what goes over the wire, and when, with nothing in between."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

BEARER = {"authorization": "Bearer any-token"}


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object, checked for OpenAI's shape: all four keys, always."""
        body = self.json()
        assert set(body) == {"error"}, body
        assert {"message", "type", "param", "code"} <= set(body["error"]), body
        assert isinstance(body["error"]["message"], str), body
        assert body["error"]["message"], body
        return dict(body["error"])


def request(
    url: str,
    path: str,
    *,
    method: str = "GET",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
) -> Response:
    """One request on a connection of its own. A body that is not bytes goes out as JSON."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    try:
        connection.request(
            method, path, body=data, headers={"content-type": "application/json", **(headers or {})}
        )
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Response(response.status, names, response.read())
    finally:
        connection.close()


def chat(url: str, body: Any, *, headers: Mapping[str, str] | None = None, timeout: float = 30.0) -> Response:
    return request(
        url,
        "/api/v1/chat/completions",
        method="POST",
        body=body,
        headers={**BEARER, **(headers or {})},
        timeout=timeout,
    )


def say(model: str, text: str = "Hello!", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


class Stream:
    """An open event stream, read as its bytes arrive."""

    def __init__(
        self,
        url: str,
        body: Any,
        *,
        path: str = "/api/v1/chat/completions",
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> None:
        parts = urlsplit(url)
        data = json.dumps(body).encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=timeout)
        self._socket.sendall(
            f"POST {path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer t\r\n"
            f"content-type: application/json\r\n{more}content-length: {len(data)}\r\n\r\n".encode()
            + data
        )
        response = http.client.HTTPResponse(self._socket)
        response.begin()
        self._response = response
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.opened_at = time.monotonic()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, wherever the stream is."""
        self._response.close()
        self._socket.close()

    def read_some(self) -> bytes:
        """What has arrived, at least one byte; b"" at the end."""
        return self._response.read1(65536)

    def frames(self) -> Iterator[tuple[float, str]]:
        """Each frame's text with the time it was complete."""
        rest = b""
        while piece := self.read_some():
            rest += piece
            *whole, rest = rest.split(b"\n\n")
            for frame in whole:
                yield time.monotonic(), frame.decode()
        assert rest == b"", f"the stream ended in the middle of a frame: {rest!r}"

    def chunks(self) -> list[Any]:
        """All data frames to the end: parsed chunks, and "[DONE]"."""
        found: list[Any] = []
        for _, frame in self.frames():
            if frame.startswith(":"):
                continue
            assert frame.startswith("data: "), frame
            data = frame.removeprefix("data: ")
            found.append(data if data == "[DONE]" else json.loads(data))
        return found


def text_of(chunks: list[Any]) -> str:
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks
        if isinstance(chunk, dict)
        for choice in chunk["choices"]
    )
