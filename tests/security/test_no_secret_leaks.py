"""Secrets are planted everywhere they may be, every error path is taken, and then everything is searched."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet

from api.services.exchange import Inbound, Options, open_exchange
from api.services.pool.targets import parse_target
from routing.domain.table import CredentialRow, DeploymentRow, ModelRow, ProviderRow, Secret
from tests.api.http import Response, chat, request, say
from tests.fake_upstream import (
    Answer,
    Cut,
    Disconnecting,
    Events,
    FakeUpstream,
    Html,
    Json,
    Raw,
    RecordedRequest,
    Redirect,
    Reply,
    Stall,
    WithHeaders,
)
from tests.live_server import LiveServer
from tests.security.conftest import run_in_shell, wait_for_config

SECRETS = {
    "environment key": "test-ENVKEYplanted0123456789abcdefe1v2n3",
    "second environment key": "test-ANTKEYplanted0123456789abcdefa4n5t6",
    "stored key": "test-STOREDplanted0123456789abcdefs1t2o3",
    "file key": "test-FILEDplanted0123456789abcdeff7i8l9",
    "referenced key": "test-REFplanted0123456789abcdefghr1e2f3",
    "secret header": "hdr/STOREDplanted+0123456789abcdefh4d5r6",
    "admin password": "correct-PLANTED-battery-0123456789",
    "secret key": "SECRETKEYplanted0123456789abcdefghijklmnopqrstuvwxyz",
    "encryption key": Fernet.generate_key().decode(),
    "valkey password": "VALKEYplanted0123456789abcdefv4a5l6",
    "unissued key": "sk-pb-UNISSUEDplanted0123456789abcdefghijklmnopu7n8i9",
}
PROMPT = "a prompt that nobody may log 8f1c2"
REPLY = "a reply that nobody may log 77ad0"

_SET_UP = """
import json
from routing.models import *
from routing.services import issue_key
def serve(name, kind="openai_compatible", url={url!r}, upstream_id="gpt-4o-mini", **fields):
    provider = Provider.objects.create(
        name=name, kind=kind, base_url=url, allows_private_network=True, **fields
    )
    model = ServedModel.objects.create(public_id=name)
    Deployment.objects.create(model=model, provider=provider, upstream_id=upstream_id)
    return provider
