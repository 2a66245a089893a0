"""A person at a browser without a screen: follows redirects, keeps cookies, fills in forms."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any, Self

import httpx

from tests.api.admin_client import form_fields
from tests.live_server import ADMIN_PASSWORD


class Visitor:
    """One cookie jar. `headers` go along with every request, as a reverse proxy adds them."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, follow_redirects=True, timeout=20, headers=headers or {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    def open(self, path: str) -> httpx.Response:
        return self.http.get(path)

    def post(self, path: str, fields: dict[str, str]) -> httpx.Response:
        """Post `fields` with the token of the page at `path`."""
        page = self.open(path)
        token = form_fields(page.text)["csrfmiddlewaretoken"]
        return self.http.post(
            str(page.url),
            data={"csrfmiddlewaretoken": token, **fields},
            headers={"referer": str(page.url), "origin": self.url},
        )

    def log_in(self, username: str = "admin", password: str = ADMIN_PASSWORD) -> httpx.Response:
        return self.post("/admin/login/?next=/admin/", {"username": username, "password": password})

    def sign_in(self, login: str) -> httpx.Response:
        """Through the identity provider's pages and back: the answer of the page where that ends."""
        answer = self.open("/admin/sign-in/?next=/admin/")
        for _ in range(4):
            action = re.search(
                r'<form[^>]*\baction="([^"]+/interaction/[^"]+|/interaction/[^"]+)"', answer.text
            )
            if not action:
                return answer
            fields: dict[str, Any] = form_fields(answer.text)
            if "login" in fields:
                fields |= {"login": login, "password": "any"}
            answer = self.http.post(str(answer.url.join(action[1])), data=fields)
        raise AssertionError("the identity provider asks without end")


def is_inside(answer: httpx.Response) -> bool:
    """Whether the answer is a page of the admin that only people who are logged in see."""
    return answer.status_code == 200 and 'id="logout-form"' in answer.text
