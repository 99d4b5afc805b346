"""The limiter's dashboard, alerts and document use only names and labels that a scrape really has."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from carbonquota.limiter.faces.checker import FaceStats
from carbonquota.limiter.model import Code, FullAnswer
from carbonquota.limiter.process.exposition import ALL_STATS, LimiterExposition
from carbonquota.limiter.stats import Sample
from tests.support.dashboards import (
    FROM_PROMETHEUS,
    IN_TEXT,
    METRIC,
    Dashboards,
    assert_asks_for_what_there_is,
    labels_in_text,
)

ROOT = Path(__file__).parents[4]
FILES = Dashboards.read("limiter-dashboard.json", "limiter-alerts.yml")
RULES, PANELS = FILES.rules, FILES.panels


@cache
def scraped() -> dict[str, set[str]]:
    """The labels of every metric of a page on which there is all that can be."""
    face = FaceStats()
    face.note(FullAnswer(Code.OK, ()), 0.001)
    face.faults["bug"] = 1
    own = [Sample(name, 1.0, tuple("x" for _ in stat.labels)) for name, stat in ALL_STATS.items()]
    # Those that the faces give by themselves.
    own = [one for one in own if "face" not in ALL_STATS[one.stat].labels]
    page = LimiterExposition(lambda: own, {"grpc": face}, "1.0").page().decode()
    families = text_string_to_metric_families(page)
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def kept(expression: str) -> set[str]:
    """The labels that the answer to a query still has."""
    grouped = re.findall(r"\bsum by \(([^)]*)\)", expression)
    if grouped:
        return {label.strip() for labels in grouped for label in labels.split(",")} - {"le"}
    return set[str]().union(*(scraped()[name] for name, _ in METRIC.findall(expression))) | FROM_PROMETHEUS


@pytest.mark.parametrize(("place", "expression"), list(FILES.expressions()))
def test_a_query_names_metrics_and_labels_that_exist(place: str, expression: str) -> None:
    assert_asks_for_what_there_is(expression, scraped())
    labels = set[str]().union(*(scraped()[name] for name, _ in METRIC.findall(expression))) | FROM_PROMETHEUS
    grouped = re.findall(r"\bby \(([^)]*)\)", expression)
    assert {label.strip() for one in grouped for label in one.split(",")} <= labels
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_and_why_by_labels_that_it_has(rule: dict[str, Any]) -> None:
    assert set(rule["annotations"]) == {"summary", "description"}
    assert rule["labels"]["severity"] in {"warning", "critical"}
    used = set[str]().union(*map(labels_in_text, rule["annotations"].values()))
    assert used <= kept(rule["expr"])


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows_and_names_lines_by_labels_they_have(panel: dict[str, Any]) -> None:
    assert panel["description"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        assert {label for _, label in IN_TEXT.findall(target["legendFormat"])} <= kept(target["expr"])


def test_no_two_panels_lie_over_each_other() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in PANELS]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in PANELS})


def test_the_document_names_the_alerts_and_metrics_that_there_are() -> None:
    text = (ROOT / "docs" / "rate-limiting-gateways.md").read_text()
    assert re.findall(r"^\| `(Carbonquota\w+)` \|", text, re.MULTILINE) == [rule["alert"] for rule in RULES]
    names = set(re.findall(r"`(carbonquota_limiter_[a-z_]+)`", text)) - {"carbonquota_limiter_decision_seconds"}
    assert names
    assert names <= scraped().keys()
