"""The proxy as its users start it: a process of its own on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
ADMIN_PASSWORD = "correct-horse-battery"

# Nothing of the machine's own settings may reach a server under test.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class LiveServer:
    """`manage.py serve` (or `runserver`) with settings of its own, until the block ends.

    Two servers given the same `data_dir` are two nodes on one database.
    """

    def __init__(
        self, settings: dict[str, str] | None = None, *, command: str = "serve", data_dir: Path | None = None
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.base_url = f"{self.url}/api/v1"
        self._own_data = tempfile.TemporaryDirectory(prefix="patchbay-live-") if data_dir is None else None
        self.data_dir = data_dir if data_dir is not None else Path(self._own_data.name)  # type: ignore[union-attr]
        self.environment = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "DATA_DIR": str(self.data_dir),
            "ADMIN_PASSWORD": ADMIN_PASSWORD,
            "PYTHONUNBUFFERED": "1",
            # Tests read the log as soon as they have their answer.
            "LOG_DELAY": "0",
            **(settings or {}),
        }
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._log = self.data_dir / f"server-{self.port}.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._own_data is not None:
            self._own_data.cleanup()

    def start(self) -> None:
        arguments = [sys.executable, "-W", "error::ResourceWarning", "manage.py"]
        if self._command == "runserver":
            subprocess.run(
                [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
                cwd=ROOT,
                env=self.environment,
                check=True,
                timeout=START_SECONDS,
            )
            arguments += ["runserver", "--noreload", f"127.0.0.1:{self.port}"]
        else:
            arguments.append(self._command)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                arguments, cwd=ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"The server ended while starting:\n{self.log()}")
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=2):
                    return
            except (OSError, urllib.error.URLError):
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"The server did not become ready:\n{self.log()}")

    def stop(self, sent: signal.Signals = signal.SIGTERM) -> int:
        """End the server and return its exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(sent)
        return self.wait()

    def wait(self, timeout: float = 15.0) -> int:
        """The exit status of a server that was told to end; one that does not is killed."""
        process = self._process
        assert process is not None, "the server is not running"
        self._process = None
        try:
            return process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait(timeout=5)

    def send_signal(self, sent: signal.Signals) -> None:
        assert self._process is not None, "the server is not running"
        self._process.send_signal(sent)

    def workers(self) -> list[int]:
        """The ids of the worker processes, where there are several."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        return [int(pid) for pid in children.split()]

    def memory(self) -> int:
        """Bytes that the process has in memory; without those of its workers."""
        pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize()

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def log(self) -> str:
        """Everything that the server has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
