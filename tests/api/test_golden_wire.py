"""Every golden case over real sockets: through the server, whole and at one byte per read."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import upstream_settings
from tests.api.http import chat, say
from tests.fake_upstream import Behaviour, FakeUpstream, Json, Reply, SlowDrip, golden
from tests.golden_cases import GoldenCase, load_cases
from tests.live_server import ROOT, LiveServer

UPSTREAM_KEY = "test-upstream-key"
"""The key that some cases' upstreams quote."""

_PREPARE = """
import json, sys
from routing.models import Alias, Deployment, Provider, ServedModel
for kind, names in json.loads(sys.stdin.read()).items():
    provider = Provider.objects.get(name=kind)
    for name in names:
        Alias.objects.filter(name=name).delete()
        model, created = ServedModel.objects.get_or_create(public_id=name)
        if created:
            Deployment.objects.create(model=model, provider=provider, upstream_id=name)
Alias.objects.create(name="fast", model=ServedModel.objects.get(public_id="gpt-5-mini"))
"""


def _models() -> dict[str, list[str]]:
    names: dict[str, set[str]] = {"anthropic": set(), "openai": {"gpt-5-mini"}}
    for case in load_cases():
        kind = "anthropic" if case.upstream == "anthropic_messages" else "openai"
        names[kind].add(_model_of(case))
    names["openai"].discard("fast")
    return {kind: sorted(found) for kind, found in names.items()}


def _model_of(case: GoldenCase) -> str:
    if case.has("request.json"):
        model: str = case.read_json("request.json")["model"]
        return model
    return case.model


_SETTINGS = {
    "auto_cache": "ANTHROPIC_AUTO_CACHE",
    "repairs_turns": "REPAIR_TOOL_TURNS",
    "inlines_system": "ANTHROPIC_INLINE_SYSTEM",
}
"""Which setting switches on what a case has in its `switches`."""


@pytest.fixture(scope="module")
def golden_servers(
    shared_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[tuple[str, ...]], LiveServer]]:
    """Proxies, one for each set of switches, that have every model that a case names."""
    data_dir: Path = tmp_path_factory.mktemp("golden")
    keys = {"OPENAI_API_KEY": UPSTREAM_KEY, "ANTHROPIC_API_KEY": UPSTREAM_KEY}
    running: dict[tuple[str, ...], LiveServer] = {}
    with contextlib.ExitStack() as stack:

        def start(switches: tuple[str, ...]) -> LiveServer:
            if switches not in running:
                settings = upstream_settings(shared_upstream) | keys
                settings |= {_SETTINGS[switch]: "on" for switch in switches}
                server = LiveServer(settings, data_dir=data_dir)
                if not running:
                    _prepare(server)
                running[switches] = stack.enter_context(server)
            return running[switches]

        yield start


def _prepare(server: LiveServer) -> None:
    for arguments in (["migrate", "--verbosity", "0"], ["shell", "--verbosity", "0", "-c", _PREPARE]):
        subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**os.environ, **server.environment},
            input=json.dumps(_models()),
            text=True,
            check=True,
            timeout=60,
        )


@pytest.fixture
def golden_server(golden_servers: Callable[[tuple[str, ...]], LiveServer], case: GoldenCase) -> LiveServer:
    return golden_servers(case.switches)


def _cases(*kinds: str) -> pytest.MarkDecorator:
    found = [case for kind in kinds for case in load_cases(kind)]
    return pytest.mark.parametrize("case", found, ids=[case.name for case in found])


DRIP = pytest.mark.parametrize("drip", [False, True], ids=["whole", "byte by byte"])


def _slowly(behaviour: Behaviour, drip: bool) -> Behaviour:
    return behaviour + SlowDrip(bytes_per_write=1, delay=0) if drip else behaviour


def _request_for(case: GoldenCase, **more: Any) -> dict[str, Any]:
    body = say(case.model, "q", **more)
    if case.request_has == "functions":
        body["functions"] = [{"name": "f", "parameters": {"type": "object", "properties": {}}}]
    elif case.request_has == "custom tool":
        body["tools"] = [{"type": "custom", "custom": {"name": "shell"}}]
    return body


