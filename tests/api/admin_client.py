"""An operator at the admin, over HTTP."""

from __future__ import annotations

import re
from typing import Self

import httpx

from tests.live_server import ADMIN_PASSWORD, LiveServer


class AdminClient:
    """Logs in and submits admin forms as a browser would: it sends back every field that the page holds."""

    def __init__(self, server: LiveServer, username: str = "admin", password: str = ADMIN_PASSWORD) -> None:
        self._http = httpx.Client(base_url=server.url, follow_redirects=True, timeout=20)
        page = self._http.get("/admin/login/")
        answer = self._http.post(
            "/admin/login/?next=/admin/",
            data={"username": username, "password": password, "csrfmiddlewaretoken": _token(page.text)},
            headers={"referer": f"{server.url}/admin/login/"},
        )
        assert "/login/" not in str(answer.url), "the login was refused"
        self._referer = {"referer": f"{server.url}/admin/"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str) -> str:
        answer = self._http.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        return answer.text

    def submit(self, path: str, changes: dict[str, str]) -> str:
        """Open the form at `path`, change some fields, and save it."""
        fields = form_fields(self.get(path)) | changes
        answer = self._http.post(path, data=fields, headers=self._referer)
        assert answer.status_code == 200, (path, answer.status_code)
        assert "errornote" not in answer.text, answer.text
        return answer.text

    def press(self, page: str, button: str) -> str:
        """Press the button of the page at `page` that posts to `button`."""
        text = self.get(page)
        assert f'action="{button}"' in text, "the page has no such button"
        answer = self._http.post(button, data={"csrfmiddlewaretoken": _token(text)}, headers=self._referer)
        assert answer.status_code == 200, (button, answer.status_code)
        return answer.text


def _token(page: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found, "the page has no form"
    return found[1]


def form_fields(page: str) -> dict[str, str]:
    """What a browser would send for the page's main form, unchanged."""
    fields: dict[str, str] = {}
    for tag in re.findall(r"<input\b[^>]*>", page):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        name, kind = attributes.get("name"), attributes.get("type", "text")
        if not name or kind in {"submit", "button", "file"}:
            continue
        if kind in {"checkbox", "radio"} and not re.search(r"\bchecked\b", tag):
            continue
        fields[name] = attributes.get("value", "on" if kind == "checkbox" else "")
    for name, options in re.findall(r'<select\b[^>]*name="([^"]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)"[^>]*\bselected\b', options)
        fields[name] = chosen[1] if chosen else ""
    for name, text in re.findall(r'<textarea\b[^>]*name="([^"]+)"[^>]*>(.*?)</textarea>', page, re.DOTALL):
        fields[name] = text.strip()
    return {name: _unescape(value) for name, value in fields.items() if "__prefix__" not in name}


def _unescape(text: str) -> str:
    import html

    return html.unescape(text)
