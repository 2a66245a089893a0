"""An operator's edit is in force on the next request, in every process, within a second."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.api.admin_client import AdminClient
from tests.api.conftest import upstream_settings
from tests.api.http import chat, request, say
from tests.fake_upstream import FakeUpstream
from tests.live_server import LiveServer
from tests.postgres_server import PostgresServer


@pytest.fixture
def own_server(shared_upstream: FakeUpstream) -> Iterator[LiveServer]:
    """A server whose configuration the test may change."""
    with LiveServer(upstream_settings(shared_upstream)) as server:
        yield server


def _alias_page(admin: AdminClient, name: str) -> str:
    page = admin.get(f"/admin/routing/alias/?q={name}")
    found = re.search(r"/admin/routing/alias/(\d+)/change/[^>]*>\s*" + re.escape(name) + r"\s*<", page)
    assert found, "the alias is not in the list"
    return f"/admin/routing/alias/{found[1]}/change/"


def _model_id(admin: AdminClient, public_id: str) -> str:
    page = admin.get(f"/admin/routing/servedmodel/?q={public_id}")
    found = re.search(
        r'/admin/routing/servedmodel/(\d+)/change/(?:(?!/change/).)*?class="pb-name">'
        + re.escape(public_id)
        + "<",
        page,
        re.DOTALL,
    )
    assert found, "the model is not in the list"
    return found[1]


def test_an_alias_edited_in_the_admin_means_something_else_on_the_next_request(
    own_server: LiveServer,
) -> None:
    before = chat(own_server.url, say("gpt-5"))
    assert before.headers["x-patchbay-upstream"] == "openai/gpt-4o"
    with AdminClient(own_server) as admin:
        target = _model_id(admin, "claude-opus-4")
        admin.submit(_alias_page(admin, "gpt-5"), {"model": target})
        saved = time.monotonic()
        after = chat(own_server.url, say("gpt-5"))
    assert after.status == 200, after.body
    assert after.headers["x-patchbay-upstream"] == "anthropic/claude-opus-4-5"
    assert int(after.headers["x-patchbay-config"]) > int(before.headers["x-patchbay-config"])
    assert time.monotonic() - saved < 1.0


def test_another_node_on_the_same_database_follows_within_a_second(
    own_server: LiveServer, shared_upstream: FakeUpstream
) -> None:
    with LiveServer(upstream_settings(shared_upstream), data_dir=own_server.data_dir) as other:
        assert chat(other.url, say("gpt-4")).headers["x-patchbay-upstream"] == "openai/gpt-4o"
        with AdminClient(own_server) as admin:
            admin.submit(_alias_page(admin, "gpt-4"), {"model": _model_id(admin, "gpt-4.1")})
        saved = time.monotonic()
        while chat(other.url, say("gpt-4")).headers["x-patchbay-upstream"] != "openai/gpt-4.1":
            assert time.monotonic() - saved < 1.0, "the other node still routes by the old configuration"


def test_every_worker_process_follows_within_a_second(shared_upstream: FakeUpstream) -> None:
    with LiveServer(upstream_settings(shared_upstream) | {"WEB_CONCURRENCY": "3"}) as server:
        with AdminClient(server) as admin:
            admin.submit(_alias_page(admin, "gpt-4"), {"model": _model_id(admin, "gpt-4.1")})
            saved = time.monotonic()
            time.sleep(max(0.0, saved + 1.0 - time.monotonic()))
            # A connection goes to any of the workers.
            seen = [chat(server.url, say("gpt-4")).headers["x-patchbay-upstream"] for _ in range(60)]
            assert set(seen) == {"openai/gpt-4.1"}
            start_page = admin.get("/admin/")
        workers = re.findall(r"\b[\w.-]+:(\d+)\s*</", start_page)
        assert len(set(workers)) == 3, "the start page does not show the three workers"


def test_a_model_that_is_switched_off_is_gone(own_server: LiveServer) -> None:
    with AdminClient(own_server) as admin:
        page = f"/admin/routing/servedmodel/{_model_id(admin, 'gpt-4o-mini')}/change/"
        from tests.api.admin_client import form_fields

        fields = form_fields(admin.get(page))
        assert fields.pop("is_enabled") == "on"
        answer = admin._http.post(page, data=fields, headers=admin._referer)
        assert "errornote" not in answer.text
    assert chat(own_server.url, say("gpt-4o-mini")).error["code"] == "model_not_found"
    assert "gpt-4o-mini" not in {m["id"] for m in request(own_server.url, "/v1/models").json()["data"]}


def test_streaming_switched_off_is_a_clear_400(own_server: LiveServer) -> None:
    with closing(sqlite3.connect(own_server.data_dir / "patchbay.sqlite3", timeout=10)) as database, database:
        # Not through the admin on purpose: any write to the tables counts.
        database.execute("update routing_servedmodel set allows_streaming = 0 where public_id = 'gpt-4o'")
    deadline = time.monotonic() + 1.0
    while True:
        answer = chat(own_server.url, say("gpt-4o", stream=True))
        if answer.status == 400:
            break
        assert time.monotonic() < deadline, "the change is not in force after a second"
    assert answer.error["param"] == "stream"
    assert chat(own_server.url, say("gpt-4o")).status == 200


def test_with_the_database_gone_the_last_configuration_serves(
    shared_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    postgres = PostgresServer(tmp_path_factory.mktemp("pg"))
    postgres.start()
    with LiveServer(upstream_settings(shared_upstream) | {"DATABASE_URL": postgres.url}) as server:
        assert chat(server.url, say("gpt-5")).status == 200
        postgres.stop()
        _wait_for_database(server, "unavailable")
        assert chat(server.url, say("gpt-5")).status == 200
        assert request(server.url, "/readyz").status == 200
        assert "Requests go on by configuration version" in server.log()
        postgres.start()
        _wait_for_database(server, "ok")
        with AdminClient(server) as admin:
            admin.submit(_alias_page(admin, "gpt-5"), {"model": _model_id(admin, "claude-opus-4")})
        assert chat(server.url, say("gpt-5")).headers["x-patchbay-upstream"] == "anthropic/claude-opus-4-5"
    postgres.stop()


def _wait_for_database(server: LiveServer, state: str) -> None:
    deadline = time.monotonic() + 20
    while request(server.url, "/readyz").json()["database"] != state:
        assert time.monotonic() < deadline, f"the database is not reported as {state}"
        time.sleep(0.05)