@_cases("chat_req", "oai_req")
def test_what_the_upstream_sees(golden_server: LiveServer, upstream: FakeUpstream, case: GoldenCase) -> None:
    body = case.read_json("request.json")
    canned: Behaviour = Json(400, {"error": {"type": "invalid_request_error", "message": "seen"}})
    upstream.script(canned)
    answer = chat(golden_server.url, case.read_bytes("request.json"))
    assert answer.status == 400, answer.body
    assert answer.error["message"] == "seen", "the proxy refused the request itself"
    seen = upstream.requests[-1].json
    assert seen == case.read_json("upstream_request.json")
    if case.kind == "oai_req":
        assert list(seen)[: len(body)] == list(body)
    if case.ignored is not None:
        reported = answer.headers.get("x-patchbay-ignored", "")
        assert sorted(filter(None, reported.split(", "))) == sorted(case.ignored)


@_cases("chat_req_error")
def test_what_is_refused_before_the_upstream(
    golden_server: LiveServer, upstream: FakeUpstream, case: GoldenCase
) -> None:
    expected = case.read_json("reply.json")
    answer = chat(golden_server.url, case.read_bytes("request.json"))
    assert answer.status == expected["status"]
    assert {key: answer.error[key] for key in ("type", "param", "code")} == {
        key: expected["error"][key] for key in ("type", "param", "code")
    }
    assert upstream.requests == []


@DRIP
@_cases("chat_resp", "oai_resp")
def test_what_the_client_gets(
    golden_server: LiveServer, upstream: FakeUpstream, case: GoldenCase, drip: bool
) -> None:
    upstream.script(_slowly(Json(200, case.read_json("upstream_reply.json")), drip))
    answer = chat(golden_server.url, _request_for(case))
    assert answer.status == 200, answer.body
    expected = case.read_json("reply.json")
    got = answer.json()
    if case.kind == "chat_resp":
        got["created"] = expected["created"]
    assert got == expected


@DRIP
@_cases("chat_stream", "oai_stream")
def test_what_the_client_s_stream_says(
    golden_server: LiveServer, upstream: FakeUpstream, case: GoldenCase, drip: bool
) -> None:
    upstream.script(_slowly(golden(case.read_bytes("upstream_stream.sse")), drip))
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if case.include_usage else {}
    answer = chat(golden_server.url, _request_for(case, stream=True, **more))
    expected = _frames(case.read_bytes("stream.sse"))
    if answer.status != 200:
        # Output and failure came in one piece: nothing had been sent, so the failure is a
        # status that the client can act on.
        assert answer.json() == expected[-1]
        return
    assert _frames(answer.body) == expected


@DRIP
@_cases("chat_stream_error", "oai_stream_error")
def test_a_stream_that_never_began_is_an_http_error(
    golden_server: LiveServer, upstream: FakeUpstream, case: GoldenCase, drip: bool
) -> None:
    upstream.script(_slowly(golden(case.read_bytes("upstream_stream.sse")), drip))
    answer = chat(golden_server.url, _request_for(case, stream=True))
    expected = case.read_json("reply.json")
    assert answer.status == expected["status"]
    assert answer.json() == expected["body"]


@DRIP
@_cases("error", "oai_error")
def test_what_an_upstream_s_error_becomes(
    golden_server: LiveServer, upstream: FakeUpstream, case: GoldenCase, drip: bool
) -> None:
    given, expected = case.read_json("upstream_error.json"), case.read_json("reply.json")
    body = given["body"]
    headers = {"content-type": "application/json", **given["headers"]}
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    upstream.script(_slowly(Reply(given["status"], headers, data), drip))
    answer = chat(golden_server.url, _request_for(case))
    assert answer.status == expected["status"]
    assert answer.json() == expected["body"]
    for name, value in expected.get("headers", {}).items():
        if name == "retry-after" and not given["headers"].get(name, "").isdecimal():
            continue  # A date that has passed by the server's own clock.
        assert answer.headers[name] == value


def test_every_kind_of_case_is_run_here() -> None:
    run = {
        kind
        for name in re.findall(r"@_cases\(([^)]*)\)", Path(__file__).read_text(encoding="utf-8"))
        for kind in re.findall(r'"(\w+)"', name)
    }
    assert {case.kind for case in load_cases()} <= run


def _frames(data: bytes) -> list[Any]:
    """The frames with `created` put aside: the server's clock is its own."""
    found: list[Any] = []
    for frame in data.decode().strip().split("\n\n"):
        text = frame.removeprefix("data: ")
        if text.startswith("{"):
            value = json.loads(text)
            if "created" in value:
                value["created"] = 0
            found.append(value)
        else:
            found.append(text)
    return found