stored = Credential(provider=serve("stored"), label="a"); stored.store({stored!r}); stored.save()
header = ProviderHeader(provider=stored.provider, name="x-tenant"); header.store({header!r}); header.save()
Credential.objects.create(provider=serve("filed"), label="b", reference="file:" + {file!r})
Credential.objects.create(provider=serve("referenced"), label="c", reference="env:MY_PROVIDER_KEY")
Credential.objects.create(provider=serve("missing"), label="d", reference="env:NOT_THERE")
claude = serve("claude-stored", "anthropic", {claude_url!r}, "claude-sonnet-4-5")
key = Credential(provider=claude, label="e"); key.store({stored!r}); key.save()
Credential.objects.create(provider=serve("undecryptable"), label="f", encrypted_secret="gAAAAA-nonsense")
refused = Credential(provider=serve("refused", url="http://127.0.0.1:1/v1"), label="g")
refused.store({stored!r}); refused.save()
forbidden = Credential(provider=serve("forbidden", url="http://169.254.169.254/v1"), label="h")
forbidden.store({stored!r}); forbidden.save()
unresolved = Credential(provider=serve("unresolved", url="https://nowhere.invalid/v1"), label="i")
unresolved.store({stored!r}); unresolved.save()
_, secret = issue_key(note="planted")
print(json.dumps([secret, ConfigVersion.objects.get().version]))
"""

MODELS = ("gpt-4o-mini", "claude-sonnet-4", "stored", "filed", "referenced", "claude-stored")
BROKEN = ("missing", "undecryptable", "refused", "forbidden", "unresolved", "no-such-model")


def _quoting(seen: RecordedRequest) -> list[tuple[str, str]]:
    """What an upstream knows of us, as it may quote it: whole, cut short, masked."""
    keys = [
        value.removeprefix("Bearer ")
        for name in ("authorization", "x-api-key", "x-tenant")
        for value in seen.header_values(name)
    ]
    whole = " ".join([*keys, *seen.header_values("authorization"), str(dict(seen.headers))])
    masked = " ".join(f"{key[:8]}{'*' * 20}{key[-12:]}" for key in keys)
    return [("whole", f"Incorrect API key provided: {whole}."), ("masked", f"Incorrect key: {masked}.")]


def _behaviours(seen: RecordedRequest) -> Iterator[Any]:
    for _, text in _quoting(seen):
        key = text.split()[-1]
        for status in (400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 529):
            yield Json(status, {"error": {"message": text, "type": "x", "param": text, "code": text}})
        yield Json(400, {"type": "error", "error": {"type": "invalid_request_error", "message": text}})
        yield Json(400, {"error": {"message": "No.", text: text, "more": [{"deep": text}]}, "also": text})
        yield Json(400, {"detail": text})
        yield Json(400, {"error": text})
        yield Json(400, [text])
        yield Reply(500, {"content-type": "text/plain"}, text)
        yield Html(502, f"<html><body>{text}</body></html>")
        yield Json(200, {"error": {"message": text, "type": "invalid_request_error", "code": text}})
        yield Reply(200, {"content-type": "application/json"}, f'{{"broken": "{text}')
        yield Reply(200, {"content-type": "text/html"}, text)
        yield Redirect(f"https://elsewhere.invalid/?key={urllib.parse.quote(text)}")
        yield Events([{"error": {"message": text, "type": "server_error", "code": text}}])
        yield Events([{"type": "error", "error": {"type": "overloaded_error", "message": text}}])
        yield Events([b"data: {broken " + text.encode() + b"\n\n"])
        yield Json(500, {"error": {"message": "No."}}) + WithHeaders({"x-echo": key, "set-cookie": key})
        yield Raw(b"HTTP/1.1 200 " + text.encode() + b"\r\n" + text.encode() + b"\r\n\r\n")
    yield Disconnecting()
    yield Answer() + Cut(after_bytes=150)
    yield Answer() + Stall("headers", 30)


class _Findings:
    """Everything that anybody could see, by where it was seen."""

    def __init__(self) -> None:
        self.inputs = 0
        self.seen: list[tuple[str, str]] = []

    def add(self, place: str, text: str) -> None:
        self.seen.append((place, text))

    def add_answer(self, place: str, answer: Response) -> None:
        self.inputs += 1
        self.add(place, f"{dict(answer.headers)} {answer.body.decode('utf-8', 'replace')}")


def _spellings(secret: str) -> set[str]:
    """A secret, and what it may have been turned into on its way out; the tail that a mask would show, too."""
    return {
        secret,
        secret[-12:],
        base64.b64encode(secret.encode()).decode(),
        urllib.parse.quote(secret, safe=""),
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        secret.encode().hex(),
    }


@pytest.fixture(scope="module")
def planted_upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.mark.parametrize("debug", ["off", "on"])
def test_no_secret_leaves_the_proxy(
    planted_upstream: FakeUpstream, tmp_path: Path, debug: str, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream = planted_upstream
    upstream.reset()
    key_file = tmp_path / "provider-key"
    key_file.write_text(SECRETS["file key"])
    settings = {
        "OPENAI_API_KEY": SECRETS["environment key"],
        "OPENAI_BASE_URL": upstream.openai_url,
        "ANTHROPIC_API_KEY": SECRETS["second environment key"],
        "ANTHROPIC_BASE_URL": upstream.anthropic_url,
        "MY_PROVIDER_KEY": SECRETS["referenced key"],
        "ADMIN_PASSWORD": SECRETS["admin password"],
        "SECRET_KEY": SECRETS["secret key"],
        "ENCRYPTION_KEYS": SECRETS["encryption key"],
        "VALKEY_URL": f"valkey://:{SECRETS['valkey password']}@127.0.0.1:1/0",
        "ACCESS_MODE": "any_bearer",
        "ALLOWED_HOSTS": "127.0.0.1",
        "DEBUG": debug,
        "LOG_LEVEL": "debug",
        "UPSTREAM_HEADERS_TIMEOUT": "0.3",
        "UPSTREAM_CONNECT_TIMEOUT": "2",
        "RETRIES": "0",
    }
    found = _Findings()
    data = tmp_path / "data"
    data.mkdir()
    with LiveServer(settings, data_dir=data) as server:
        code = _SET_UP.format(
            url=upstream.openai_url,
            claude_url=upstream.anthropic_url,
            stored=SECRETS["stored key"],
            header=SECRETS["secret header"],
            file=str(key_file),
        )
        issued, version = json.loads(run_in_shell(server, code))
        wait_for_config(server, version)
        secrets = SECRETS | {"issued key": issued}
        _exercise_api(server, upstream, found, issued)
        _exercise_admin(server, found)
        server.stop()
        found.add("log", server.log())
        for path in sorted(server.data_dir.rglob("*")):
            if path.is_file():
                found.add(f"file {path.name}", path.read_bytes().decode("latin-1"))
    leaks = [
        (place, name)
        for place, text in found.seen
        for name, secret in secrets.items()
        if any(spelling in text for spelling in _spellings(secret))
    ]
    logged = [text for place, text in found.seen if place == "log" and (PROMPT in text or REPLY in text)]
    with capsys.disabled():
        size = sum(len(text) for _, text in found.seen)
        print(f"\n  DEBUG={debug}: {found.inputs} inputs, {size} characters searched, {len(leaks)} leaks")
    assert leaks == [], "\n".join(f"{name}: {place}" for place, name in leaks[:40])
    assert not logged, "a body was logged"
    assert found.inputs > 500
    # The search is worth its name only where the pages that could leak were seen.
    everything = [text for place, text in found.seen if place.startswith("admin")]
    assert any("VALKEY_URL" in text for text in everything) is (debug == "on")
    for words in ("claude-stored", "x-tenant", "NOT_THERE", "errornote"):
        assert any(words in text for text in everything), words


def _exercise_api(server: LiveServer, upstream: FakeUpstream, found: _Findings, issued: str) -> None:
    number = 0

    def choose(seen: RecordedRequest) -> Any:
        behaviours = list(_behaviours(seen))
        return behaviours[number] if number < len(behaviours) else Json(500, {})

    upstream.accept_key = lambda key: True
    upstream.on_request = choose
    probe = RecordedRequest("POST", "/", (("authorization", "Bearer x"),), b"", 0.0, 1, 1)
    for number in range(len(list(_behaviours(probe)))):
        for model in MODELS:
            for stream in (False, True):
                answer = chat(
                    server.url,
                    say(model, PROMPT, stream=stream),
                    headers={"authorization": f"Bearer {issued}"},
                )
                found.add_answer(f"{model}, behaviour {number}, stream {stream}", answer)
    upstream.on_request = None
    upstream.always(Json(200, {"choices": [{"message": {"content": REPLY}, "finish_reason": "stop"}]}))
    for model in (*MODELS, *BROKEN):
        for stream in (False, True):
            answer = chat(server.url, say(model, PROMPT, stream=stream))
            assert model in MODELS or answer.status >= 400
            found.add_answer(model, answer)
    # Strangers' tokens, and requests that are none.
    for headers in (
        {"authorization": f"Bearer {SECRETS['unissued key']}"},
        {"x-api-key": SECRETS["unissued key"]},
        {"authorization": f"Basic {SECRETS['unissued key']}"},
    ):
        for path in ("/api/v1/models", "/api/v1/chat/completions", "/v1/nothing"):
            for method in ("GET", "POST", "PUT"):
                found.add_answer(path, request(server.url, path, method=method, body=b"{", headers=headers))


_LINK = re.compile(r'(?:href|action)="(/admin/[^"#]*)"')


def _exercise_admin(server: LiveServer, found: _Findings) -> None:
    """Every page that a superuser finds by its links; forms sent with mistakes; pages of errors."""

    def keep(answer: httpx.Response) -> httpx.Response:
        for step in (*answer.history, answer):
            found.inputs += 1
            found.add(f"admin {step.request.method} {step.url.path}", f"{step.headers} {step.text}")
        return answer

    with httpx.Client(base_url=server.url, follow_redirects=True, timeout=20) as client:
        page = keep(client.get("/admin/login/")).text
        for password in (SECRETS["admin password"] + "x", SECRETS["admin password"]):
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
            assert token
            form = {"username": "admin", "password": password, "csrfmiddlewaretoken": token[1]}
            page = keep(
                client.post(
                    "/admin/login/?next=/admin/", data=form, headers={"referer": f"{server.url}/admin/"}
                )
            ).text
        assert "/admin/logout/" in page
        waiting, done = ["/admin/"], {"/admin/logout/"}
        while waiting and len(done) < 150:
            path = waiting.pop(0)
            if path.partition("?")[0] in done:
                continue
            done.add(path.partition("?")[0])
            page = keep(client.get(path)).text
            waiting += [link.replace("&amp;", "&") for link in _LINK.findall(page)]
            if path.endswith(("/change/", "/add/")):
                _send_mistakes(client, path, page, keep)
        assert any("provider" in path and path.endswith("/history/") for path in done)
        for path in ("/admin/nowhere/", "/admin/routing/provider/999/change/", "/nothing", "/static/x"):
            keep(client.get(path))
        keep(client.post("/admin/routing/provider/add/", data={"name": "x"}))
        for path in ("/admin/", "/nothing", "/api/v1/models"):
            keep(client.get(path, headers={"host": "evil.test", "authorization": "Bearer x"}))
            keep(client.get(path, headers={"host": "bad host/"}))


def _send_mistakes(client: httpx.Client, path: str, page: str, keep: Any) -> None:
    """The form with its required fields empty and secrets in the others: what was typed is not shown again."""
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    names = re.findall(r'<(?:input|textarea)\b[^>]*name="([^"]+)"', page)
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
    secret = dict.fromkeys(
        re.findall(r'<input type="password"[^>]*name="([^"]+)"', page), SECRETS["stored key"]
    )
    if token and names and "routing/provider/" in path:
        keep(
            client.post(
                path,
                data=hidden | secret | {"csrfmiddlewaretoken": token[1], "base_url": "nonsense"},
                headers={"referer": str(client.base_url)},
            )
        )


def test_what_holds_a_secret_does_not_show_it_in_its_repr() -> None:
    key, header = SECRETS["stored key"], SECRETS["secret header"]
    provider = ProviderRow(
        id=1,
        name="p",
        kind="openai",
        base_url="https://llm.example.com",
        headers=(("x-tenant", Secret(header)),),
        credentials=(CredentialRow("key:1", "a", Secret(key)),),
    )
    deployment = DeploymentRow(1, provider, "gpt-4o-mini")
    model = ModelRow(1, "m", deployments=(deployment,))
    inbound = Inbound(say("m"), {}, 0)
    shown: list[object] = [provider, deployment, model, parse_target("https://user:" + key + "@a.example/")]
    for kind in ("openai", "anthropic"):
        row = dataclasses.replace(deployment, provider=dataclasses.replace(provider, kind=kind))
        exchange = open_exchange(inbound, model, row, secret=key, options=Options())
        shown += [exchange, exchange.wire]
        failure = exchange.read_failure(
            401, {}, json.dumps({"error": {"message": f"bad {key} {header}"}}).encode(), now=0.0
        )
        shown += [failure, failure.body, failure.upstream_message, vars(failure)]
    for value in shown:
        for text in (repr(value), str(value), f"{value}"):
            assert key not in text
            assert header not in text
