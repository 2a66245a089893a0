"""A server on a database that a test has filled first."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.live_server import ROOT, LiveServer


@contextmanager
def prepared_server(settings: Mapping[str, str], data_dir: Path, code: str) -> Iterator[LiveServer]:
    """The proxy, after `code` ran in `manage.py shell` on its migrated database."""
    server = LiveServer(dict(settings), data_dir=data_dir)
    for arguments in (["migrate", "--verbosity", "0"], ["shell", "--verbosity", "0", "-c", code]):
        subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**os.environ, **server.environment},
            check=True,
            timeout=60,
        )
    with server:
        yield server
