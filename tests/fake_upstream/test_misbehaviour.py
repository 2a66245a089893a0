"""Every fault, seen from a raw socket: what reaches the peer, in which order, and how it ends."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import time
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fake_upstream import (
    Answer,
    Chunked,
    CloseDelimited,
    CloseIdle,
    Cut,
    Disconnecting,
    Events,
    FakeUpstream,
    Garbage,
    Gate,
    Gzip,
    Hold,
    Html,
    Interim,
    Json,
    Pace,
    Paced,
    Raw,
    Redirect,
    Reply,
    SlowDrip,
    Stall,
    Trailers,
    WithHeaders,
    black_hole,
)

BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}).encode()
TEN = Reply(200, {}, b"0123456789")


@pytest.fixture(scope="module")
def server() -> Iterator[FakeUpstream]:
    with FakeUpstream() as running:
        yield running


@pytest.fixture
def upstream(server: FakeUpstream) -> FakeUpstream:
    server.reset()
    return server


class Peer:
    """A client that sees bytes, and how the connection ended: `fin`, `reset` or `open`."""

    def __init__(self, upstream: FakeUpstream) -> None:
        self.socket = socket.create_connection(("127.0.0.1", upstream.port), timeout=5)

    def ask(self, body: bytes = BODY) -> None:
        self.socket.sendall(
            b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer test-1\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(body), body)
        )

    def read(self, patience: float = 5.0) -> tuple[bytes, str]:
        """All that comes until the connection ends, or until nothing came for `patience` seconds."""
        data = b""
        self.socket.settimeout(patience)
        while True:
            try:
                part = self.socket.recv(65536)
            except ConnectionResetError:
                return data, "reset"
            except TimeoutError:
                return data, "open"
            if not part:
                return data, "fin"
            data += part

    def read_until(self, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end):
            part = self.socket.recv(65536)
            assert part, data
            data += part
        return data

    def body(self, patience: float = 5.0) -> tuple[bytes, str]:
        data, ending = self.read(patience)
        return data.partition(b"\r\n\r\n")[2], ending


@pytest.fixture
def peer(upstream: FakeUpstream) -> Iterator[Peer]:
    peer = Peer(upstream)
    with peer.socket:
        yield peer


class TestCut:
    @pytest.mark.parametrize(("reset", "ending"), [(False, "fin"), (True, "reset")])
    @pytest.mark.parametrize("after", [0, 1, 9])
    def test_a_body_with_a_length_stops_at_the_byte(
        self, upstream: FakeUpstream, peer: Peer, after: int, reset: bool, ending: str
    ) -> None:
        upstream.script(TEN + Cut(after, reset=reset))
        peer.ask()
        data, ended = peer.read()
        assert b"content-length: 10\r\n" in data
        assert data.endswith(b"\r\n\r\n" + b"0123456789"[:after])
        assert ended == ending

    def test_a_chunk_is_announced_whole_and_sent_in_part(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(Events([b"01234", b"56789"]) + Cut(7))
        peer.ask()
        assert peer.body() == (b"5\r\n01234\r\n5\r\n56", "fin")

    def test_a_cut_behind_the_body_leaves_out_the_last_chunk(
        self, upstream: FakeUpstream, peer: Peer
    ) -> None:
        upstream.script(Events([b"01234"]) + Cut(5))
        peer.ask()
        assert peer.body() == (b"5\r\n01234\r\n", "fin")

    def test_a_clean_cut_looks_like_the_end(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(Events([b"01234", b"56789"]) + Cut(7, clean=True))
        peer.ask()
        assert peer.read_until(b"0\r\n\r\n").endswith(b"\r\n\r\n5\r\n01234\r\n2\r\n56\r\n0\r\n\r\n")
        peer.ask()
        assert peer.socket.recv(12) == b"HTTP/1.1 200"

    def test_the_head_can_be_cut_too(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(TEN + Cut(14, within="response"))
        peer.ask()
        assert peer.read() == (b"HTTP/1.1 200 O", "fin")

    @pytest.mark.parametrize(("fault", "ending"), [(Cut(0), "fin"), (Cut(0, reset=True), "reset")])
    def test_no_byte_at_all(self, upstream: FakeUpstream, peer: Peer, fault: Cut, ending: str) -> None:
        upstream.script(Disconnecting() + fault)
        peer.ask()
        assert peer.read() == (b"", ending)
        assert len(upstream.requests) == 1

    def test_every_byte_of_a_model_answer_can_be_the_last(self, upstream: FakeUpstream) -> None:
        whole = b'data: {"a":"\xc3\xa9"}\n\n'
        for after in range(len(whole)):
            upstream.script(Events([whole]) + CloseDelimited() + Cut(after))
            other = Peer(upstream)
            with other.socket:
                other.ask()
                assert other.body() == (whole[:after], "fin")


class TestWaiting:
    @pytest.mark.parametrize(
        ("before", "seen"),
        [("headers", b""), ("body", b"\r\n\r\n"), (4, b"\r\n\r\n0123"), (10, b"\r\n\r\n0123456789")],
    )
    def test_a_stall_is_silence_at_its_place(
        self, upstream: FakeUpstream, peer: Peer, before: Any, seen: bytes
    ) -> None:
        gate = Gate()
        upstream.script(TEN + Hold(gate, before))
        peer.ask()
        gate.wait_reached()
        data, ended = peer.read(0.05)
        assert ended == "open"
        assert data.endswith(seen)
        assert bool(data) == bool(seen)
        gate.open()
        rest = peer.read_until(b"9") if before != 10 else b""
        assert (data + rest).endswith(b"\r\n\r\n0123456789")

    def test_a_stall_lasts_its_seconds(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(TEN + Stall("body", 0.2))
        started = time.monotonic()
        peer.ask()
        peer.read_until(b"9")
        assert 0.2 <= time.monotonic() - started < 2

    def test_a_stall_inside_a_chunk_then_a_reset(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(Events([b"0123456789"]) + Stall(3, 0.05) + Cut(3, reset=True))
        peer.ask()
        assert peer.body() == (b"a\r\n012", "reset")

    @pytest.mark.parametrize("reset", [False, True])
    def test_a_peer_that_leaves_is_noticed_at_once(self, upstream: FakeUpstream, reset: bool) -> None:
        gate = Gate()
        upstream.script(TEN + Hold(gate, 5))
        peer = Peer(upstream)
        peer.ask()
        gate.wait_reached()
        if reset:
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        left_at = time.monotonic()
        peer.socket.close()
        disconnect = upstream.wait_for_disconnect()
        assert 0 <= disconnect.at - left_at < 2
        assert disconnect.request == upstream.requests[0]
        assert disconnect.bytes_written > 5
        upstream.wait_for_connections(0)

    def test_leaving_after_the_reply_is_no_disconnect(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(TEN)
        peer.ask()
        peer.read_until(b"9")
        peer.socket.close()
        upstream.wait_for_connections(0)
        assert upstream.disconnects == []

    def test_reset_ends_replies_under_way(self, upstream: FakeUpstream, peer: Peer) -> None:
        gate = Gate()
        upstream.script(TEN + Hold(gate))
        peer.ask()
        gate.wait_reached()
        upstream.reset()
        assert peer.read() == (b"", "reset")
        assert upstream.disconnects == []


class TestPace:
    def test_pieces_leave_when_released(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(Events([b"one", b"two", b"three"]) + Paced())
        peer.ask()
        assert peer.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        assert peer.read(0.05) == (b"", "open")
        upstream.pace.release()
        assert peer.read_until(b"one\r\n") == b"3\r\none\r\n"
        sent_at = upstream.pace.wait_sent(1)
        assert peer.read(0.05) == (b"", "open")
        upstream.pace.release(2)
        assert upstream.pace.wait_sent(3) >= sent_at + 0.05
        assert peer.read_until(b"0\r\n\r\n") == b"3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"

    def test_streams_can_have_a_pace_of_their_own(self, upstream: FakeUpstream, peer: Peer) -> None:
        pace = Pace()
        upstream.script(Events([b"one", b"two"]) + Paced(pace))
        peer.ask()
        upstream.pace.release_all()
        peer.read_until(b"\r\n\r\n")
        assert peer.read(0.05) == (b"", "open")
        pace.release_all()
        peer.read_until(b"0\r\n\r\n")
        assert (len(pace.sent), upstream.pace.sent) == (2, [])

    def test_the_models_own_stream_can_be_paced(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(Answer() + Paced())
        peer.ask(BODY[:-1] + b', "stream": true}')
        upstream.pace.release()
        assert b'"role":"assistant"' in peer.read_until(b"}\n\n\r\n")
        upstream.pace.wait_sent(1)
        assert len(upstream.pace.sent) == 1

    def test_drips_and_delays(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(TEN + SlowDrip(3, 0.03), Events([b"a", b"b"], delay=0.1))
        started = time.monotonic()
        peer.ask()
        peer.read_until(b"9")
        assert time.monotonic() - started >= 0.09
        started = time.monotonic()
        peer.ask()
        peer.read_until(b"0\r\n\r\n")
        assert time.monotonic() - started >= 0.1


class TestFraming:
    def test_raw_bytes_are_all_there_is(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(Raw(b"HTTP/1.1 200 OK\r\ncontent-length: nonsense\r\n\r\nx"))
        peer.ask()
        assert peer.read() == (b"HTTP/1.1 200 OK\r\ncontent-length: nonsense\r\n\r\nx", "fin")

    def test_garbage_is_not_http(self, upstream: FakeUpstream) -> None:
        upstream.script(Garbage())
        with pytest.raises(httpx.RemoteProtocolError):
            _post(upstream)

    def test_close_delimited_bodies_have_no_framing(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(Events([b"one", b"two"]) + CloseDelimited())
        peer.ask()
        data, ended = peer.read()
        head, _, body = data.partition(b"\r\n\r\n")
        assert (body, ended) == (b"onetwo", "fin")
        assert b"content-length" not in head
        assert b"transfer-encoding" not in head

    def test_chunks_have_the_asked_size(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(TEN + Chunked(4))
        peer.ask()
        assert peer.read_until(b"0\r\n\r\n").endswith(
            b"\r\n\r\n4\r\n0123\r\n4\r\n4567\r\n2\r\n89\r\n0\r\n\r\n"
        )

    def test_trailers(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(TEN + Trailers({"x-sum": "45"}))
        peer.ask()
        data = peer.read_until(b"x-sum: 45\r\n\r\n")
        assert b"trailer: x-sum\r\n" in data
        assert data.endswith(b"a\r\n0123456789\r\n0\r\nx-sum: 45\r\n\r\n")

    def test_interim_responses_come_first(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(TEN + Interim(103, {"link": "</x>"}, times=2))
        peer.ask()
        data = peer.read_until(b"9")
        assert data.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 2 + b"HTTP/1.1 200 OK\r\n")

    def test_gzip_of_a_body(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(TEN + Gzip() + CloseDelimited())
        peer.ask()
        data, _ = peer.read()
        head, _, body = data.partition(b"\r\n\r\n")
        assert b"content-encoding: gzip" in head
        assert gzip.decompress(body) == b"0123456789"

    def test_gzip_of_a_stream_is_flushed_piece_by_piece(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(Events([b"one", b"two"]) + Gzip() + Paced() + CloseDelimited())
        peer.ask()
        peer.read_until(b"\r\n\r\n")
        upstream.pace.release()
        upstream.pace.wait_sent(1)
        first, _ = peer.read(0.05)
        inflate = zlib.decompressobj(wbits=31)
        assert inflate.decompress(first) == b"one"
        upstream.pace.release_all()
        assert inflate.decompress(peer.read()[0]) == b"two"
        assert inflate.eof

    def test_html_redirects_and_other_headers(self, upstream: FakeUpstream) -> None:
        upstream.script(
            Html(504), Redirect("http://x/"), TEN + WithHeaders({"X-A": "1", "content-type": "text/x"})
        )
        page, redirect, plain = _post(upstream), _post(upstream), _post(upstream)
        assert (page.status_code, page.text[:6], page.headers["content-type"][:9]) == (
            504,
            "<html>",
            "text/html",
        )
        assert (redirect.status_code, redirect.headers["location"]) == (307, "http://x/")
        assert (plain.headers["x-a"], plain.headers["content-type"]) == ("1", "text/x")

    def test_odd_json_and_statuses(self, upstream: FakeUpstream) -> None:
        upstream.script(Json(200, []), Json(529, None))
        assert _post(upstream).json() == []
        overloaded = _post(upstream)
        assert (overloaded.status_code, overloaded.content) == (529, b"null")


class TestConnections:
    def test_a_connection_serves_many_requests(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(TEN, times=3)
        for _ in range(3):
            peer.ask()
            peer.read_until(b"9")
        assert len({seen.connection_id for seen in upstream.requests}) == 1

    def test_parts_of_a_reply_do_not_wait_for_acknowledgements(
        self, upstream: FakeUpstream, peer: Peer
    ) -> None:
        upstream.script(TEN, times=40)
        started = time.monotonic()
        for _ in range(40):
            peer.ask()
            peer.read_until(b"9")
        # Nagle's algorithm against a delayed acknowledgement costs 40 ms a reply.
        assert time.monotonic() - started < 1.2

    def test_pipelined_requests_are_answered_in_order(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.script(Reply(200, {}, b"first"), Reply(200, {}, b"second"))
        peer.ask()
        peer.ask()
        data = peer.read_until(b"second")
        assert data.index(b"first") < data.index(b"second")

    def test_the_client_may_ask_to_close(self, upstream: FakeUpstream, peer: Peer) -> None:
        peer.socket.sendall(b"GET /models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        data, ended = peer.read()
        assert (data[:12], ended) == (b"HTTP/1.1 401", "fin")
        assert b"connection: close" in data

    @pytest.mark.parametrize(("reset", "ending"), [(False, "fin"), (True, "reset")])
    def test_closing_right_after_the_reply(
        self, upstream: FakeUpstream, peer: Peer, reset: bool, ending: str
    ) -> None:
        upstream.script(TEN + CloseIdle(reset=reset))
        peer.ask()
        data, ended = peer.read()
        assert (data[-10:], ended) == (b"0123456789", ending)
        assert b"connection: close" not in data

    @pytest.mark.parametrize(("reset", "ending"), [(False, "fin"), (True, "reset")])
    def test_the_idle_race(self, upstream: FakeUpstream, peer: Peer, reset: bool, ending: str) -> None:
        upstream.script(TEN + CloseIdle("on_next_request", reset=reset))
        peer.ask()
        peer.read_until(b"9")
        assert peer.read(0.05) == (b"", "open")
        peer.ask()
        assert peer.read() == (b"", ending)
        assert (len(upstream.requests), upstream.idle_races) == (1, 1)

    def test_refusing(self, upstream: FakeUpstream, peer: Peer) -> None:
        upstream.wait_for_connections(1)
        with upstream.refuse_connections():
            assert peer.read() == (b"", "fin")
            with pytest.raises(ConnectionRefusedError):
                Peer(upstream)
        assert _post(upstream).status_code == 200

    def test_accepting_and_closing(self, upstream: FakeUpstream) -> None:
        with upstream.refuse_connections(accept=True):
            peer = Peer(upstream)
            with peer.socket:
                assert peer.read() == (b"", "fin")
        assert _post(upstream).status_code == 200

    def test_accepting_and_resetting(self, upstream: FakeUpstream) -> None:
        with upstream.refuse_connections(accept=True, reset=True), pytest.raises(httpx.TransportError):
            _post(upstream)
        assert _post(upstream).status_code == 200

    def test_a_black_hole_lets_nobody_connect(self) -> None:
        with black_hole() as url, pytest.raises(httpx.ConnectTimeout):
            httpx.get(url, timeout=0.2)

    def test_what_is_not_http_is_refused(self, upstream: FakeUpstream, peer: Peer) -> None:
        peer.socket.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        data, ended = peer.read()
        assert (data[:12], ended) == (b"HTTP/1.1 400", "fin")

    def test_a_reader_that_does_not_read_holds_the_writer_back(self, upstream: FakeUpstream) -> None:
        piece = b"x" * 1_000_000
        upstream.script(Events([piece] * 64) + Paced())
        upstream.pace.release_all()
        peer = Peer(upstream)
        peer.ask()
        peer.socket.recv(1)
        assert _quiet_count(upstream) < 64
        peer.socket.close()
        assert upstream.wait_for_disconnect().bytes_written < 64 * len(piece)


def _quiet_count(upstream: FakeUpstream) -> int:
    """How many pieces went out when no more go."""
    for count in itertools.count():
        try:
            upstream.pace.wait_sent(count + 1, timeout=0.2)
        except TimeoutError:
            return count
    raise AssertionError("unreachable: the count has no end")


def _post(upstream: FakeUpstream) -> httpx.Response:
    headers = {"authorization": "Bearer test-1"}
    url = f"{upstream.openai_url}/chat/completions"
    return httpx.post(url, content=BODY, headers=headers, verify=False, trust_env=False)
