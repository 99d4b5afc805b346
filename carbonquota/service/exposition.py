"""What Prometheus scrapes: quotas by namespace, control and rule, the program's own health, and what runs.

Theory of operation. Nothing is kept here: each page asks the reporter for columns and the health for samples. The
page is made piece by piece, so that neither it nor what it is made of need be in memory as a whole, and other threads
have their turn. The families of namespaces, of which there may be very many, are written here, in the classic text
format; all others by prometheus-client. Counters are the totals since the start of the program.

Bounds: of more than `most` namespaces the most pressing ones are shown, and of the rest the totals.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from time import monotonic
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from carbonquota.controls import CONTROLS, QuotaColumns
from carbonquota.kernel import KERNEL
from carbonquota.model import Limits, Rule
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.health import HEALTH, Health, StatKind, summed
from carbonquota.service.reporter import Reporter
from carbonquota.service.totals import OverQuota

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The classic text format, which every Prometheus reads."""

_STRETCH: Final = 250
"""Namespaces whose samples are one piece: some 100 KB."""
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_EXACT: Final = 2**53
"""Up to here a double has every whole number."""
_LOG_EVERY: Final = 3600.0

_log = logging.getLogger(__name__)


class Exposition:
    """The page that `GET /metrics` answers with."""

    def __init__(self, reporter: Reporter, health: Health, version: str, *, most: int = 0) -> None:
        """Show what `reporter` and `health` know, of `most` namespaces (0: of all); `version` is the program's."""
        self._reporter = reporter
        self._most = most
        self._notices = BoundedLog(_log, monotonic, every=_LOG_EVERY)
        self._process = _Health(health), _Build(version)

    def text(self) -> bytes:
        """All of it as it is now."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The same, piece by piece; for any thread, and best not for one that has traffic to serve."""
        quotas, tallies = self._reporter.quotas_and_counts()
        shown = self._shown(quotas)
        left_out = len(quotas) - len(shown)
        if left_out:
            self._notices.warning(
                "bound",
                "/metrics has the %d most pressing of %d namespaces, and totals of the rest: raise "
                "[carbonserver] prometheus-max-namespaces to have more",
                len(shown),
                len(quotas),
            )
        page = _Page(quotas, tallies, shown)
        yield from page.pieces(room=max(self._most - len(shown), 0) if self._most else len(tallies))
        yield _page_of(_Rest(quotas, tallies, shown), *self._process)

    def _shown(self, quotas: QuotaColumns) -> Sequence[int]:
        """The positions of the namespaces to show."""
        if not self._most or len(quotas) <= self._most:
            return range(len(quotas))
        pressures = quotas.pressures()
        most_pressing = np.argpartition(-pressures, self._most - 1)[: self._most]
        positions: list[int] = np.sort(most_pressing).tolist()
        return positions


def rule_label(rule: Rule) -> str:
    """How series name a rule: by its pattern, as its place would rename them all with each line added above it."""
    return f"[{rule.pattern}]"


@dataclass(frozen=True, slots=True)
class _Page:
    """The families of namespaces: those at the positions `shown`."""

    quotas: QuotaColumns
    tallies: Mapping[str, OverQuota]
    shown: Sequence[int]

    def pieces(self, room: int) -> Iterator[bytes]:
        """All four, with `room` for so many namespaces that are gone."""
        yield from _family("carbonquota_quota_limit", "gauge", "What a rule grants a namespace", self._limits())
        meaning = "What a namespace uses of its limit; for throughput, the data points accepted in the running interval"
        yield from _family("carbonquota_quota_usage", "gauge", meaning, self._usages())
        gone = self._gone(room)
        meaning = "Data points over a quota, dropped or not"
        yield from _family("carbonquota_quota_over_total", "counter", meaning, self._over(gone))
        meaning = "Data points over a quota that were dropped"
        yield from _family("carbonquota_quota_dropped_total", "counter", meaning, self._dropped(gone))

    def _gone(self, room: int) -> list[OverQuota]:
        """What is still told of namespaces that have no quota any more."""
        if not self.tallies:
            return []
        there = {name for name in self.quotas.names if name in self.tallies}
        return [tally for name, tally in self.tallies.items() if name not in there][:room]

    def _limits(self) -> Iterator[str]:
        for position in self.shown:
            compiled = self.quotas.compiled[self.quotas.rules[position]]
            labels = _labels(self.quotas.names[position], compiled.rule)
            for control in CONTROLS:
                if (limit := getattr(compiled.limits, control.stat)) is not None:
                    yield f'carbonquota_quota_limit{{control="{control.stat}",{labels}}} {_number(limit)}\n'

    def _usages(self) -> Iterator[str]:
        for position in self.shown:
            compiled = self.quotas.compiled[self.quotas.rules[position]]
            labels = _labels(self.quotas.names[position], compiled.rule)
            for control, usage in zip(CONTROLS, self.quotas.usages, strict=True):
                if getattr(compiled.limits, control.stat) is not None:
                    used = _number(int(usage[position]))
                    yield f'carbonquota_quota_usage{{control="{control.stat}",{labels}}} {used}\n'

    def _counted(self, gone: Iterable[OverQuota]) -> Iterator[tuple[str, Limits, OverQuota | None]]:
        """The labels and limits of each namespace, and what was counted there, if anything ever was."""
        for position in self.shown:
            name, compiled = self.quotas.names[position], self.quotas.compiled[self.quotas.rules[position]]
            yield _labels(name, compiled.rule), compiled.limits, self.tallies.get(name)
        for tally in gone:
            yield _labels(tally.quota.namespace, tally.quota.rule), tally.quota.limits, tally

    def _over(self, gone: Iterable[OverQuota]) -> Iterator[str]:
        for labels, _, tally in self._counted(gone):
            yield f"carbonquota_quota_over_total{{{labels}}} {_number(tally.over) if tally else 0}\n"

    def _dropped(self, gone: Iterable[OverQuota]) -> Iterator[str]:
        """Zeros included: a first drop shows as an increase."""
        for labels, limits, tally in self._counted(gone):
            for control in CONTROLS:
                points = tally.dropped.get(control.key, 0) if tally else 0
                if points or getattr(limits, control.stat) is not None:
                    yield f'carbonquota_quota_dropped_total{{control="{control.stat}",{labels}}} {_number(points)}\n'


