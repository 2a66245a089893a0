"""The admin in a real browser: every page in light, dark and at a phone's width, without an error."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.live_server import ADMIN_PASSWORD, LiveServer

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = [
    "/admin/",
    "/admin/routing/servedmodel/",
    "/admin/routing/servedmodel/7/change/",
    "/admin/routing/servedmodel/add/",
    "/admin/routing/servedmodel/1/delete/",
    "/admin/routing/servedmodel/cooldowns/",
    "/admin/routing/alias/",
    "/admin/routing/alias/1/change/",
    "/admin/routing/provider/",
    "/admin/routing/provider/1/change/",
    "/admin/admin/logentry/",
    "/admin/auth/user/",
    "/admin/auth/group/",
]


@pytest.fixture(scope="module")
def admin_server() -> Iterator[LiveServer]:
    with LiveServer() as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(params=["light", "dark", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, admin_server: LiveServer) -> Iterator[Page]:
    """A page of somebody who is logged in. Any error in its console fails the test."""
    context = browser.new_context(
        viewport={"width": 390, "height": 844}
        if request.param == "phone"
        else {"width": 1280, "height": 800},
        color_scheme="dark" if request.param == "dark" else "light",
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{admin_server.url}/admin/login/")
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", ADMIN_PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url(f"{admin_server.url}/admin/")
    yield page
    context.close()
    assert errors == []


def test_every_page_opens_and_fits_the_screen(page: Page, admin_server: LiveServer) -> None:
    for path in PAGES:
        answer = page.goto(admin_server.url + path)
        assert answer is not None
        assert answer.status == 200, path
        width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert width <= 0, f"{path} is {width} px wider than the screen"


def test_an_alias_is_edited_in_the_list(page: Page, admin_server: LiveServer) -> None:
    page.goto(f"{admin_server.url}/admin/routing/alias/?q=gemini-1.5-pro")
    note = page.locator("input[name=form-0-note]")
    note.fill("changed in the list")
    page.get_by_role("button", name="Save").first.click()
    page.wait_for_load_state()
    assert page.locator("input[name=form-0-note]").input_value() == "changed in the list"
    page.goto(f"{admin_server.url}/admin/admin/logentry/")
    assert re.search("gemini-1.5-pro", page.content())


def test_a_provider_key_is_never_shown_again(page: Page, admin_server: LiveServer) -> None:
    secret = "sk-planted-0123456789"
    page.goto(f"{admin_server.url}/admin/routing/provider/2/change/")
    page.get_by_text("Add another Provider key").click()
    page.locator("input[name^=credentials-][name$=-label]:visible").last.fill(
        f"typed in {secrets.token_hex(4)}"
    )
    page.locator("input[name^=credentials-][name$=-key]:visible").last.fill(secret)
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_load_state()
    assert "errornote" not in page.content()
    assert secret not in page.content()
    page.goto(f"{admin_server.url}/admin/routing/provider/2/change/")
    assert secret not in page.content()
    page.goto(f"{admin_server.url}/admin/")
    assert re.search(r"anthropic.*?\d keys?", page.inner_text("body"), re.DOTALL | re.IGNORECASE)
