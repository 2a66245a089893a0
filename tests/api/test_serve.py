"""`manage.py serve`, which `make run` is: what it prepares, prints and refuses."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.api.http import BEARER, chat, request, say
from tests.live_server import ROOT, LiveServer


def test_a_first_start_prints_all_that_a_newcomer_needs(tmp_path: Path) -> None:
    with LiveServer({"ADMIN_PASSWORD": ""}, data_dir=tmp_path) as server:
        printed = server.log()
        assert f"http://127.0.0.1:{server.port}/api/v1" in printed
        assert f"http://127.0.0.1:{server.port}/admin/" in printed
        assert re.search(r"openai +no key yet: set OPENAI_API_KEY", printed)
        assert re.search(r"anthropic +no key yet: set ANTHROPIC_API_KEY", printed)
        password = re.search(r"password '([^']+)'", printed)
        assert password
        with httpx.Client(base_url=server.url, follow_redirects=True) as browser:
            page = browser.get("/admin/login/")
            token = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', page.text)
            assert token
            answer = browser.post(
                "/admin/login/?next=/admin/",
                data={"username": "admin", "password": password[1], "csrfmiddlewaretoken": token[1]},
            )
            assert answer.url.path == "/admin/"
        assert chat(server.url, say("demo")).status == 200
    for name in ("secret_key", "encryption_keys"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        assert (tmp_path / name).read_text().strip() not in printed
    with LiveServer({"ADMIN_PASSWORD": ""}, data_dir=tmp_path) as server:
        again = server.log().rsplit("Patchbay is ready.", 1)[-1]
        assert "password" not in again


def test_a_key_turns_the_demo_off(tmp_path: Path) -> None:
    with LiveServer({"OPENAI_API_KEY": "test-x"}, data_dir=tmp_path) as server:
        assert re.search(r"openai +has a key", server.log())
        assert "test-x" not in server.log()
        assert request(server.url, "/v1/models/demo").status == 404


def test_a_taken_port_is_one_clear_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "manage.py", "serve"],
            cwd=ROOT,
            env={**os.environ, "PORT": str(port), "HOST": "127.0.0.1", "DATA_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert ended.returncode != 0
    assert f"Port {port} on 127.0.0.1 is taken" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_production_needs_keys_of_its_own(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "manage.py", "serve"],
        cwd=ROOT,
        env={**os.environ, "ENVIRONMENT": "production", "DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode != 0
    assert "SECRET_KEY is not set" in ended.stderr


def test_sigterm_ends_the_server_cleanly(tmp_path: Path) -> None:
    for workers in ("1", "2"):
        with LiveServer({"WEB_CONCURRENCY": workers}, data_dir=tmp_path) as server:
            assert request(server.url, "/healthz").status == 200
            began = time.monotonic()
            assert server.stop(signal.SIGTERM) in {0, -signal.SIGTERM}
            assert time.monotonic() - began < 10
            assert "Traceback" not in server.log()


def test_a_browser_s_preflight_is_answered_only_for_named_origins(tmp_path: Path) -> None:
    preflight = {
        "origin": "https://app.example.com",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-lang",
    }
    path = "/v1/chat/completions"
    with LiveServer({"CORS_ALLOWED_ORIGINS": "https://app.example.com"}, data_dir=tmp_path) as server:
        answer = request(server.url, path, method="OPTIONS", headers=preflight)
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
        assert "x-stainless-lang" in answer.headers["access-control-allow-headers"]
        real = request(
            server.url,
            path,
            method="POST",
            body=say("demo"),
            headers={**BEARER, "origin": "https://app.example.com"},
        )
        assert real.headers["access-control-allow-origin"] == "https://app.example.com"
        other = request(
            server.url, path, method="OPTIONS", headers={**preflight, "origin": "https://evil.example"}
        )
        assert "access-control-allow-origin" not in other.headers


def test_without_the_setting_no_origin_is_allowed(keyless_server: LiveServer) -> None:
    answer = request(keyless_server.url, "/v1/models", headers={"origin": "https://app.example.com"})
    assert "access-control-allow-origin" not in answer.headers
