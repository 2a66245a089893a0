"""One process per client, asked for one scenario after the other.

Owns the pipe and its time limits. The scenarios themselves are the scripts in the folders
beside this file; they run on their own environment's interpreter and never import ours.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.clients.environments import LOCKS

ANSWER_SECONDS = 30.0
START_SECONDS = 60.0

# Nothing of the developer's own accounts, proxies or Python may reach a client.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")


class ClientFailed(AssertionError):
    """The client raised where the test expected it to succeed."""


class ClientProcess:
    """`with ClientProcess([python, script], base_url) as client: client.see("chat", "gpt-4o")`."""

    def __init__(self, command: Sequence[str], base_url: str, *, cwd: Path | None = None) -> None:
        self._command = list(command)
        self._cwd = cwd
        self._environment = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "BASE_URL": base_url,
            "API_KEY": "any-token",
            "PYTHONPATH": str(LOCKS / "runner"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._errors: list[str] = []
        self._threads: list[threading.Thread] = []
        self.package = ""
        """Name and version of the library under test, as the process told them."""

    def __enter__(self) -> Self:
        process = subprocess.Popen(
            self._command,
            cwd=self._cwd,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            bufsize=1,
        )
        self._process = process
        self._threads = [
            threading.Thread(target=self._read_reports, args=(process,), daemon=True),
            threading.Thread(target=self._read_errors, args=(process,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self.package = self._next(START_SECONDS)["ready"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=5)
        for thread in self._threads:
            thread.join(timeout=5)
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()

    def see(self, scenario: str, model: str) -> Any:
        """What the client saw; raises `ClientFailed` when the scenario raised."""
        report = self._ask(scenario, model)
        if "raised" in report:
            raise ClientFailed(f"{scenario} with {model} raised:\n{report['traceback']}")
        return report["seen"]

    def failure(self, scenario: str, model: str) -> dict[str, Any]:
        """What the client raised; fails when it raised nothing."""
        report = self._ask(scenario, model)
        assert "raised" in report, f"{scenario} with {model} raised nothing and saw {report['seen']}"
        raised: dict[str, Any] = report["raised"]
        return raised

    def _ask(self, scenario: str, model: str) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"scenario": scenario, "model": model}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError(f"The client has ended:\n{self._tail()}") from None
        return self._next(ANSWER_SECONDS)

    def _next(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"No answer within {seconds:.0f} s:\n{self._tail()}") from None
        if line is None:
            raise RuntimeError(f"The client has ended:\n{self._tail()}")
        report: dict[str, Any] = json.loads(line)
        return report

    def _read_reports(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self._errors.append(line)

    def _tail(self) -> str:
        return "".join(self._errors[-60:])
