"""The proxy with a model of every Claude generation, and GPT, in front of the fake upstream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.api.conftest import upstream_settings
from tests.fake_upstream import FakeUpstream
from tests.live_server import ROOT, LiveServer
from tests.translation.request_strategies import MODELS as CLAUDE_MODELS

MODELS: Final = (*CLAUDE_MODELS, *("gpt-4o-mini", "gpt-5-nano") * 2)
"""Names to ask for: mostly Claude, where there is more to get wrong."""

_PREPARE: Final = """
import json, sys
from routing.models import Alias, Deployment, Provider, ServedModel
provider = Provider.objects.get(name="anthropic")
for name in json.loads(sys.stdin.read()):
    Alias.objects.filter(name=name).delete()
    model, is_new = ServedModel.objects.get_or_create(public_id=name)
    if is_new:
        Deployment.objects.create(model=model, provider=provider, upstream_id=name)
"""


@contextmanager
def serve(upstream: FakeUpstream, data_dir: Path) -> Iterator[LiveServer]:
    server = LiveServer(upstream_settings(upstream), data_dir=data_dir)
    for arguments in (["migrate", "--verbosity", "0"], ["shell", "--verbosity", "0", "-c", _PREPARE]):
        subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**os.environ, **server.environment},
            input=json.dumps(CLAUDE_MODELS),
            text=True,
            check=True,
            timeout=60,
        )
    with server:
        yield server
