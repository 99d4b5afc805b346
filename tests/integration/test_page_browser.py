"""The daemon's page in a real browser: light and dark, wide and narrow, with the keyboard alone, without JavaScript."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from carbonquota import QuotaEngine
from carbonquota.daemon.http import make_app
from carbonquota.limiter.model import Descriptor, Request
from carbonquota.limiter.process.admin import make_admin
from carbonquota.limiter.process.load import read_settings
from carbonquota.limiter.process.parts import LimiterParts
from carbonquota.rules import lint
from carbonquota.service.health import HealthSample
from carbonquota.service.rates import RateHistory
from carbonquota.testing import ManualClock
from carbonquota.web.access_settings import AccessSettings
from carbonquota.web.make_access import make_access
from carbonquota.web.page.statics import VENDORED
from tests.support.browser import keep_screenshot, opened, running_browser, violations
from tests.support.http import serving, source_of
from tests.support.small import engine_under

RULES = """\
[team.*]
metrics = 60
throughput = 500
[team.t*]
metrics = 50
dropping-policy = none
[team.t*]
metrics = 50
dropping-policy = none
[team.a]
metrics = 4
[/]
logical-size = 1,000,000
"""
HOSTILE = "x.<img src=a onerror=alert(1)>.<script>alert(2)<script>.m".replace(" ", "_")
PAGES = {
    "now": "/",
    "root": "/explore",
    "team": "/explore?namespace=team",
    "limits": "/limits",
    "explain": "/explain?metric=team.b.one.more",
    "no-name": "/explain?metric=..",
    "rules": "/rules",
    "nowhere": "/explore?namespace=nowhere",
}
with_assets = pytest.mark.skipif(
    not (VENDORED / "VERSIONS").exists(), reason="htmx and uPlot are not here: make assets"
)


@pytest.fixture(scope="module")
def engine() -> QuotaEngine:
    """One with a namespace of 70 children, one over its limit, and names as a foe would have them."""
    engine = engine_under(RULES)
    for number in range(70):
        for leaf in range(70 - number):
            engine.load(f"team.t{number:02}.m{leaf}")
    for leaf in range(48):
        engine.load(f"team.b.m{leaf}")
    engine.load(HOSTILE)
    engine.admit(b"".join(b"team.a.n%d 1 1\n" % number for number in range(9)))
    return engine


@pytest.fixture(scope="module")
def url(engine: QuotaEngine) -> Iterator[str]:
    clock, count = ManualClock(1_700_000_000.0), 0.0
    history = RateHistory(lambda: [HealthSample("received", count), HealthSample("dropped", count / 3)], clock)
    for step in range(100):
        history.look()
        count += 1000 + 200 * (step % 9)
        clock.advance(10)
    findings = lint(engine.rules)
    with serving(make_app(source_of(engine, host="web1", rates=history, findings=lambda: findings))) as url:
        yield url


@pytest.fixture(scope="module")
def limiter_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A rate limiter's page with something in each of its tables."""
    folder = tmp_path_factory.mktemp("limiter")
    (folder / "limits.yaml").write_text(
        "domain: d\ndescriptors:\n  - {key: a, rate_limit: {unit: hour, requests_per_unit: 1}}\n"
    )
    parts = LimiterParts(read_settings('[limiter]\nrules = ["limits.yaml"]\n', str(folder / "limiter.toml")))
    for _ in range(3):
        parts.limiter.check(Request("d", (Descriptor((("a", HOSTILE),)),), client=HOSTILE, route="GET /x"))
    parts.limiter.bans.add(HOSTILE, 3600.0, "blocked often", "anna")
    parts.limiter.brownout.set("free", 0.5, 3600.0)
    with serving(make_admin(parts, make_access(AccessSettings()))) as url:
        yield url


@pytest.fixture(scope="module")
def browser(url: str, limiter_url: str) -> Iterator[Browser]:
    """It begins last: no server can be started on a thread that drives a browser."""
    with running_browser() as browser:
        yield browser


def test_everybody_can_use_every_page(browser: Browser, url: str, tmp_path: Path) -> None:
    with opened(browser, url, color_scheme="light") as tab:
        for name, path in PAGES.items():
            page = tab.go(path)
            assert violations(page) == [], name
            assert tab.overflow <= 0, name
            keep_screenshot(page, f"daemon-{name}-light", tmp_path)


