"""A collector that takes OTLP over HTTP, in a thread of the test."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Value = str | int | float | bool | list["Value"]


def read_spans(body: bytes) -> list[Span]:
    sent = ExportTraceServiceRequest.FromString(body)
    return [
        span for resource in sent.resource_spans for scope in resource.scope_spans for span in scope.spans
    ]


def attributes(span: Span) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in span.attributes}


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    found: str | int | float | bool = getattr(value, kind or "string_value")
    return found


class Collector:
    """`hold`: accepts requests and answers none before its end."""

    def __init__(self, *, hold: bool = False) -> None:
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.asked = threading.Event()
        self._arrived = threading.Condition()
        self._let_go = threading.Event()
        if not hold:
            self._let_go.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.asked.set()
                collector._let_go.wait()
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector._take(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # A client that did not wait for its answer.

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_for(self, count: int, seconds: float = 20.0) -> list[Span]:
        """The spans, once there are that many."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.spans) >= count, seconds), self.spans
            return list(self.spans)

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        with self._arrived:
            self.bodies.append(body)
            self.headers.append(headers | {":path": path})
            self.spans += read_spans(body)
            self._arrived.notify_all()
