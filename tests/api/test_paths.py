"""Paths a client may get slightly wrong: a slash too many, a base URL without its end, bytes that are no HTTP."""

from __future__ import annotations

import json
import socket

import pytest

from tests.api.http import BEARER, request
from tests.live_server import LiveServer


@pytest.mark.parametrize("path", ["/api/v1/models/gpt-4o/", "/v1/models/gpt-4o", "/v1/models/gpt-4o/"])
def test_a_last_slash_changes_nothing(server: LiveServer, path: str) -> None:
    answer = request(server.url, path)
    assert answer.status == 200
    assert answer.json()["id"] == "gpt-4o"


@pytest.mark.parametrize("path", ["/chat/completions", "/chat/completions/", "/models", "/models/gpt-4o"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_base_url_without_its_end_is_told_so(server: LiveServer, path: str, method: str) -> None:
    answer = request(server.url, path, method=method, headers=BEARER)
    assert answer.status == 404
    assert answer.error["message"].endswith("The base URL of this API ends in /api/v1 or /v1.")
    assert answer.headers["x-request-id"].startswith("req_")


def test_what_is_no_http_gets_a_request_id_too(server: LiveServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as peer:
        peer.sendall(b"no http at all\r\n\r\n")
        said = b""
        while piece := peer.recv(65536):
            said += piece
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nx-request-id: req_" in head
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
