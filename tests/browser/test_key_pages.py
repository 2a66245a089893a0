"""Keys in a real browser: the secret is copied from its page, and the way back does not show it again."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page

from tests.browser.test_admin_pages import CHROMIUM, admin_server, browser, page
from tests.live_server import LiveServer

__all__ = ["admin_server", "browser", "page"]

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")]


def issue(page: Page, server: LiveServer, note: str) -> str:
    page.goto(f"{server.url}/admin/routing/apikey/add/")
    page.fill("input[name=note]", note)
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url(f"{server.url}/admin/routing/apikey/secret/")
    return page.locator("code[id^=secret-]").inner_text()


def press(page: Page, server: LiveServer, name: str) -> None:
    """Follow a button of the page's head. Not by a click: on a phone they are in the theme's menu."""
    address = page.locator(f"a[href$='/{name}/']").first.get_attribute("href")
    assert address
    page.goto(server.url + address)


def test_a_new_secret_is_copied_and_gone_after_a_reload(page: Page, admin_server: LiveServer) -> None:
    secret = issue(page, admin_server, "copied")
    assert re.fullmatch(r"sk-pb-[A-Za-z0-9]{36}", secret)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    page.reload()
    assert secret not in page.content()
    page.go_back()
    assert secret not in page.content()


def test_rotate_and_revoke_are_buttons_of_the_key(page: Page, admin_server: LiveServer) -> None:
    old = issue(page, admin_server, "to be rotated")
    page.goto(f"{admin_server.url}/admin/routing/apikey/?q={old[:12]}")
    page.locator("#result_list a[href*='/change/']").first.click()
    press(page, admin_server, "rotate")
    page.get_by_label("1 hour").check()
    page.get_by_role("button", name="Rotate").click()
    new = page.locator("code[id^=secret-]").inner_text()
    assert new != old
    page.goto(f"{admin_server.url}/admin/routing/apikey/?q={new[:12]}")
    assert "in grace" in page.inner_text("#result_list").lower()
    page.locator("#result_list a[href*='/change/']").first.click()
    press(page, admin_server, "revoke")
    page.get_by_role("button", name="Revoke").click()
    page.goto(f"{admin_server.url}/admin/routing/apikey/?q={new[:12]}")
    assert "revoked" in page.inner_text("#result_list").lower()


def test_the_pages_of_keys_and_teams_fit_the_screen(page: Page, admin_server: LiveServer) -> None:
    issue(page, admin_server, "a note that is rather long, to see what a narrow screen makes of it")
    for path in ("apikey/", "apikey/add/", "apikey/1/change/", "apikey/revoke/?ids=1", "team/", "team/add/"):
        page.goto(f"{admin_server.url}/admin/routing/{path}")
        width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert width <= 0, f"{path} is {width} px wider than the screen"
