"""Dashboards and alert rules as tests read them: their queries, and the labels that these name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ETC = Path(__file__).parents[2] / "etc"
FROM_PROMETHEUS = frozenset({"instance", "job"})
"""Labels that a scrape's target adds."""
METRIC = re.compile(r"\b(carbonquota_[a-z_]+)\b(?:\{([^}]*)\})?")
"""A metric in a query, with its matchers."""
MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
"""A label that a matcher names."""
IN_TEXT = re.compile(r"\$labels\.([a-z_]+)|\{\{\s*([a-z_]+)\s*\}\}")
"""A label in a text of an alert, and one in the name of a line."""


@dataclass(frozen=True, slots=True)
class Dashboards:
    """A dashboard and the alert rules beside it."""

    dashboard: dict[str, Any]
    alerts: dict[str, Any]

    @classmethod
    def read(cls, dashboard: str, alerts: str) -> Dashboards:
        """Both files of `etc/`."""
        return cls(json.loads((ETC / dashboard).read_text()), yaml.safe_load((ETC / alerts).read_text()))

    @property
    def rules(self) -> list[dict[str, Any]]:
        """All alert rules."""
        return [rule for group in self.alerts["groups"] for rule in group["rules"]]

    @property
    def panels(self) -> list[dict[str, Any]]:
        """All panels."""
        panels: list[dict[str, Any]] = self.dashboard["panels"]
        return panels

    def expressions(self) -> Iterator[tuple[str, str]]:
        """Every query of both files, with where it stands."""
        for rule in self.rules:
            yield rule["alert"], rule["expr"]
        for panel in self.panels:
            for target in panel["targets"]:
                yield panel["title"], target["expr"]


def labels_in_text(text: str) -> set[str]:
    """The labels that a text of an alert has filled in."""
    return {found for found, _ in IN_TEXT.findall(text)} - {""}


def assert_asks_for_what_there_is(expression: str, scraped: Mapping[str, set[str]]) -> None:
    """A query names metrics, all of them on a page with these labels by metric, and of counters asks for the rate."""
    metrics = METRIC.findall(expression)
    assert metrics
    for name, matchers in metrics:
        assert name in scraped
        assert set(MATCHER.findall(matchers)) <= scraped[name] | FROM_PROMETHEUS
        assert not name.endswith("_total") or re.search(rf"(?:rate|increase)\({name}\b", expression)
