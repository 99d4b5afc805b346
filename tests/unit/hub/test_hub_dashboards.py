"""The dashboard, alerts and document of the quota service ask only for what its page of metrics has."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from carbonquota.hub.domain.values import Provider
from carbonquota.hub.http.app import make_app
from carbonquota.hub.http.metrics import page_of
from carbonquota.hub.service.stats import HUB_STATS, HubSample
from carbonquota.hub.service.utilization import Measurement
from carbonquota.testing import ManualClock
from tests.support.dashboards import (
    FROM_PROMETHEUS,
    IN_TEXT,
    METRIC,
    Dashboards,
    assert_asks_for_what_there_is,
    labels_in_text,
)
from tests.support.http import Client
from tests.support.hub import ADMIN, open_hub, set_quota

ROOT = Path(__file__).parents[3]
FILES = Dashboards.read("hub-dashboard.json", "hub-alerts.yml")


def read(page: str) -> dict[tuple[str, ...], float]:
    """Every sample of a page by its name and the values of its labels."""
    families = text_string_to_metric_families(page)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


@cache
def scraped() -> dict[str, set[str]]:
    """The labels of every metric of a page on which there is all that can be."""
    found = [HubSample(name, 1.0, tuple("x" for _ in stat.labels)) for name, stat in HUB_STATS.items()]
    families = text_string_to_metric_families(page_of(found).decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def kept(expression: str) -> set[str]:
    """The labels that the answer to a query still has."""
    grouped = re.findall(r"\bby \(([^)]*)\)", expression)
    if grouped:
        return {label.strip() for labels in grouped for label in labels.split(",")}
    if re.match(r"sum\(", expression):
        return set()
    return set[str]().union(*(scraped()[name] for name, _ in METRIC.findall(expression))) | FROM_PROMETHEUS


@pytest.mark.parametrize(("place", "expression"), list(FILES.expressions()))
def test_a_query_names_metrics_and_labels_that_exist(place: str, expression: str) -> None:
    assert_asks_for_what_there_is(expression, scraped())
    for name, _ in METRIC.findall(expression):
        assert kept(expression) <= scraped()[name] | FROM_PROMETHEUS


def test_texts_and_lines_are_filled_in_by_labels_that_there_are() -> None:
    for rule in FILES.rules:
        assert set().union(*map(labels_in_text, rule["annotations"].values())) <= kept(rule["expr"]), rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
    for panel in FILES.panels:
        for target in panel["targets"]:
            assert {label for _, label in IN_TEXT.findall(target["legendFormat"])} <= kept(target["expr"])
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in FILES.panels]
    assert len(set(places)) == len(places)


def test_the_document_names_all_metrics_and_alerts() -> None:
    text = (ROOT / "docs" / "quota-service.md").read_text()
    assert re.findall(r"^\| `(Carbonquota\w+)` \|", text, re.MULTILINE) == [rule["alert"] for rule in FILES.rules]
    named = set(re.findall(r"^\| `(carbonquota_hub_[a-z_]+)` \|", text, re.MULTILINE))
    assert named == scraped().keys() - {"carbonquota_hub_info"}


def test_the_page_counts_what_was_decided_and_tells_who_is_near_or_late(tmp_path: Path) -> None:
    clock = ManualClock(1_000_000.0)
    hub = open_hub(f"sqlite:///{tmp_path}/hub.sqlite", clock)
    hub.providers.put(ADMIN, Provider("ssd"))
    hub.providers.put(ADMIN, Provider("disk", "carbonquota", "http://127.0.0.1:9/metrics"))
    for name in ("acme", "initech", "other"):
        set_quota(hub, name, bytes=1000)
    hub.utilization.put(Measurement("ssd", ["acme", "initech", "x"], {"bytes": [850, 1000, 1]}, clock()))
    assert [hub.grants.write_ok("acme", "ssd", size).ok for size in (10, 10, 200, 200)] == [True, True, False, False]
    hub.grants.write_ok_many(["acme", "nobody"], ["ssd"] * 2, [1, 1])
    hub.scraper.scrape()
    clock.advance(200.0)
    page = read(Client(make_app(hub)).get("/metrics").text)
    expected = {
        ("hub_writes_total", "granted"): 3, ("hub_writes_total", "refused"): 3, ("hub_reservations_total",): 2,
        ("hub_customers",): 3, ("hub_customers_near", "bytes"): 2, ("hub_customers_full", "bytes"): 1,
        ("hub_provider_age_seconds", "ssd"): 200, ("hub_provider_stale", "ssd"): 1, ("hub_database_up",): 1,
        ("hub_scrape_failures_total", "disk"): 1, ("hub_utilization_values_total",): 2, ("hub_lease_seconds",): 0,
        ("hub_utilization_unknown_total",): 1, ("hub_release",): 0, ("hub_daemons", "silent"): 0,
    }  # fmt: skip
    assert {key: page[f"carbonquota_{key[0]}", *key[1:]] for key in expected} == expected
    hub.close()
