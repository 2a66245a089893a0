"""What a client is told that gets no further than its connection."""

from __future__ import annotations

import http
from typing import Any

from api.request import make_request_id
from api.services.translation.dialects.openai_chat.failures import encode_failure
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.json_text import dump_json


def encode_refusal(failure: Failure) -> bytes:
    """A whole answer, head and body, after which the connection closes."""
    body = dump_json(encode_failure(failure))
    phrase = http.HTTPStatus(failure.status).phrase
    return (
        f"HTTP/1.1 {failure.status} {phrase}\r\ncontent-type: application/json\r\n"
        f"x-request-id: {make_request_id()}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
        + body
    )


async def refuse_client(scope: Any, receive: Any, send: Any) -> None:
    """What a connection over MAX_CONNECTIONS gets, except from probes: a busy process is not a dead one."""
    if scope["path"] == "/healthz":
        status, body = 200, b'{"status":"ok"}'
    else:
        failure = Failure(
            FailureKind.OVERLOADED,
            "The proxy has as many connections as it may have. Try again in a moment. "
            "The operator sets how many with MAX_CONNECTIONS.",
            retry_after=1,
            should_retry=True,
        )
        status, body = failure.status, dump_json(encode_failure(failure))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", make_request_id().encode()),
        (b"connection", b"close"),
    ]
    if status != 200:
        headers += [(b"retry-after", b"1"), (b"x-should-retry", b"true")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
