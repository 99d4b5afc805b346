"""The dashboard, the alert rules and the page on stats use only names and labels that a scrape really has."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.service.exposition import Exposition
from carbonquota.service.health import HEALTH, Health, HealthSample, StatKind
from carbonquota.service.reporter import Reporter, Timetable
from carbonquota.testing import ManualClock
from tests.support.dashboards import (
    FROM_PROMETHEUS,
    IN_TEXT,
    METRIC,
    Dashboards,
    assert_asks_for_what_there_is,
    labels_in_text,
)

ROOT = Path(__file__).parents[3]
FILES = Dashboards.read("grafana-dashboard.json", "prometheus-alerts.yml")
DASHBOARD, RULES, PANELS = FILES.dashboard, FILES.rules, FILES.panels
_GROUPING = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)")


@cache
def scraped() -> dict[str, set[str]]:
    """The labels of every metric of a real page, made by an engine under rules that has dropped something."""
    rules = RuleSet.from_text("[*]\nmetrics = 1\nthroughput = 5\n[/]\nmetrics = 1\ndropping-policy = none\n")
    clock = ManualClock(0.0)
    engine = QuotaEngine(rules, size_of=lambda _: Size(1, 1, 1), clock=clock)
    engine.admit(b"a.x 1 1\n" * 9 + b"a.y 1 1\n")
    health = Health([lambda: (HealthSample(name, 1, "some" if stat.label else "") for name, stat in HEALTH.items())])
    page = Exposition(Reporter(engine, health, "p", timetable=Timetable(60.0, clock)), health, "1.0").text()
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def labels_of(expression: str) -> set[str]:
    """All labels that the metrics of a query have."""
    return set[str]().union(*(scraped()[name] for name, _ in METRIC.findall(expression))) | FROM_PROMETHEUS


@pytest.mark.parametrize(("place", "expression"), list(FILES.expressions()))
def test_a_query_names_metrics_and_labels_that_exist(place: str, expression: str) -> None:
    assert_asks_for_what_there_is(expression, scraped())
    grouped = {label.strip() for labels in _GROUPING.findall(expression) for label in labels.split(",")}
    assert grouped <= labels_of(expression)


@pytest.mark.parametrize(("place", "expression"), list(FILES.expressions()))
def test_a_query_has_its_brackets_closed(place: str, expression: str) -> None:
    open_ones = []
    for character in re.sub(r'"[^"]*"', "", expression):
        if character in "([{":
            open_ones.append(")]}"["([{".index(character)])
        elif character in ")]}":
            assert open_ones.pop() == character
    assert open_ones == []


@pytest.mark.parametrize(("place", "expression"), list(FILES.expressions()))
def test_a_counter_is_only_asked_how_it_grows(place: str, expression: str) -> None:
    for name, _ in METRIC.findall(expression):
        if name.endswith("_total"):
            assert re.search(rf"(?:rate|increase)\({name}\b", expression)


def kept_labels(expression: str) -> set[str]:
    """The labels that the answer to a query still has: those it is summed by, where it is."""
    grouped = re.findall(r"\bsum (?:by \(([^)]*)\) )?\(", expression)
    return {label.strip() for labels in grouped for label in labels.split(",")} if grouped else labels_of(expression)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_and_why_by_labels_that_it_has(rule: dict[str, Any]) -> None:
    assert set(rule["annotations"]) == {"summary", "description"}
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    used = set[str]().union(*map(labels_in_text, rule["annotations"].values()))
    assert used <= kept_labels(rule["expr"])


def test_the_alerts_asked_for_are_there_each_once() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    by_name = {rule["alert"]: rule for rule in RULES}
    near = by_name["CarbonquotaNearQuota"]
    assert (near["for"], near["expr"].rsplit(" ", 1)[1]) == ("10m", "0.9")
    assert {"CarbonquotaThrottled", "CarbonquotaReloadFailed", "CarbonquotaSinkDown", "CarbonquotaSpooling"} <= set(
        names
    )


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_takes_its_data_from_the_chosen_source_and_names_lines_by_labels_they_have(
    panel: dict[str, Any],
) -> None:
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["description"]
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        assert {label for _, label in IN_TEXT.findall(target["legendFormat"])} <= kept_labels(target["expr"])


def test_the_dashboard_can_be_imported() -> None:
    assert DASHBOARD["schemaVersion"] >= 36
    assert DASHBOARD["title"]
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    used = set(re.findall(r"\$\{?([a-z]+)\b", json.dumps(PANELS)))
    assert used <= variables.keys()
    for name in variables.keys() - {"datasource"}:
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variables[name]["definition"]).groups()  # type: ignore[union-attr]
        assert label in scraped()[metric] | FROM_PROMETHEUS


def test_no_two_panels_lie_over_each_other() -> None:
    taken = set()
    for panel in PANELS:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert 0 <= x < 24
                assert (x, y) not in taken, panel["title"]
                taken.add((x, y))


def test_every_word_in_the_files_that_looks_like_a_metric_is_one() -> None:
    for name in ("grafana-dashboard.json", "prometheus-alerts.yml"):
        used = set(re.findall(r"carbonquota_[a-z_]+", (ROOT / "etc" / name).read_text()))
        assert used <= scraped().keys()


def test_the_document_has_the_table_of_health() -> None:
    text = (ROOT / "docs" / "stats.md").read_text()
    row = re.compile(r"^\| `(?!carbonquota_)(\w+)` \| (counter|gauge) \| (?:`(\w+)`)? ?\| (.*) \|$", re.MULTILINE)
    rows = row.findall(text)
    assert rows == [(name, stat.kind.value, stat.label, stat.meaning) for name, stat in HEALTH.items()]


def test_the_document_names_every_alert() -> None:
    text = (ROOT / "docs" / "stats.md").read_text()
    assert re.findall(r"^\| `(Carbonquota\w+)` \|", text, re.MULTILINE) == [rule["alert"] for rule in RULES]


def test_the_document_names_metrics_that_exist() -> None:
    used = set(re.findall(r"carbonquota_[a-z_]*[a-z]", (ROOT / "docs" / "stats.md").read_text()))
    assert used
    assert used <= scraped().keys()


def test_a_counter_is_told_from_a_gauge_by_its_name() -> None:
    for name, stat in HEALTH.items():
        assert (f"carbonquota_{name}_total" in scraped()) is (stat.kind is StatKind.COUNTER)
