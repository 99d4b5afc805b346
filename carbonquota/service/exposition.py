"""What Prometheus scrapes: quotas by namespace, control and rule, the program's own health, and what runs.

Theory of operation. Nothing is kept here: each scrape asks the reporter and the health, and the families are made
from that, by a collector in a registry of its own. Counters are the totals since the start of the program.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from carbonquota.controls import CONTROLS, NamespaceQuota
from carbonquota.kernel import KERNEL
from carbonquota.model import Rule
from carbonquota.service.health import HEALTH, Health, Kind, summed
from carbonquota.service.reporter import Reporter
from carbonquota.service.totals import Tally

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The classic text format, which every Prometheus reads."""

_BY_CONTROL: Final = ("namespace", "control", "rule")


class Exposition:
    """The page that `GET /metrics` answers with."""

    def __init__(self, reporter: Reporter, health: Health, version: str) -> None:
        """Show what `reporter` and `health` know; `version` is the program's."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Quotas(reporter))
        self._registry.register(_Health(health))
        self._registry.register(_Build(version))

    def text(self) -> bytes:
        """All of it as it is now; callable from any thread, and best not from one that has traffic to serve."""
        return generate_latest(self._registry)


@dataclass(frozen=True)
class _Quotas(Collector):
    """The quotas."""

    reporter: Reporter

    def collect(self) -> Iterator[Metric]:
        """Limit and usage of each control that is set, points over quota, and of these the dropped ones."""
        quotas, tallies = self.reporter.standings()
        yield from _limits_and_usage(quotas)
        counted = {quota.namespace: Tally(quota, 0, {}) for quota in quotas} | tallies
        over = CounterMetricFamily(
            "carbonquota_quota_over", "Data points over a quota, dropped or not", labels=("namespace", "rule")
        )
        dropped = CounterMetricFamily(
            "carbonquota_quota_dropped", "Data points over a quota that were dropped", labels=_BY_CONTROL
        )
        for namespace, tally in counted.items():
            rule = rule_label(tally.quota.rule)
            over.add_metric((namespace, rule), tally.over)
            for control, points in _dropped_by_control(tally):
                dropped.add_metric((namespace, control, rule), points)
        yield from (over, dropped)


def rule_label(rule: Rule) -> str:
    """How series name a rule: by its pattern, as its place would rename them all with each line added above it."""
    return f"[{rule.pattern}]"


def _limits_and_usage(quotas: Sequence[NamespaceQuota]) -> Iterable[Metric]:
    """The gauges of every control that is set."""
    limit = GaugeMetricFamily("carbonquota_quota_limit", "What a rule grants a namespace", labels=_BY_CONTROL)
    usage = GaugeMetricFamily(
        "carbonquota_quota_usage",
        "What a namespace uses of its limit; for throughput, the data points accepted in the running interval",
        labels=_BY_CONTROL,
    )
    for quota in quotas:
        rule = rule_label(quota.rule)
        for control in CONTROLS:
            amount = getattr(quota.limits, control.stat)
            if amount is not None:
                labels = quota.namespace, control.stat, rule
                limit.add_metric(labels, amount)
                usage.add_metric(labels, getattr(quota.usage, control.stat))
    return limit, usage


def _dropped_by_control(tally: Tally) -> Iterator[tuple[str, int]]:
    """The dropped points of each control that is set or was, zeros included: a first drop shows as an increase."""
    for control in CONTROLS:
        points = tally.dropped.get(control.key, 0)
        if points or getattr(tally.quota.limits, control.stat) is not None:
            yield control.stat, points


@dataclass(frozen=True)
class _Health(Collector):
    """The program's own health."""

    health: Health

    def collect(self) -> Iterator[Metric]:
        """A family for every value that some part of the program gives."""
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for (name, label), value in summed(self.health.samples()).items():
            family = families.get(name) or families.setdefault(name, _family(name))
            family.add_metric([_label(HEALTH[name].label, label)] if HEALTH[name].label else [], value)
        yield from families.values()


def _family(name: str) -> GaugeMetricFamily | CounterMetricFamily:
    """The empty family of a value of the table."""
    stat = HEALTH[name]
    kind = CounterMetricFamily if stat.kind is Kind.COUNTER else GaugeMetricFamily
    return kind(f"carbonquota_{name}", stat.meaning, labels=[stat.label] if stat.label else [])


def _label(name: str, value: str) -> str:
    """A label's value, controls being spelled as in all stats."""
    return value.replace("-", "_") if name == "control" else value


@dataclass(frozen=True)
class _Build(Collector):
    """What runs."""

    version: str

    def collect(self) -> Iterator[Metric]:
        """One sample, whose labels tell it."""
        build = GaugeMetricFamily(
            "carbonquota_build_info", "1, labelled by what runs", labels=("version", "kernel", "python")
        )
        build.add_metric((self.version, KERNEL, platform.python_version()), 1)
        yield build