def test_everybody_can_use_the_page_of_a_rate_limiter(browser: Browser, limiter_url: str, tmp_path: Path) -> None:
    for scheme, width in (("light", 1280), ("dark", 360)):
        with opened(browser, limiter_url, color_scheme=scheme, viewport={"width": width, "height": 800}) as tab:
            page = tab.go("/")
            assert violations(page) == [], scheme
            assert tab.overflow <= 0, scheme
            assert page.locator("table").count() == 3
            keep_screenshot(page, f"limiter-{scheme}", tmp_path)


def test_dark_pages_are_as_easy_to_read(browser: Browser, url: str, tmp_path: Path) -> None:
    with opened(browser, url, color_scheme="dark") as tab:
        for name, path in PAGES.items():
            page = tab.go(path)
            assert violations(page, "color-contrast") == [], name
            keep_screenshot(page, f"daemon-{name}-dark", tmp_path)


def test_a_narrow_window_has_all_of_it(browser: Browser, url: str, tmp_path: Path) -> None:
    with opened(browser, url, viewport={"width": 360, "height": 740}) as tab:
        for name, path in PAGES.items():
            tab.go(path)
            assert tab.overflow <= 0, name
        keep_screenshot(tab.go(PAGES["team"]), "daemon-team-narrow", tmp_path)


def test_the_keyboard_alone_leads_everywhere(browser: Browser, url: str) -> None:
    with opened(browser, url) as tab:
        page = tab.go("/")
        page.keyboard.press("Tab")
        assert tab.focused == "Skip to the content"
        page.keyboard.press("Enter")
        tab.press("Tab", "team.a")
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("team.a")
        tab.press("Shift+Tab", "team")
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("team")
        tab.press("Tab", "Skip the map: the table below has the same")
        page.keyboard.press("Enter")
        tab.press("Tab", "t00", most=12)
        tab.press("Shift+Tab", "Dark")
        page.keyboard.press("Enter")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_all_of_it_works_without_javascript(browser: Browser, url: str) -> None:
    with opened(browser, url, java_script_enabled=False) as tab:
        page = tab.go("/")
        expect(page.locator("figure svg .line")).to_have_count(3)
        expect(page.get_by_role("button", name="Stop updates")).to_have_count(0)
        page.get_by_role("link", name="Dark", exact=True).click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        page.get_by_role("link", name="Explore").click()
        page.locator("#table").get_by_role("link", name="team").click()
        page.get_by_role("link", name="Next").click()
        expect(page.locator(".pager")).to_contain_text("51\N{EN DASH}7")
        page.get_by_role("link", name="Explain", exact=True).click()
        page.get_by_label("Metric").fill("team.a.other")
        page.get_by_role("button", name="Explain").click()
        expect(page.locator(".verdict")).to_contain_text("Would be rejected now by the limit on metrics of team.a")


def test_the_map_leads_down(browser: Browser, url: str) -> None:
    with opened(browser, url) as tab:
        page = tab.go("/explore")
        page.locator(".map1").get_by_role("link", name="team: ").click()
        expect(page.locator("h1")).to_have_text("team")
        expect(page.locator(".map1 a")).to_have_count(30)


def test_the_first_page_stays_current_until_it_is_stopped(browser: Browser, url: str, engine: QuotaEngine) -> None:
    with opened(browser, url) as tab:
        tab.page.clock.install()
        page = tab.go("/")
        metrics = page.locator(".tiles dd").first
        before = int(metrics.inner_text().replace(",", ""))
        engine.load("team.new.one")
        page.clock.fast_forward(6_000)
        expect(metrics).to_have_text(f"{before + 1:,}")
        page.get_by_role("button", name="Stop updates").click()
        expect(page.get_by_role("status")).to_contain_text("no longer updated")
        engine.load("team.new.two")
        page.clock.fast_forward(60_000)
        page.wait_for_timeout(200)
        expect(metrics).to_have_text(f"{before + 1:,}")


@with_assets
def test_tables_change_page_in_place_and_charts_can_be_pointed_at(browser: Browser, url: str) -> None:
    with opened(browser, url) as tab:
        page = tab.go("/explore?namespace=team")
        page.evaluate("window.kept = true")
        page.get_by_role("link", name="Next").click()
        expect(page.locator(".pager")).to_contain_text("51\N{EN DASH}7")
        assert page.evaluate("window.kept")
        assert page.evaluate("document.activeElement.id") == "table"
        page.go_back()
        expect(page.locator(".pager")).to_contain_text("1\N{EN DASH}50")
        page = tab.go("/")
        expect(page.locator("figure canvas")).to_have_count(1)
        expect(page.locator("figure .plot")).to_be_hidden()
