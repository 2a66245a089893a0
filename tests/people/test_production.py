"""ENVIRONMENT=production: what is checked at the start, and what a browser is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.live_server import ROOT, LiveServer
from tests.people.browsing import Visitor, is_inside

PRODUCTION = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "0123456789-abcdefghij-ABCDEFGHIJ-klmnopqrst-KLMNOPQRST-uvwxyz",
    "ENCRYPTION_KEYS": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "ALLOWED_HOSTS": "proxy.example.com",
    "TRUSTED_PROXIES": "127.0.0.1",
}
# What a reverse proxy that ends TLS adds.
FORWARDED = {
    "x-forwarded-for": "198.51.100.9",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "proxy.example.com",
}


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with LiveServer(PRODUCTION) as server:
        yield server


def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(folder), **PRODUCTION, **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_deployment_check_finds_nothing(tmp_path: Path) -> None:
    checked = run(tmp_path, "check", "--deploy", "--fail-level", "INFO")
    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout


def test_the_deployment_check_finds_nothing_with_single_sign_on(tmp_path: Path) -> None:
    checked = run(
        tmp_path,
        "check",
        "--deploy",
        "--fail-level",
        "INFO",
        OIDC_ISSUER="https://sso.example.com/realms/staff",
        OIDC_CLIENT_ID="patchbay",
        OIDC_CLIENT_SECRET="s",
        OIDC_GROUP_MAP="proxy-admins=Owner",
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"TRUSTED_PROXIES": ""}, "security.W101"),
        (
            {"OIDC_ISSUER": "http://sso.example.com", "OIDC_CLIENT_ID": "a", "OIDC_CLIENT_SECRET": "b"},
            "security.E102",
        ),
        (
            {"OIDC_ISSUER": "https://sso.example.com", "OIDC_CLIENT_ID": "a", "OIDC_CLIENT_SECRET": "b"},
            "security.W103",
        ),
    ],
)
def test_the_check_tells_what_does_not_fit(tmp_path: Path, settings: dict[str, str], told: str) -> None:
    checked = run(tmp_path, "check", "--deploy", "--fail-level", "INFO", **settings)
    assert checked.returncode != 0
    assert told in checked.stderr
    assert "HINT" in checked.stderr


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS is not set"),
        ({"TRUSTED_PROXIES": "nginx"}, "TRUSTED_PROXIES must list addresses or networks"),
        ({"OIDC_ISSUER": "https://sso.example.com"}, "OIDC_CLIENT_ID and OIDC_CLIENT_SECRET must be too"),
        (
            {
                "OIDC_ISSUER": "https://sso.example.com",
                "OIDC_CLIENT_ID": "a",
                "OIDC_CLIENT_SECRET": "b",
                "OIDC_GROUP_MAP": "admins",
            },
            "OIDC_GROUP_MAP must look like",
        ),
        (
            {
                "OIDC_ISSUER": "https://sso.example.com",
                "OIDC_CLIENT_ID": "a",
                "OIDC_CLIENT_SECRET": "b",
                "OIDC_TOKEN_ENDPOINT": "https://sso.example.com/token",
            },
            "together",
        ),
    ],
)
def test_a_start_with_wrong_settings_says_which(tmp_path: Path, settings: dict[str, str], told: str) -> None:
    ended = run(tmp_path, "serve", **settings)
    assert ended.returncode != 0
    assert told in ended.stderr


def test_plain_http_is_sent_on_to_https(server: LiveServer) -> None:
    plain = FORWARDED | {"x-forwarded-proto": "http"}
    answer = httpx.get(f"{server.url}/admin/login/?next=/admin/", headers=plain)
    assert answer.status_code == 301
    assert answer.headers["location"] == "https://proxy.example.com/admin/login/?next=/admin/"


def test_health_and_api_are_not_sent_anywhere(server: LiveServer) -> None:
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert httpx.get(f"{server.url}/api/v1/models").status_code == 401


def test_behind_the_proxy_one_logs_in_and_cookies_are_for_https_only(server: LiveServer) -> None:
    with httpx.Client(base_url=server.url, headers=FORWARDED) as http:
        page = http.get("/admin/login/")
        assert page.status_code == 200
        assert page.headers["strict-transport-security"] == "max-age=31536000"
        cookies = page.headers.get_list("set-cookie")
        token = page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        csrf = cookies[0].partition(";")[0]
        answer = http.post(
            "/admin/login/?next=/admin/",
            data={
                "username": "admin",
                "password": server.environment["ADMIN_PASSWORD"],
                "csrfmiddlewaretoken": token,
            },
            headers={
                "cookie": csrf,
                "origin": "https://proxy.example.com",
                "referer": "https://proxy.example.com/admin/login/",
            },
        )
        assert answer.status_code == 302
        cookies += answer.headers.get_list("set-cookie")
    session = next(cookie for cookie in cookies if cookie.startswith("sessionid="))
    assert all("Secure" in cookie and "SameSite=Lax" in cookie for cookie in cookies)
    assert "HttpOnly" in session
    assert "Max-Age=43200" in session


def test_an_unknown_host_is_refused(server: LiveServer) -> None:
    answer = httpx.get(f"{server.url}/admin/login/", headers=FORWARDED | {"x-forwarded-host": "evil.example"})
    assert answer.status_code == 400


def test_a_form_from_another_site_is_refused(admin_server: LiveServer) -> None:
    with Visitor(admin_server.url) as visitor:
        assert is_inside(visitor.log_in())
        page = visitor.open("/admin/second-factor/")
        token = page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        answer = visitor.http.post(
            "/admin/second-factor/",
            data={"csrfmiddlewaretoken": token, "action": "confirm", "code": "1"},
            headers={"origin": "https://evil.example"},
        )
        assert answer.status_code == 403


@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/admin/nothing-here/", "/nothing", "/"])
def test_every_page_has_a_policy_that_stops_foreign_and_inline_scripts(
    admin_server: LiveServer, path: str
) -> None:
    answer = httpx.get(admin_server.url + path)
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";") if part
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self' 'unsafe-eval'"
    assert policy["script-src-attr"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert policy["base-uri"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
