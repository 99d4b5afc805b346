"""What administrators change by forms: quotas, customers, providers and tokens, without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from carbonquota.hub.domain.controls import Amounts
from carbonquota.hub.domain.values import Provider
from carbonquota.hub.http.app import make_app
from carbonquota.hub.service.hub import Hub
from carbonquota.web.access import Role
from tests.support.http import Client
from tests.support.hub import ADMIN, open_hub, set_quota

HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}

SLIPS: list[tuple[dict[str, str], str]] = [
    ({"limit-bytes": "ten"}, "bytes: 'ten' is no amount: write it as 10,000, 10k or 10 GiB"),
    ({"limit-metrics": "-1"}, "metrics: '-1' is no amount: write it as 10,000, 10k or 10 GiB"),
    ({"limit-bytes": "1.5"}, "bytes: '1.5' is not a whole number from 0 to 9,223,372,036,854,775,807"),
    ({"limit-bytes": "9999 EiB"}, "bytes: '9999 EiB' is not a whole number"),
    ({}, "give at least one limit, or delete the quota"),
    ({"limit-bytes": "1", "provider": "nowhere"}, "there is no provider called 'nowhere'"),
    ({"limit-bytes": "1", "customer": "no/name"}, "'no/name' is no name of a customer"),
    ({"limit-bytes": "1", "expected": "x"}, "expected: 'x' is no number of one"),
    ({"limit-bytes": "1", "why": "w" * 1001}, "why: this has 1,001 characters, and at most 1,000 are kept"),
    ({"limit-bytes": "1", "why": "\0"}, "why: this is no text"),
]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = open_hub(f"sqlite:///{tmp_path}/hub.sqlite")
    hub.providers.put(ADMIN, Provider("east"))
    set_quota(hub, "acme", bytes=1000)
    yield hub
    hub.close()


@pytest.fixture
def client(hub: Hub) -> Client:
    """Asks while nobody needs a token."""
    return Client(make_app(hub))


def hidden(page: str) -> dict[str, str]:
    """What the first form of a page carries along."""
    form = page[page.index("<form class") :]
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form[: form.index("</form>")])
    return {name: unescape(value) for name, value in found}


def send(client: Client, path: str, **form: str) -> httpx.Response:
    return client.request("POST", path, content=urlencode(form), headers=HEADERS)


def alert(answer: httpx.Response) -> str:
    found = re.search(r'<p class="notice" role="alert"[^>]*>(.*?)</p>', answer.text, re.DOTALL)
    assert found, answer.text
    return unescape(found[1])


def test_a_quota_is_set_with_units_and_a_reason(client: Client, hub: Hub) -> None:
    form = hidden(client.get("/quota?customer=acme").text)
    limits = {"limit-bytes": "1.5 GiB", "limit-metrics": "50k", "limit-data_points": "1,000,000"}
    answer = send(client, "/quota", **form, **limits, why="more room")
    assert (answer.status_code, answer.headers["location"]) == (303, "/customer?name=acme&quota=set")
    assert hub.quotas.quota("acme").limits == Amounts(bytes=1536 * 1024**2, metrics=50_000, data_points=1_000_000)
    assert "The quota is set." in client.get(answer.headers["location"]).text
    (entry, *_) = hub.writing.entries(subject="customer/acme")
    assert (entry.actor, entry.why, entry.before) == ("anonymous", "more room", {"bytes": 1000})
    changes = unescape(client.get("/changes?of=customer/acme").text)
    assert "<del>1,000</del>" in changes
    assert "<ins>1,610,612,736</ins>" in changes
    assert "more room" in changes


def test_a_quota_makes_its_customer_and_one_at_a_provider_stands_beside(client: Client, hub: Hub) -> None:
    form = {"expected": "0", "limit-bytes": "10"}
    assert send(client, "/quota", customer="new", provider="", **form).status_code == 303
    assert send(client, "/quota", customer="new", provider="east", **form).status_code == 303
    assert [quota.provider for quota in hub.quotas.quotas("new")] == ["", "east"]


def test_what_somebody_else_changed_meanwhile_is_shown_and_not_overwritten(client: Client, hub: Hub) -> None:
    form = hidden(client.get("/quota?customer=acme").text)
    set_quota(hub, "acme", bytes=7)
    answer = send(client, "/quota", **form, **{"limit-bytes": "9", "why": "mine"})
    assert answer.status_code == 412
    assert "somebody changed it meanwhile" in alert(answer)
    assert hub.quotas.quota("acme").limits == Amounts(bytes=7)
    assert 'name="limit-bytes" value="9"' in answer.text, "what was written stays"
    assert ">7 B<" in answer.text, "what is in force is shown"
    assert send(client, "/quota", **hidden(answer.text), **{"limit-bytes": "9"}).status_code == 303
    assert hub.quotas.quota("acme").limits == Amounts(bytes=9)
    assert send(client, "/quota", **form, action="delete").status_code == 412
    again = client.get("/quota?customer=acme").text
    assert send(client, "/quota", **hidden(again), action="delete", why="gone").status_code == 303
    assert hub.quotas.quotas("acme") == []


def test_a_slip_in_a_quota_is_told_and_nothing_changes(client: Client, hub: Hub) -> None:
    version = str(hub.quotas.quota("acme").change)
    for changes, text in SLIPS:
        answer = send(client, "/quota", **({"customer": "acme", "provider": "", "expected": version} | changes))
        assert answer.status_code in {404, 422}
        assert text in alert(answer)
    assert hub.quotas.quota("acme").limits == Amounts(bytes=1000)


def test_a_customers_words_and_namespaces_are_changed_and_it_is_deleted(client: Client, hub: Hub) -> None:
    form = hidden(client.get("/customer/edit?name=acme").text)
    wrong = send(client, "/customer/edit", **form, namespaces="team.[", about="kept")
    assert wrong.status_code == 422
    assert "namespaces: 'team.[' is no pattern" in alert(wrong)
    assert "kept</textarea>" in wrong.text
    assert send(client, "/customer/edit", **form, namespaces="team.a\r\nteam.b.*", about="A & B").status_code == 303
    found = hub.quotas.customer("acme")
    assert (found.namespaces, found.about) == (("team.a", "team.b.*"), "A & B")
    assert send(client, "/customer/edit", **form, action="delete").status_code == 412
    form = hidden(client.get("/customer/edit?name=acme").text)
    assert send(client, "/customer/edit", **form, action="delete", why="left us").status_code == 303
    assert "acme" not in hub.book.numbers
    assert client.get("/customer/edit?name=acme").status_code == 404


def test_a_provider_is_added_changed_and_deleted(client: Client, hub: Hub) -> None:
    assert "never" in client.get("/providers").text
    form = hidden(client.get("/provider").text) | {"name": "s3", "interval": "30", "stale_after": "90"}
    form |= {"kind": "prometheus", "url": "http://10.0.0.7:9000/metrics"}
    for mapping, text in (
        ("", "mapping: a provider of kind prometheus needs one"),
        ("used tenant", "mapping: 'used tenant' is not a metric"),
        ("used tenant gold", "mapping: there is no control called 'gold'"),
        ("used 'tenant bytes", "No closing quotation"),
    ):
        answer = send(client, "/provider", **form, mapping=mapping)
        assert answer.status_code == 422
        assert text in alert(answer)
    assert "is not from 1 to 86,400" in alert(send(client, "/provider", **(form | {"interval": "0"})))
    mapping = "used tenant bytes region='eu west'\nseries tenant metrics"
    assert send(client, "/provider", **form, mapping=mapping).status_code == 303
    made = hub.providers.provider("s3")
    assert made.interval == 30
    assert made.mapping[0] == {"metric": "used", "label": "tenant", "control": "bytes", "where": {"region": "eu west"}}
    page = client.get("/provider?name=s3").text
    assert "used tenant bytes &#39;region=eu west&#39;" in page
    assert send(client, "/provider", **form, mapping=mapping).status_code == 412, "it is there already"
    assert send(client, "/provider", **hidden(page), action="delete").status_code == 303
    assert [one.name for one in hub.providers.all()] == ["east"]


def test_the_first_token_closes_the_service_and_each_is_shown_once_and_revoked(client: Client, hub: Hub) -> None:
    wrong = send(client, "/tokens", name="c", role="customer", subject="acme", days="1")
    assert (wrong.status_code, "make the token of an administrator first" in alert(wrong)) == (422, True)
    answer = send(client, "/tokens", name="anna", role="admin", days="30", why="me")
    (token,) = re.findall(r'id="made">(cq_[^<]*)<', answer.text)
    assert answer.headers["cache-control"] == "no-store"
    assert client.get("/tokens").status_code == 303, "from now on one has to log in"
    admin = {"Authorization": f"Bearer {token}"}

    def ask(method: str, path: str, **form: str) -> httpx.Response:
        return client.request(method, path, content=urlencode(form), headers=HEADERS | admin)

    page = ask("GET", "/tokens").text
    assert token not in page
    assert "anna" in page
    for form, text in (
        ({"name": "", "role": "operator"}, "name: say whose token it is"),
        ({"name": "x", "role": "king"}, "role: 'king' is none of customer, provider, operator, admin"),
        ({"name": "x", "role": "customer"}, "is no name of a customer"),
        ({"name": "x", "role": "operator", "days": "soon"}, "days: 'soon' is no number"),
    ):
        answer = ask("POST", "/tokens", **form)
        assert (answer.status_code, text in alert(answer)) == (422, True), text
    assert ask("POST", "/tokens", name="c", role="customer", subject="acme", days="").status_code == 200
    (first, *_) = (one for one in hub.tokens.all() if one.role is Role.CUSTOMER)
    assert ask("POST", "/tokens/revoke", id=first.id, why="lost").status_code == 303
    assert ask("POST", "/tokens/revoke", id=first.id).status_code == 404
    assert "revoked</span>" in ask("GET", "/tokens").text
    (entry, *_) = hub.writing.entries(subject=f"token/{first.id}")
    assert (entry.actor, entry.action, entry.why) == ("anna", "revoke token", "lost")


def test_no_other_site_can_send_a_form(client: Client, hub: Hub) -> None:
    paths = ("/quota", "/customer/edit", "/provider", "/tokens", "/tokens/revoke")
    for path in paths:
        headers = HEADERS | {"Origin": "http://elsewhere.example"}
        assert client.request("POST", path, content="customer=acme", headers=headers).status_code == 403
    token, _ = hub.tokens.make(ADMIN, "anna", Role.ADMIN, "", 3600.0)
    begun = client.request("POST", "/session", content=urlencode({"token": token}), headers=HEADERS)
    session = {"Cookie": begun.headers["set-cookie"].partition(";")[0]}
    page = client.request("GET", "/tokens", headers=session)
    (csrf, *_) = re.findall(r"/tokens\?csrf=(\w+)", page.text)
    for path in paths:
        for given in ("", "?csrf=" + "0" * 64):
            assert client.request("POST", path + given, content="name=x", headers=HEADERS | session).status_code == 403
        good = client.request("POST", f"{path}?csrf={csrf}", content="", headers=HEADERS | session)
        assert good.status_code in {404, 422}, "it is read, and found wanting"


LINES = 'customer,provider,bytes,metrics\nacme,,2 KiB,\nacme,east,,7\nnew,,"1,000",none\n'


def plan_of(answer: httpx.Response) -> list[str]:
    page = answer.text[answer.text.index('id="plan"') :] if 'id="plan"' in answer.text else ""
    found = re.findall(r"<tr>.*?</tr>", page, re.DOTALL)
    return [" ".join(unescape(re.sub(r"<[^>]*>", " ", row)).split()) for row in found[1:]]


def test_many_quotas_are_shown_before_and_after_and_changed_in_one_audited_step(client: Client, hub: Hub) -> None:
    looked = send(client, "/quotas", text=LINES, action="look")
    assert plan_of(looked) == [
        "2 acme all providers bytes 1,000 B → becomes 2.00 KiB",
        "3 acme east metrics no limit → becomes 7",
        "4 new all providers bytes no limit → becomes 1,000 B",
    ]
    assert "3 changes, 0 of them delete a quota; 0 stay as they are; 1 new customer." in looked.text
    assert len(hub.writing.entries()) == 2, "nothing is changed yet"
    seen = re.findall(r'name="seen" value="(\w+)"', looked.text)[0]
    done = send(client, "/quotas", text=LINES, seen=seen, why="a new year", action="apply")
    assert (done.status_code, done.headers["location"]) == (303, "/quotas?changed=3")
    assert "3 quotas changed." in client.get("/quotas?changed=3").text
    assert hub.quotas.quota("acme").limits == Amounts(bytes=2048)
    assert hub.quotas.quota("acme", "east").limits == Amounts(metrics=7)
    assert hub.quotas.quota("new").limits == Amounts(bytes=1000)
    entries = hub.writing.entries(limit=3)
    assert {(one.action, one.why) for one in entries} == {("set quota", "a new year")}
    assert len({one.time for one in entries}) == 1
    # What is in force is the beginning of the next change, and changes nothing itself.
    filled = client.get("/quotas?from=").text
    text = unescape(filled[filled.index("<textarea") :].partition("\n")[2].partition("</textarea>")[0])
    assert text == "customer,provider,bytes,metrics\nacme,,2048,\nacme,east,,7\nnew,,1000,\n"
    assert "0 changes, 0 of them delete a quota; 3 stay as they are" in send(client, "/quotas", text=text).text
    ended = send(client, "/quotas", text="customer\tbytes\r\nnew\tNONE\r\n", action="look")
    assert "1 change, 1 of them deletes a quota" in ended.text
    seen = re.findall(r'name="seen" value="(\w+)"', ended.text)[0]
    assert send(client, "/quotas", text="customer;bytes\nnew;none", seen=seen, action="apply").status_code == 303
    assert hub.quotas.quotas("new") == []


def test_many_quotas_that_somebody_changed_meanwhile_are_shown_anew(client: Client, hub: Hub) -> None:
    seen = re.findall(r'name="seen" value="(\w+)"', send(client, "/quotas", text=LINES).text)[0]
    set_quota(hub, "acme", bytes=7)
    answer = send(client, "/quotas", text=LINES, seen=seen, action="apply")
    assert (answer.status_code, plan_of(answer)[0]) == (412, "2 acme all providers bytes 7 B → becomes 2.00 KiB")
    assert "somebody changed one of these quotas meanwhile" in alert(answer)
    assert hub.quotas.quota("acme").limits == Amounts(bytes=7)
    assert "new" not in hub.book.numbers


def test_each_line_that_cannot_be_is_told_and_nothing_is_written(client: Client, hub: Hub) -> None:
    text = (
        "customer,provider,bytes\nacme,,much\nno/name,,1\nacme,nowhere,1\n\nacme,,5\nacme,,6\nacme,east\nacme,,1,2\n"
        "b,,99999999 EiB\n"
    )
    answer = send(client, "/quotas", text=text, action="apply")
    assert answer.status_code == 422
    assert [unescape(one) for one in re.findall(r"<li>(line .*?)</li>", answer.text)] == [
        "line 2: bytes: 'much' is no amount: write it as 10,000, 10k or 10 GiB",
        (
            "line 3: 'no/name' is no name of a customer: it begins with a letter or digit, has at most 200 characters, "
            "and all of them are letters, digits, or one of . _ @ : + -"
        ),
        "line 4: there is no provider called 'nowhere': an administrator makes it",
        "line 7: the same quota stands in line 6 already",
        "line 8: there is no limit here: write an amount, or none for no limit",
        "line 9: there are 4 cells, and 3 columns",
        "line 10: bytes: '99999999 EiB' is not a whole number from 0 to 9,223,372,036,854,775,807",
    ]
    assert hub.quotas.quota("acme").limits == Amounts(bytes=1000)
    assert text in unescape(answer.text), "what was written stays"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: there is no quota here: the first line names the columns, such as customer,provider,bytes"),
        ("customer,bites\nacme,1", "line 1: there is no column called 'bites': they are customer, provider, bytes, "),
        ("acme,5", "line 1: there is no column called 'acme'"),
        ("customer,provider\nacme,", "line 1: the first line names the columns: the customer, and at least one"),
        ("customer,bytes,bytes\nacme,1,1", "line 1: a column stands twice"),
        ('customer,bytes\nacme,"1', "line 2: this is no line of a table: unexpected end of data"),
        ("customer,bytes\n" + "".join(f"c{n},1\n" for n in range(10_001)), "line 10,002: at most 10,000 quotas"),
    ],
)  # fmt: skip
def test_what_is_no_table_of_quotas_is_told(client: Client, hub: Hub, text: str, said: str) -> None:
    answer = send(client, "/quotas", text=text, action="apply")
    assert answer.status_code == 422
    assert said in unescape(answer.text)
    assert list(hub.book.numbers) == ["acme"]
