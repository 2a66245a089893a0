"""What each heavy import costs, measured one after the other in a fresh process."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from typing import Any

from benchmarks import processes

# In this order: what a later one needs of an earlier one is counted there.
_IMPORTS = (
    ("asyncio, ssl, http", ("asyncio", "ssl", "http.client", "logging")),
    ("Django: core, ORM, SQLite", ("django.db", "django.db.models", "django.db.backends.sqlite3.base")),
    ("psycopg, which DRF asks for", ("psycopg",)),
    ("requests, which DRF asks for", ("requests",)),
    ("Django REST framework", ("rest_framework.views",)),
    ("cryptography", ("cryptography.fernet",)),
    (
        "uvicorn, uvloop, httptools",
        ("uvicorn", "uvloop", "httptools", "uvicorn.protocols.http.httptools_impl"),
    ),
    ("orjson", ("orjson",)),
    ("the application: models, admin, API", ("proxy_site.asgi",)),
    ("all pages", ("proxy_site.urls", "django.contrib.admin.sites")),
)
_OPTIONAL = (
    ("aiohttp and httpx (UPSTREAM_CLIENT=aiohttp)", ("aiohttp", "httpx")),
    ("valkey client", ("valkey.asyncio",)),
    (
        "OpenTelemetry",
        ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"),
    ),
)


def measure_imports(environment: dict[str, str], folder: str) -> list[dict[str, Any]]:
    """Of what a server imports with the settings of `environment`; then of what it imports when asked to."""
    loaded = _run(environment, folder, "-c", _LOADED)
    found: list[dict[str, Any]] = _run(environment, folder, "-m", "benchmarks.imports", json.dumps(loaded))
    return found


_LOADED = "import json, sys, proxy_site.asgi, proxy_site.urls, uvicorn.protocols.http.httptools_impl; "
_LOADED += "print(json.dumps([*sys.modules]))"


def _run(environment: dict[str, str], folder: str, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"The imports failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _import_all() -> list[dict[str, Any]]:
    needed = set(json.loads(sys.argv[1]))
    rows = [_row("Python itself", 0.0, 0.0)]
    for name, modules in _IMPORTS:
        if modules[0] in needed:
            rows.append(_import(name, modules))
    for name, modules in _OPTIONAL:
        rows.append({**_import(name, modules), "is_optional": True})
    return rows


def _import(name: str, modules: tuple[str, ...]) -> dict[str, Any]:
    before = _pss()
    began = time.perf_counter()
    for module in modules:
        importlib.import_module(module)
    return _row(name, time.perf_counter() - began, before)


def _row(name: str, seconds: float, before: float) -> dict[str, Any]:
    return {"name": name, "ms": seconds * 1e3, "mib": _pss() - before, "is_optional": False}


def _pss() -> float:
    return processes.look(os.getpid()).pss_mib


if __name__ == "__main__":
    print(json.dumps(_import_all()))
