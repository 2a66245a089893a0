"""Fallbacks in a real browser: chosen by typing, put in order by hand, and read on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.test_admin_pages import CHROMIUM, admin_server, browser, page
from tests.live_server import LiveServer

__all__ = ["admin_server", "browser", "page"]

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")]

# Each look at the same server: each with a model of its own.
MODELS = iter(("gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini"))


def open_model(page: Page, server: LiveServer, name: str) -> None:
    page.goto(f"{server.url}/admin/routing/servedmodel/?q={name}")
    link = page.locator("#result_list a[href*='/change/']").filter(has_text=name).first
    address = link.get_attribute("href")
    assert address
    page.goto(server.url + address)


def add_fallback(page: Page, name: str) -> None:
    page.get_by_text("Add another Fallback").click()
    row = page.locator("#fallbacks-data tbody.form-group:not(.empty-form)").last
    row.locator(".select2-selection").click()
    page.locator(".select2-search__field").last.fill(name)
    page.locator(".select2-results__option", has_text=name).first.click()


def order(page: Page) -> list[str]:
    return page.locator("#fallbacks-data .original .select2-selection__rendered").all_inner_texts()


def put_second_first(page: Page) -> None:
    assert page.viewport_size
    if page.viewport_size["width"] < 600:
        # A row there is as high as the screen: one numbers them.
        for index, number in enumerate(("2", "1")):
            page.locator(f"input[name=fallbacks-{index}-position]").fill(number)
        return
    handles = page.locator("#fallbacks-data .original [x-sort\\:handle]")
    handles.nth(1).drag_to(handles.nth(0))
    page.wait_for_function(
        "document.querySelector('#fallbacks-data .original .select2-selection__rendered').textContent"
        " === 'gpt-5-nano'"
    )


def save(page: Page) -> None:
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_load_state()
    assert "errornote" not in page.content()


def test_fallbacks_are_chosen_saved_and_put_in_order(page: Page, admin_server: LiveServer) -> None:
    open_model(page, admin_server, next(MODELS))
    add_fallback(page, "claude-opus-4")
    add_fallback(page, "gpt-5-nano")
    save(page)
    assert order(page) == ["claude-opus-4", "gpt-5-nano"]
    put_second_first(page)
    save(page)
    assert order(page) == ["gpt-5-nano", "claude-opus-4"]
    width = page.evaluate(
        "(() => { const e = document.querySelector('#fallbacks-data'); "
        "return e.getBoundingClientRect().right - document.documentElement.clientWidth })()"
    )
    assert width <= 0, f"the list is {width} px wider than the screen"


def test_time_limits_are_folded_until_they_are_asked_for(page: Page, admin_server: LiveServer) -> None:
    page.goto(f"{admin_server.url}/admin/routing/servedmodel/1/change/")
    field = page.locator("input[name=deployments-0-idle_timeout]")
    assert not field.is_visible()
    page.get_by_text("Time limits and capabilities").first.click()
    field.fill("0")
    page.get_by_role("button", name="Save and continue editing").click()
    page.wait_for_load_state()
    assert field.is_visible(), "what is wrong is not hidden"
    assert "greater than or equal to 0.01" in page.content()
