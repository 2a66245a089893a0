"""The door in a real browser, in light, dark and at a phone's width, without an error in the console."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.test_admin_pages import FLAGS
from tests.browser.test_admin_pages import PAGES as ADMIN_PAGES
from tests.clients.environments import NoNode, find_node
from tests.live_server import ADMIN_PASSWORD, LiveServer
from tests.people.identity_provider import IdentityProvider
from tests.people.operating import make_operator
from tests.people.test_second_factor import App

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
try:
    find_node()
    _missing = "" if CHROMIUM else "no Chromium"
except NoNode as reason:
    _missing = str(reason)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.node,
    pytest.mark.skipif(bool(_missing), reason=_missing),
]

OLGA = {"email": "olga@example.com", "email_verified": True, "groups": ["proxy-admins"]}


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    server = LiveServer()
    with IdentityProvider(f"{server.url}/admin/sign-in/done/", {"olga": OLGA}) as provider:
        server.environment.update(provider.settings() | {"OIDC_LABEL": "Sign in with Example SSO"})
        with server:
            yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(params=["light", "dark", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, server: LiveServer) -> Iterator[Page]:
    """A page of nobody in particular. Any error in its console while on our pages fails the test."""
    is_phone = request.param == "phone"
    context = browser.new_context(
        viewport={"width": 390, "height": 844} if is_phone else {"width": 1280, "height": 800},
        color_scheme="dark" if request.param == "dark" else "light",
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    errors: list[str] = []
    page.on(
        "console",
        lambda message: (
            errors.append(f"{page.url}: {message.text}")
            if message.type == "error" and page.url.startswith(server.url)
            else None
        ),
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def test_the_button_leads_through_the_provider_and_in(page: Page, server: LiveServer) -> None:
    page.goto(f"{server.url}/admin/auth/group/")
    button = page.get_by_role("link", name="Sign in with Example SSO")
    box = button.bounding_box()
    form = page.locator("#login-form").bounding_box()
    assert box is not None
    assert form is not None
    assert abs(box["width"] - form["width"]) < 2
    assert box["y"] > form["y"] + form["height"]
    assert fits(page)
    button.click()
    page.fill("input[name=login]", "olga")
    page.fill("input[name=password]", "any")
    page.click("button[type=submit]")
    page.get_by_role("button", name=re.compile("continue", re.IGNORECASE)).click()
    # Where olga wanted to go in the first place.
    page.wait_for_url(f"{server.url}/admin/auth/group/")
    assert fits(page)


def test_a_second_factor_is_set_up_used_and_taken_away(
    page: Page, server: LiveServer, tmp_path: Path
) -> None:
    name = tmp_path.name
    make_operator(server, name, ADMIN_PASSWORD)
    log_in(page, server, name)
    page.wait_for_url(f"{server.url}/admin/")
    page.goto(f"{server.url}/admin/second-factor/")
    drawn = page.locator("#qr-code svg").bounding_box()
    assert drawn is not None
    assert drawn["width"] == drawn["height"] > 150
    assert fits(page)
    app = App(page.locator("#manual-key").inner_text())
    page.fill("input[name=code]", app.code())
    page.get_by_role("button", name="Switch on").click()
    assert len(page.locator("#backup-codes").inner_text().split()) == 10
    assert fits(page)
    page.context.clear_cookies()
    log_in(page, server, name)
    page.wait_for_url(re.compile("/admin/second-factor/check/"))
    page.wait_for_function("document.activeElement.name === 'code'")
    assert fits(page)
    page.fill("input[name=code]", app.code())
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(f"{server.url}/admin/")
    page.goto(f"{server.url}/admin/second-factor/")
    assert fits(page)
    page.get_by_role("button", name="Switch off").click()
    page.get_by_text("The second factor is off.").wait_for()


def test_every_admin_page_works_under_the_policy(page: Page, server: LiveServer) -> None:
    log_in(page, server)
    page.wait_for_url(f"{server.url}/admin/")
    for path in ADMIN_PAGES:
        answer = page.goto(server.url + path)
        assert answer is not None
        assert "content-security-policy" in answer.headers
        # Alpine has run: it takes this attribute away when it has read the page.
        page.wait_for_function("!document.documentElement.hasAttribute('x-cloak')")


def test_a_script_that_got_into_a_page_does_not_run(browser: Browser, server: LiveServer) -> None:
    """What an attacker would inject is put in by hand: the policy is the second wall, behind escaping."""
    context = browser.new_context()
    page = context.new_page()
    blocked: list[str] = []
    page.on("console", lambda message: blocked.append(message.text) if message.type == "error" else None)
    page.goto(f"{server.url}/admin/login/")
    page.evaluate(
        """() => {
            const script = document.createElement('script')
            script.textContent = 'window.ran = "inline"'
            document.body.append(script)
            const link = document.createElement('div')
            link.innerHTML = '<img src="data:," onerror="window.ran = \\'attribute\\'">'
            document.body.append(link)
            const foreign = document.createElement('script')
            foreign.src = 'http://127.0.0.1:9/evil.js'
            document.body.append(foreign)
        }"""
    )
    page.wait_for_function(
        "document.images.length > 0 && [...document.images].every(image => image.complete)"
    )
    assert page.evaluate("window.ran") is None
    assert len([text for text in blocked if "Content Security Policy" in text]) >= 3
    context.close()


def log_in(page: Page, server: LiveServer, username: str = "admin") -> None:
    page.goto(f"{server.url}/admin/login/")
    page.fill("input[name=username]", username)
    page.fill("input[name=password]", ADMIN_PASSWORD)
    page.locator("#login-form button[type=submit]").click()
