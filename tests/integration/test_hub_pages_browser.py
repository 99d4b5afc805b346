"""The quota service's pages in a real browser: for everybody, and by forms alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from carbonquota.hub.http.app import make_app
from carbonquota.testing import ManualClock
from carbonquota.web.access import Role
from tests.support.browser import keep_screenshot, opened, running_browser, violations
from tests.support.http import serving
from tests.support.hub import ADMIN, open_hub
from tests.support.hub_pages import FORMS, PAGES, RULES, shown_hub


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the pages are while nobody needs a token."""
    hub = shown_hub(tmp_path_factory.mktemp("pages"))
    with serving(make_app(hub)) as url:
        yield url
    hub.close()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Where one needs a token, and an administrator's."""
    hub = open_hub(f"sqlite:///{tmp_path_factory.mktemp('locked')}/hub.sqlite", ManualClock(1_764_300_000.0))
    token, _ = hub.tokens.make(ADMIN, "ben", Role.ADMIN, "", 3600.0)
    with serving(make_app(hub)) as url:
        yield url, token
    hub.close()


@pytest.fixture(scope="module")
def browser(url: str, locked: tuple[str, str]) -> Iterator[Browser]:
    """It begins last and ends first: no server can be started on a thread that drives a browser."""
    with running_browser() as browser:
        yield browser


def test_everybody_can_use_every_page(browser: Browser, url: str, tmp_path: Path) -> None:
    with opened(browser, url, color_scheme="light") as tab:
        for number, path in enumerate((*PAGES[:-1], *FORMS[2:])):
            page = tab.go(path)
            assert violations(page) == [], path
            page.emulate_media(color_scheme="dark")
            assert violations(page, "color-contrast") == [], path
            page.set_viewport_size({"width": 360, "height": 740})
            assert tab.overflow <= 0, path
            page.set_viewport_size({"width": 1280, "height": 800})
            keep_screenshot(page, f"hub-{number}-dark", tmp_path)
            page.emulate_media(color_scheme="light")


def test_who_logs_in_changes_rules_by_forms_alone(browser: Browser, locked: tuple[str, str]) -> None:
    url, token = locked
    with opened(browser, url, java_script_enabled=False) as tab:
        page = tab.go("/rules")
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("not valid")
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator(".account")).to_contain_text("ben")
        page.get_by_role("link", name="Rules", exact=True).click()
        page.get_by_role("link", name="Edit").click()
        page.get_by_label("storage-quotas.conf").fill(RULES)
        page.get_by_role("button", name="Keep as a new version").click()
        page.get_by_role("button", name="Release").click()
        expect(page.locator("tbody tr").first).to_contain_text("shadow")
        page.get_by_role("link", name="Customers", exact=True).click()
        page.get_by_role("link", name="Set a new quota").click()
        page.get_by_label("Customer", exact=True).fill("acme")
        page.get_by_label("bytes", exact=True).fill("10 GiB")
        page.get_by_label("Why").fill("as agreed")
        page.get_by_role("button", name="Set the quota").click()
        expect(page.get_by_role("status").first).to_have_text("The quota is set.")
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_the_page_to_log_in_can_be_used_by_everybody(browser: Browser, locked: tuple[str, str]) -> None:
    with opened(browser, locked[0]) as tab:
        assert violations(tab.go("/login?wrong=true")) == []


def test_mistakes_are_shown_while_one_types(browser: Browser, url: str) -> None:
    with opened(browser, url) as tab:
        page = tab.go("/rules/edit")
        if not page.evaluate("typeof htmx !== 'undefined'"):
            pytest.skip("htmx is not here: make assets")
        page.get_by_label("storage-quotas.conf").fill("[team.*]\nmetricz = 5\n")
        expect(page.locator("#checked")).to_contain_text("1 error")
        expect(page.locator("#checked pre")).to_contain_text("^^^^^^^")
