"""Cooldowns as clients and operators meet them: the real server, over a fake OpenAI and Anthropic."""

from __future__ import annotations

import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.api.conftest import upstream_settings
from tests.api.http import Response, Stream, chat, say
from tests.api.prepared import prepared_server
from tests.fake_upstream import Answer, Cut, FakeUpstream, Gate, Hold, Json
from tests.limits.conftest import shared_server, valkey_url
from tests.live_server import LiveServer

__all__ = ["shared_server", "valkey_url"]

OPENAI = "/openai"
REST = 1.0

# Each test has a model of its own: at OpenAI, and behind that at Anthropic.
_PREPARE = """
from routing.models import Deployment, Provider, ServedModel
openai, claude = (Provider.objects.get(name=name) for name in ("openai", "anthropic"))
for public_id in ("probed", "refused", "limited", "broken", "reset", "shared", "checked", "slow"):
    model = ServedModel.objects.create(public_id=public_id)
    Deployment.objects.create(model=model, provider=openai, upstream_id="gpt-4o", priority=0)
    Deployment.objects.create(model=model, provider=claude, upstream_id="claude-sonnet-4-5", priority=1)
alone = ServedModel.objects.create(public_id="alone")
Deployment.objects.create(model=alone, provider=openai, upstream_id="gpt-4o")
"""


@pytest.fixture(scope="module")
def shared_fake() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(shared_fake: FakeUpstream) -> Iterator[FakeUpstream]:
    shared_fake.reset()
    yield shared_fake
    shared_fake.reset()


def settings_for(upstream: FakeUpstream, **more: str) -> dict[str, str]:
    return upstream_settings(upstream) | {"COOLDOWN_AFTER": "3", "COOLDOWN_SECONDS": str(REST)} | more


