"""The proxy with every kind of trouble behind it: an upstream that misbehaves, and one that is well."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.chaos import places
from tests.chaos.faults import ANTHROPIC, DIALECTS, HTTP
from tests.fake_upstream import FakeUpstream, black_hole
from tests.live_server import ROOT, LiveServer

ALONE: Final = "alone"
NEXT_DEPLOYMENT: Final = "next deployment"
FALLBACK_MODEL: Final = "fallback model"
SETUPS: Final = (ALONE, NEXT_DEPLOYMENT, FALLBACK_MODEL)

WELL: Final = "well"
"""A model whose only upstream is well."""

# Small, so that no fault takes long to show; the order of their sizes is the shipped one.
TIME_LIMITS: Final = {
    "UPSTREAM_CONNECT_TIMEOUT": "1",
    "UPSTREAM_HEADERS_TIMEOUT": "1.5",
    "UPSTREAM_FIRST_TOKEN_TIMEOUT": "1.5",
    "UPSTREAM_IDLE_TIMEOUT": "1",
    "UPSTREAM_TOTAL_TIMEOUT": "2.5",
    "RETRY_BACKOFF": "0.02",
}


@dataclass(frozen=True, slots=True)
class Rig:
    server: LiveServer
    troubled: FakeUpstream
    well: FakeUpstream


def model_name(place: str, dialect: str, setup: str) -> str:
    """The model whose first deployment is at `place` and speaks `dialect`."""
    return f"{place}.{dialect}.{setup}".replace(" ", "-")


@contextlib.contextmanager
def start(
    settings: Mapping[str, str] | None = None, *, workers: int = 2, data_dir: Path | None = None
) -> Iterator[Rig]:
    """A proxy of `workers` processes, the shipped settings but for the time limits."""
    with contextlib.ExitStack() as stack:
        troubled = stack.enter_context(FakeUpstream())
        well = stack.enter_context(FakeUpstream())
        addresses = {
            HTTP: troubled.url,
            "refusing": stack.enter_context(places.refusing()),
            "unresolvable": places.UNRESOLVABLE,
            "black hole": stack.enter_context(black_hole()),
            "silent TLS": stack.enter_context(places.silent("https")),
            "untrusted TLS": stack.enter_context(FakeUpstream(tls=True)).url,
            "silent": stack.enter_context(places.silent("http")),
            "half-closing": stack.enter_context(places.half_closing()),
        }
        server = LiveServer(
            {"WEB_CONCURRENCY": str(workers), **TIME_LIMITS, **(settings or {})}, data_dir=data_dir
        )
        _prepare(server, _rows(addresses, well))
        with server:
            yield Rig(server, troubled, well)


def _prepare(server: LiveServer, program: str) -> None:
    for arguments in (["migrate", "--verbosity", "0"], ["shell", "--verbosity", "0", "-c", program]):
        subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**os.environ, **server.environment},
            check=True,
            timeout=120,
        )


def _rows(addresses: Mapping[str, str], well: FakeUpstream) -> str:
    """The program that makes the rows: it runs in the proxy's own environment."""
    models = [
        (place, dialect, setup, model_name(place, dialect, setup))
        for place in addresses
        for dialect in DIALECTS
        for setup in SETUPS
    ]
    return f"""
from routing.models import Deployment, FallbackModel, Provider, ServedModel
from tests.factories import make_credential

IDS = {{"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5"}}

def provider(name, kind, base_url):
    # A kind's base URL as an operator enters it.
    path = {{"openai": "/openai/v1", "anthropic": "/anthropic"}}[kind]
    row = Provider.objects.create(
        name=name, kind=kind, base_url=base_url + path, allows_private_network=True
    )
    make_credential(provider=row, label="key", secret="test-" + name.replace(" ", "-"))
    return row

well = provider("well", "openai", {well.url!r})
# Limited, so that each of its requests asks the limits' store.
safe = ServedModel.objects.create(public_id={WELL!r}, requests_per_minute=1_000_000, max_concurrent=1_000)
Deployment.objects.create(model=safe, provider=well, upstream_id="gpt-4o")
providers = {{}}
for place, dialect, setup, name in {models!r}:
    if (place, dialect) not in providers:
        providers[place, dialect] = provider(f"{{place}}-{{dialect}}".replace(" ", "-"), dialect, {dict(addresses)!r}[place])
    model = ServedModel.objects.create(public_id=name)
    Deployment.objects.create(model=model, provider=providers[place, dialect], upstream_id=IDS[dialect])
    if setup == {NEXT_DEPLOYMENT!r}:
        Deployment.objects.create(model=model, provider=well, upstream_id="gpt-4o", priority=1)
    if setup == {FALLBACK_MODEL!r}:
        FallbackModel.objects.create(model=model, fallback=safe, position=0)
"""


def speaks(dialect: str) -> str:
    return "Claude, translated" if dialect == ANTHROPIC else "OpenAI, relayed"