@dataclass(frozen=True, eq=False)
class _Rest(Collector):
    """How many namespaces there are, and totals of those that are not `shown`.

    All are gauges, also what was counted, as namespaces come to the rest and leave it.
    """

    quotas: QuotaColumns
    tallies: Mapping[str, OverQuota]
    shown: Sequence[int]

    def collect(self) -> Iterator[Metric]:
        """The families, which are there when nothing is left out, too."""
        rest = np.ones(len(self.quotas), np.bool_)
        rest[self.shown] = False
        left_out = int(np.count_nonzero(rest))
        yield GaugeMetricFamily("carbonquota_quota_namespaces", "Namespaces under rules", len(self.quotas))
        meaning = "Those of them that have no series here, since prometheus-max-namespaces is reached"
        yield GaugeMetricFamily("carbonquota_quota_namespaces_left_out", meaning, left_out)
        yield from self._amounts(rest)
        yield from self._counts(set(self.quotas.names[rest].tolist()) if left_out and self.tallies else set())

    def _amounts(self, rest: NDArray[np.bool_]) -> Iterator[Metric]:
        labels = ("control",)
        limit = GaugeMetricFamily("carbonquota_quota_rest_limit", "The limits of those left out", labels=labels)
        usage = GaugeMetricFamily("carbonquota_quota_rest_usage", "What those left out use of them", labels=labels)
        for control, used in zip(CONTROLS, self.quotas.usages, strict=True):
            limits = self.quotas.limits(control.stat)
            limited = ~np.isnan(limits)
            if limited.any():
                limit.add_metric([control.stat], float(limits[limited & rest].sum()))
                usage.add_metric([control.stat], float(used[limited & rest].sum(dtype=np.float64)))
        return iter((limit, usage))

    def _counts(self, names: AbstractSet[str]) -> Iterator[Metric]:
        over = 0
        dropped = dict.fromkeys((control.key for control in CONTROLS), 0)
        for name in names & self.tallies.keys():
            tally = self.tallies[name]
            over += tally.over
            for key, points in tally.dropped.items():
                dropped[key] += points
        meaning = "Data points over a quota of those left out, since the start"
        yield GaugeMetricFamily("carbonquota_quota_rest_over", meaning, over)
        meaning = "Of these, the dropped ones"
        family = GaugeMetricFamily("carbonquota_quota_rest_dropped", meaning, labels=("control",))
        for control in CONTROLS:
            family.add_metric([control.stat], dropped[control.key])
        yield family


def _number(value: int) -> int | float:
    """An amount as Prometheus will have it: in doubles, so past 2^53 no figure claims more."""
    return value if value <= _EXACT else float(value)


def _labels(namespace: str, rule: Rule) -> str:
    """The two labels that all series of namespaces have."""
    return f'namespace="{namespace.translate(_ESCAPES)}",rule="{rule_label(rule).translate(_ESCAPES)}"'


def _family(name: str, kind: str, meaning: str, lines: Iterator[str]) -> Iterator[bytes]:
    """A family in pieces."""
    gathered = [f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n"]
    for line in lines:
        gathered.append(line)
        if len(gathered) >= _STRETCH * len(CONTROLS):
            yield "".join(gathered).encode()
            gathered.clear()
    if gathered:
        yield "".join(gathered).encode()


def _page_of(*collectors: Collector) -> bytes:
    """What some collectors give, as a page."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry)


@dataclass(frozen=True)
class _Health(Collector):
    """The program's own health."""

    health: Health

    def collect(self) -> Iterator[Metric]:
        """A family for every value that some part of the program gives."""
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for (name, label), value in summed(self.health.samples()).items():
            family = families.get(name) or families.setdefault(name, _empty_family(name))
            family.add_metric([_label(HEALTH[name].label, label)] if HEALTH[name].label else [], value)
        yield from families.values()


def _empty_family(name: str) -> GaugeMetricFamily | CounterMetricFamily:
    """The empty family of a value of the table."""
    stat = HEALTH[name]
    kind = CounterMetricFamily if stat.kind is StatKind.COUNTER else GaugeMetricFamily
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
