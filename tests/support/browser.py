"""Debian's Chromium, driven by Playwright: one for a module of tests, each of which gets a context of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, sync_playwright

SCREENSHOTS = "CARBONQUOTA_SCREENSHOTS"
"""Names the folder where screenshots are kept; without it they are in the tests' own, for a while."""

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def running_browser() -> Iterator[Browser]:
    """The browser; the test is skipped where there is none."""
    binary = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=_SWITCHES)
        yield browser
        browser.close()


@dataclass(slots=True)
class Tab:
    """A page in the browser, and everything that it did which no page of ours may do."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Note errors, messages, dialogs and requests to anywhere else from now on."""
        host = urlsplit(self.url).netloc

        def note_message(message: ConsoleMessage) -> None:
            # That a page answers 404 is what it is asked for.
            if message.type in {"error", "warning"} and "the server responded with a status" not in message.text:
                self.faults.append(f"{message.type}: {message.text}")

        def note_request(request: Request) -> None:
            if urlsplit(request.url).netloc != host:
                self.faults.append(f"asked for {request.url}")

        def note_dialog(dialog: Dialog) -> None:
            self.faults.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        self.page.on("console", note_message)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", note_request)
        self.page.on("dialog", note_dialog)

    def go(self, path: str) -> Page:
        """Load a page."""
        self.page.goto(self.url + path)
        return self.page

    @property
    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return width

    @property
    def focused(self) -> str:
        """The text of what has the focus."""
        text: str = self.page.evaluate(
            "document.activeElement.getAttribute('aria-label') || document.activeElement.innerText"
        )
        return " ".join(text.split())

    def press(self, key: str, until: str, most: int = 120) -> None:
        """Press a key until what has the focus is called so."""
        seen = []
        for _ in range(most):
            self.page.keyboard.press(key)
            seen.append(self.focused)
            if seen[-1] == until:
                return
        raise AssertionError(f"{until!r} is not reached by {key}: {seen}")


@contextmanager
def opened(browser: Browser, url: str, **options: Any) -> Iterator[Tab]:  # noqa: ANN401 - as Playwright takes it
    """A tab in a context of its own; it fails where a page did what none may do."""
    with browser.new_context(**options) as context:
        context.set_default_timeout(20_000)
        tab = Tab(context.new_page(), url)
        tab.watch()
        yield tab
        assert tab.faults == []


def violations(page: Page, *rules: str) -> list[str]:
    """What axe finds that keeps people from using a page, each with the places; by these of its rules, or by all."""
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    # The script is in the page already where it was asked before.
    axe = Axe("0") if page.evaluate("typeof axe !== 'undefined'") else Axe()
    found = axe.run(page, options=options).response["violations"]
    return [f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes']]}" for one in found]


def keep_screenshot(page: Page, name: str, folder: Path) -> None:
    """Keep how a page looks."""
    target = Path(os.environ.get(SCREENSHOTS) or folder)
    target.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=target / f"{name}.png", full_page=True)