@pytest.fixture(scope="module")
def prepared(shared_fake: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the database that every server here begins with."""
    folder = tmp_path_factory.mktemp("cooldowns")
    with prepared_server(settings_for(shared_fake), folder, _PREPARE):
        pass
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "data"))


@pytest.fixture(scope="module")
def server(
    shared_fake: FakeUpstream, prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("cooldowns") / "data"))
    with LiveServer(settings_for(shared_fake), data_dir=folder) as server:
        yield server


def asked(upstream: FakeUpstream, path: str = OPENAI) -> int:
    """How many chats arrived there."""
    return sum(seen.path.startswith(path) and seen.method == "POST" for seen in upstream.requests)


def where(answer: Response) -> str:
    assert answer.status == 200, answer.body
    return answer.headers["x-patchbay-upstream"].partition("/")[0]


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def fail(status: int = 500, **headers: str) -> Json:
    body = {"error": {"message": "no", "type": "x", "param": None, "code": None}}
    return Json(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def trip(server: LiveServer, upstream: FakeUpstream, model: str) -> None:
    before = asked(upstream)
    for _ in range(3):
        assert where(chat(server.url, say(model))) == "anthropic"
    assert asked(upstream) == before + 3


def test_after_failures_requests_go_elsewhere_until_a_probe_is_answered(
    server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.always(fail(), path=OPENAI)
    trip(server, upstream, "probed")
    tripped = time.monotonic()
    for _ in range(10):
        answer = chat(server.url, say("probed"))
        assert where(answer) == "anthropic"
        assert answer.headers["x-patchbay-attempts"] == "1"
    if time.monotonic() - tripped < 0.8 * REST:
        assert asked(upstream) == 3
    # Over and over: one failed probe, and a longer rest.
    until(lambda: bool(chat(server.url, say("probed"))) and asked(upstream) >= 4)
    probed = time.monotonic()
    before = asked(upstream)
    while time.monotonic() - probed < REST:
        chat(server.url, say("probed"))
        time.sleep(0.05)
    assert asked(upstream) == before
    upstream.reset()
    until(lambda: where(chat(server.url, say("probed"))) == "openai")
    assert [where(chat(server.url, say("probed"))) for _ in range(5)] == ["openai"] * 5


def test_with_nothing_else_left_it_is_tried_all_the_same(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(fail(503), path=OPENAI)
    for number in range(1, 9):
        answer = chat(server.url, say("alone"))
        assert answer.status == 503
        assert asked(upstream) == number
    upstream.reset()
    assert where(chat(server.url, say("alone"))) == "openai"


def test_a_refused_key_rests_at_once_and_the_log_says_so_without_it(
    server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.always(fail(401), path=OPENAI)
    for _ in range(4):
        assert where(chat(server.url, say("refused"))) == "anthropic"
    assert asked(upstream) == 1
    [line] = [line for line in server.log().splitlines() if "rests:" in line and "key_refused" in line]
    assert "openai/gpt-4o" in line
    assert "test-openai-key-do-not-leak" not in server.log()


def test_a_rate_limit_rests_as_long_as_it_says(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.script(fail(429, retry_after="2"), path=OPENAI)
    began = time.monotonic()
    assert where(chat(server.url, say("limited"))) == "anthropic"
    until(lambda: where(chat(server.url, say("limited"))) == "openai")
    assert time.monotonic() - began >= 2.0
    assert asked(upstream) == 2


def test_streams_that_break_count_though_they_had_begun(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.always(Answer() + Cut(after_bytes=1500), path=OPENAI)
    for _ in range(3):
        with Stream(server.url, say("broken", "word " * 60, stream=True)) as stream:
            assert stream.headers["x-patchbay-upstream"] == "openai/gpt-4o"
            while stream.read_some():
                pass
    with Stream(server.url, say("broken", stream=True)) as stream:
        assert stream.headers["x-patchbay-upstream"] == "anthropic/claude-sonnet-4-5"


def test_a_long_stream_is_a_probe_only_until_its_output_begins(
    server: LiveServer, upstream: FakeUpstream
) -> None:
    upstream.always(fail(), path=OPENAI)
    trip(server, upstream, "slow")
    upstream.reset()
    gate = Gate()
    upstream.script(Answer() + Hold(gate, before=1500), path=OPENAI)
    with ExitStack() as streams:

        def is_probing() -> bool:
            stream = streams.enter_context(Stream(server.url, say("slow", "word " * 60, stream=True)))
            return stream.headers["x-patchbay-upstream"].startswith("openai")

        until(is_probing)
        gate.wait_reached()
        # That stream is open still, and nobody knows how it will end.
        assert where(chat(server.url, say("slow"))) == "openai"
        gate.open()


def test_clients_mistakes_and_clients_that_leave_change_nothing(
    server: LiveServer, upstream: FakeUpstream
) -> None:
    for _ in range(6):
        assert chat(server.url, say("reset", temperature="hot")).status == 400
    for _ in range(6):
        with Stream(server.url, say("reset", "word " * 400, stream=True)) as stream:
            assert stream.read_some()
    assert where(chat(server.url, say("reset"))) == "openai"


def test_an_operator_sees_what_rests_and_ends_it(
    shared_fake: FakeUpstream, upstream: FakeUpstream, folder: Path
) -> None:
    settings = settings_for(shared_fake, COOLDOWN_SECONDS="300")
    with LiveServer(settings, data_dir=folder) as server:
        upstream.always(fail(), path=OPENAI)
        trip(server, upstream, "reset")
        upstream.reset()

        def shown() -> str:
            with closing(sqlite3.connect(folder / "patchbay.sqlite3")) as database:
                return str(database.execute("SELECT cooldowns FROM routing_worker").fetchall())

        until(lambda: "failures" in shown())
        assert where(chat(server.url, say("reset"))) == "anthropic"
        [deployment] = set(re.findall(r'"deployment": (\d+)', shown()))
        with closing(sqlite3.connect(folder / "patchbay.sqlite3", timeout=10)) as database, database:
            database.execute(
                "UPDATE routing_deployment SET cooldown_resets = cooldown_resets + 1 WHERE id = ?",
                (deployment,),
            )
        until(lambda: "failures" not in shown())
        assert where(chat(server.url, say("reset"))) == "openai"


def test_what_one_worker_finds_all_workers_know(
    shared_fake: FakeUpstream, upstream: FakeUpstream, folder: Path, valkey_url: str
) -> None:
    settings = settings_for(shared_fake, COOLDOWN_SECONDS="300", VALKEY_URL=valkey_url, WEB_CONCURRENCY="3")
    with LiveServer(settings, data_dir=folder) as server:
        upstream.script(fail(401), path=OPENAI)
        assert where(chat(server.url, say("shared"))) == "anthropic"
        # Connections of their own, so that all workers get some.
        until(lambda: {where(chat(server.url, say("shared"))) for _ in range(10)} == {"anthropic"}, 10)
        before = asked(upstream)
        assert {where(chat(server.url, say("shared"))) for _ in range(30)} == {"anthropic"}
        assert asked(upstream) == before


def test_a_health_check_ends_a_long_rest_early(
    shared_fake: FakeUpstream, upstream: FakeUpstream, folder: Path
) -> None:
    settings = settings_for(shared_fake, COOLDOWN_SECONDS="300", HEALTH_CHECK_INTERVAL="0.5")
    with LiveServer(settings, data_dir=folder) as server:
        upstream.always(fail(), path=OPENAI)
        trip(server, upstream, "checked")
        upstream.reset()
        until(lambda: where(chat(server.url, say("checked"))) == "openai")
        checks = [seen for seen in upstream.requests if seen.method == "GET"]
        assert {seen.path for seen in checks} <= {"/openai/v1/models", "/anthropic/v1/models"}
        assert "/openai/v1/models" in {seen.path for seen in checks}
