"""The explorer's pages, made from a real engine: what they show, whatever stands in names and addresses."""

from __future__ import annotations

import re
from html import escape, unescape
from urllib.parse import parse_qs, urlsplit

import pytest

from carbonquota import QuotaEngine
from carbonquota.daemon.http import ReloadStatus, make_app
from carbonquota.hub.pages import make_pages
from carbonquota.model import MAXIMUM
from carbonquota.rules import RuleSet, lint
from carbonquota.service.health import HealthSample
from carbonquota.service.rates import RateHistory
from carbonquota.testing import ManualClock
from carbonquota.web.page.site import SECURITY, is_own
from tests.support.http import STATUS, Client, client_of, engine_with_names, source_of

HOSTILE = (
    "x.<script>alert(1)<script>",
    'x."onmouseover="alert(1)',
    "x.'><img",
    "x.{{7*7}}",
    "x.{%raw%}",
    "x.&ltb&gt",
    "x.javascript:alert(1)",
    "x.\N{RIGHT-TO-LEFT OVERRIDE}gnp",
    "x.a#b?c=d&e%20f+g",
)
PATHS = ("/", "/explore", "/explore?namespace=team", "/limits", "/explain", "/explain?metric=team.a.x", "/rules")


@pytest.fixture
def engine() -> QuotaEngine:
    return engine_with_names()


@pytest.fixture
def client(engine: QuotaEngine) -> Client:
    return client_of(source_of(engine, host="web1"))


def rows(page: str) -> list[str]:
    """The rows of all tables as text."""
    found = re.findall(r"<tr[ >].*?</tr>", page, re.DOTALL)
    return [" ".join(unescape(re.sub(r"<[^>]*>", " ", row)).split()) for row in found]


def test_every_page_is_whole_and_loads_nothing_from_elsewhere(client: Client) -> None:
    for path in PATHS:
        answer = client.get(path)
        assert answer.status_code == 200
        assert {name: answer.headers[name] for name in SECURITY} == SECURITY
        page = answer.text
        assert re.search(r'<html lang="en"', page)
        assert page.count("<h1>") == page.count("</main>") == 1
        assert not re.search(r"""(src|href|action)=["'](https?:)?//""", page)
        assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|style=", page)


def test_every_link_leads_somewhere(client: Client) -> None:
    links = {link for path in PATHS for link in re.findall(r'href="(/[^"#]*)"', client.get(path).text)}
    for link in links:
        assert client.get(unescape(link)).status_code in {200, 303}, link


def test_who_is_over_a_limit_comes_first(client: Client, engine: QuotaEngine) -> None:
    engine.admit(b"".join(b"team.a.n%d 1 1\n" % number for number in range(4)))
    over = rows(client.get("/").text)
    assert over[1].startswith("team.a metrics 100.0 % 4 4 3 \N{EN DASH} [team.*] line 5"), over
    assert any(row.startswith("/ namespaces 100.0 % 3 3") for row in over), over


def test_a_namespace_is_shown_with_limits_and_children(client: Client) -> None:
    page = client.get("/explore", namespace="team").text
    assert [row.split()[:2] for row in rows(page)[1:]] == [["a", "3"], ["b", "2"]]
    assert "No rule holds this namespace" in page
    held = rows(client.get("/explore", namespace="team.b").text)
    assert held[1] == "metrics 100.0 % 2 2 0"


def test_sorting_and_paging_stand_in_the_address(engine: QuotaEngine) -> None:
    for number in range(120):
        engine.load(f"many.n{number:03}.x")
    client = client_of(source_of(engine))
    page = client.get("/explore", namespace="many", sort="name").text
    assert [row.split()[0] for row in rows(page)[1:]] == [f"n{number:03}" for number in range(50)]
    after = re.search(r'<a href="([^"]*)" rel="next"', page)
    assert after
    second = client.get(unescape(after[1])).text
    assert rows(second)[1].split()[0] == "n050"
    assert "51\N{EN DASH}100 of 120" in unescape(second)


def test_a_metric_is_explained(client: Client) -> None:
    page = client.get("/explain", metric="team.b.new").text
    assert "Would be accepted now" in page
    assert any("2 2 0 1" in row for row in rows(page))
    refused = client.get("/explain", metric="..")
    assert (refused.status_code, 'role="alert"' in refused.text) == (400, True)


def test_rules_are_shown_with_what_looks_wrong_in_them(engine: QuotaEngine) -> None:
    text = "[a.*]\nmetrics = 1\n[a.*]\nmetrics = <b>\n".replace("<b>", "2")
    findings = lint(RuleSet.from_text(text, source="<i>"))
    client = client_of(source_of(engine, findings=lambda: findings))
    page = client.get("/rules").text
    assert [row.split()[0] for row in rows(page)[1:]] == ["[/]", "[team.*]", "[team.b]"]
    assert "Q002" in page
    assert "^^" in page


