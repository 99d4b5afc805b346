from __future__ import annotations

from pathlib import Path

import pytest

from carbonquota.hub.domain.errors import InvalidError
from carbonquota.hub.domain.scraping import Owners, Scraped, read_page
from carbonquota.hub.domain.values import Customer, Provider
from carbonquota.hub.service.scraper import Scraper
from carbonquota.testing import ManualClock
from tests.support.hub import ADMIN, open_hub, set_quota

MAPPING = ({"metric": "disk_used", "label": "tenant", "control": "bytes", "where": {"kind": "data"}},)
PAGE = """\
# TYPE disk_used gauge
disk_used{tenant="acme",kind="data",disk="1"} 100
disk_used{tenant="acme",kind="data",disk="2"} 20.5
disk_used{tenant="acme",kind="log"} 7
disk_used{tenant="initech",kind="data"} NaN
disk_used{kind="data"} 9
other 5
"""
DAEMON = """\
carbonquota_quota_usage{namespace="team.a",control="metrics",rule="x"} 7
carbonquota_quota_usage{namespace="team.a.web",control="metrics",rule="x"} 3
carbonquota_quota_usage{namespace="team.b",control="logical_size",rule="x"} 4096
carbonquota_quota_usage{namespace="tenant-7.x",control="metrics",rule="x"} 2
carbonquota_quota_usage{namespace="team.b",control="throughput",rule="x"} 1
"""
OWNERS = Owners([("acme", "team.*"), ("initech", "team.b"), ("acme", "tenant-[0-9].x")])


def test_series_are_mapped_to_customers_by_a_label_and_added() -> None:
    provider = Provider("disks", "prometheus", "http://x/metrics", mapping=MAPPING)
    assert read_page(PAGE, provider, Owners([])) == Scraped({"bytes": {"acme": 120}}, frozenset({"bytes"}))


def test_a_daemon_needs_no_mapping_as_customers_own_namespaces_by_pattern() -> None:
    provider = Provider("graphite", "carbonquota", "http://x/metrics")
    expected = {"metrics": {"acme": 9}, "bytes": {"initech": 4096}}
    assert read_page(DAEMON, provider, OWNERS) == Scraped(expected, frozenset(expected))
    assert read_page(DAEMON + "carbonquota_quota_namespaces_left_out 2\n", provider, OWNERS).complete == frozenset()


def test_what_is_no_page_of_metrics_is_told() -> None:
    with pytest.raises(InvalidError, match="no page in the Prometheus format"):
        read_page("<html>{</html>", Provider("x", "carbonquota", "http://x/"), OWNERS)


def test_due_providers_are_read_once_an_interval_and_one_that_is_away_keeps_its_last_values(tmp_path: Path) -> None:
    clock, asked, pages = ManualClock(1_000_000.0), list[str](), [DAEMON]

    def fetch(url: str, token_file: str) -> str:
        assert token_file == ""
        asked.append(url)
        if not pages:
            raise ConnectionRefusedError("nobody is there")
        return pages.pop()

    hub = open_hub(f"sqlite:///{tmp_path}/hub.sqlite", clock)
    hub.providers.put(ADMIN, Provider("graphite", "carbonquota", "http://127.0.0.1:1/metrics"))
    hub.quotas.put_customer(ADMIN, Customer("acme", ("team.a",)))
    set_quota(hub, "acme", metrics=100)
    scraper = Scraper(hub.database, hub.book, hub.utilization, clock, fetch)
    for _ in range(3):
        scraper.scrape()
    assert asked == ["http://127.0.0.1:1/metrics"]
    clock.advance(200)
    scraper.scrape()
    assert len(asked) == 2
    value = next(one for one in hub.utilization.of("acme") if one.provider == "graphite")
    assert (value.control, value.usage, value.age, value.stale) == ("metrics", 7, 200.0, True)
    hub.close()


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        (Provider("x", "carbonquota", "file:///etc/passwd"), "url: 'file:///etc/passwd' is not that of a page"),
        (Provider("x", "prometheus", "http://x/"), "mapping: a provider of kind prometheus needs one"),
        (Provider("x", "prometheus", "http://x/", mapping=({"metric": "m", "label": "l", "control": "c"},)),
         "mapping: there is no control called 'c'"),
    ],
    ids=["url", "mapping", "control"],
)  # fmt: skip
def test_a_provider_that_cannot_be_read_is_refused(tmp_path: Path, provider: Provider, said: str) -> None:
    hub = open_hub(f"sqlite:///{tmp_path}/hub.sqlite")
    with pytest.raises(InvalidError) as error:
        hub.providers.put(ADMIN, provider)
    assert said in str(error.value)
    with pytest.raises(InvalidError, match="is no pattern of namespaces"):
        hub.quotas.put_customer(ADMIN, Customer("acme", ("team.[",)))
    hub.close()