def test_refused_rules_are_told_in_full(engine: QuotaEngine) -> None:
    problem = "quotas.conf:1:1: <b>bad</b>\n    [a\n    ^"
    status = STATUS.__class__(
        **{name: getattr(STATUS, name) for name in STATUS.__slots__}
        | {"reload": ReloadStatus(ok=False, time=1, error=problem)}
    )
    client = client_of(source_of(engine, status=lambda: status))
    for path in ("/", "/rules"):
        assert escape(problem) in client.get(path).text


def test_names_are_text_wherever_they_stand(engine: QuotaEngine) -> None:
    for namespace in HOSTILE:
        engine.load(f"{namespace}.m")
    client = client_of(source_of(engine))
    page = client.get("/explore", namespace="x").text
    links = [unescape(link) for link in re.findall(r'href="(/explore[?][^"]*namespace=[^"]*)"', page)]
    assert set(HOSTILE) <= {parse_qs(urlsplit(link).query)["namespace"][0] for link in links}
    for namespace in HOSTILE:
        itself = client.get("/explore", namespace=namespace).text
        explained = client.get("/explain", metric=f"{namespace}.m").text
        assert f"<h1>{namespace}</h1>" in re.sub(r"<h1>(.*?)</h1>", lambda found: unescape(found[0]), itself)
        assert f"{namespace}.m" in unescape(explained)
        for text in (page, itself, explained):
            assert not re.search(r"<script>|<img|\son\w+=", text)


def test_a_slip_in_an_address_is_no_error(client: Client) -> None:
    most = f"offset={MAXIMUM}"
    for query in ("sort=nonsense", "offset=-1", f"{most}9999", most, "order=<b>", "namespace=", "over=1", "points=x"):
        for path in ("/explore", "/limits", "/rules"):
            assert client.get(f"{path}?{query}").status_code == 200, query


def test_what_is_not_there_is_told_on_a_page(client: Client) -> None:
    answer = client.get("/explore", namespace="no<where")
    assert answer.status_code == 404
    assert "no&lt;where" in answer.text
    assert client.get("/explore", namespace="a" * 5000).status_code == 404


def test_static_files_may_be_kept_for_ever_as_their_address_has_their_version(client: Client) -> None:
    page = client.get("/").text
    address = re.search(r'href="(/static/page.css\?v=[0-9a-f]{12})"', page)
    assert address
    answer = client.get(address[1])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "immutable" in answer.headers["cache-control"]
    for name in ("nothing.css", "../site.py", "..%2fsite.py"):
        assert client.get(f"/static/{name}").status_code == 404


def test_a_theme_is_chosen_without_javascript(client: Client) -> None:
    answer = client.get("/theme", to="dark", back="/limits?over=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/limits?over=1")
    assert answer.headers["set-cookie"].startswith("theme=dark; ")
    page = client.request("GET", "/", headers={"Cookie": "theme=dark"}).text
    assert '<html lang="en" data-theme="dark">' in page
    assert '<html lang="en" data-theme="auto">' in client.request("GET", "/", headers={"Cookie": 'theme="><b>'}).text


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("/", True),
        ("/explore?namespace=a.b", True),
        ("//elsewhere", False),
        ("/\\elsewhere", False),
        ("https://elsewhere/", False),
        ("javascript:alert(1)", False),
        ("/a\r\nSet-Cookie: x", False),
        ("", False),
    ],
)
def test_no_link_leads_back_to_another_site(address: str, own: bool) -> None:
    assert is_own(address) == own


def test_a_theme_leads_back_to_no_other_site(client: Client) -> None:
    for address in ("//elsewhere", "https://elsewhere/", "/\\elsewhere"):
        assert client.get("/theme", to="dark", back=address).headers["location"] == "/"


def test_what_came_in_is_drawn_over_time(engine: QuotaEngine) -> None:
    clock = ManualClock(1000.0)
    counts = {"received": 0.0, "accepted": 0.0}
    history = RateHistory(lambda: [HealthSample(name, count) for name, count in counts.items()], clock)
    for step in range(4):
        history.look()
        counts["received"] += 100 * step
        clock.advance(10)
    assert history.rates().per_second["received"] == (0, 10, 20)
    page = client_of(source_of(engine, rates=history)).get("/").text
    assert "Data points a second" in page
    assert page.count('class="line ') == 3


def test_a_clock_that_stands_or_goes_back_makes_no_rate() -> None:
    clock = ManualClock(1000.0)
    history = RateHistory(lambda: [HealthSample("received", 5)], clock)
    history.look()
    history.look()
    clock.set(900.0)
    history.look()
    assert history.rates().times == ()


def test_all_templates_can_be_made_ready_before_anybody_asks(engine: QuotaEngine) -> None:
    make_app(source_of(engine)).state.prepare()
    make_pages().prepare()
