"""What a limiter tells Prometheus: its decisions, its faces, the process."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from carbonquota.limiter.faces.checker import BUCKETS, FaceStats
from carbonquota.limiter.stats import STATS, Sample, Stat
from carbonquota.service.health import StatKind

FACE_STATS: Final[dict[str, Stat]] = {
    "limiter_requests": Stat(StatKind.COUNTER, "Requests answered, by face and verdict", ("face", "verdict")),
    "limiter_faults": Stat(
        StatKind.COUNTER, "Requests and connections that came to nothing, by face and reason", ("face", "reason")
    ),
    "limiter_connections": Stat(StatKind.GAUGE, "Open connections, by face", ("face",)),
    "limiter_connections_most": Stat(StatKind.GAUGE, "Connections that may be open, by face", ("face",)),
    "limiter_waiting": Stat(StatKind.GAUGE, "Requests that wait for the store, by face", ("face",)),
    "limiter_event_loop_lag_seconds": Stat(StatKind.GAUGE, "By how much the event loop was late when it last turned"),
    "limiter_start_time": Stat(StatKind.GAUGE, "When the process started, in seconds since the epoch"),
}
"""What the process adds to the table of the limiter itself."""

LATENCY: Final = Stat(StatKind.GAUGE, "Seconds from a request's bytes to its verdict, by face", ("face",))
"""`carbonquota_limiter_decision_seconds`, a histogram."""

ALL_STATS: Final[dict[str, Stat]] = STATS | FACE_STATS


def face_samples(faces: Mapping[str, FaceStats]) -> Iterator[Sample]:
    """What the faces counted."""
    for face, stats in faces.items():
        for verdict, count in stats.verdicts.copy().items():
            yield Sample("limiter_requests", count, (face, verdict))
        for reason, count in stats.faults.copy().items():
            yield Sample("limiter_faults", count, (face, reason))
        yield Sample("limiter_connections", stats.connections, (face,))
        yield Sample("limiter_connections_most", stats.most_connections, (face,))
        yield Sample("limiter_waiting", stats.waiting, (face,))


@dataclass(frozen=True, eq=False)
class _Values(Collector):
    """The values of the table."""

    samples: Iterable[Sample]

    def collect(self) -> Iterator[Metric]:
        """A family for every value that there is."""
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for sample in self.samples:
            family = families.get(sample.stat) or families.setdefault(sample.stat, _family(sample.stat))
            family.add_metric(sample.labels, float(sample.value))
        yield from families.values()


def _family(name: str) -> GaugeMetricFamily | CounterMetricFamily:
    stat = ALL_STATS[name]
    kind = CounterMetricFamily if stat.kind is StatKind.COUNTER else GaugeMetricFamily
    return kind(f"carbonquota_{name}", stat.meaning, labels=stat.labels)


@dataclass(frozen=True, eq=False)
class _Latency(Collector):
    """How long decisions took, and what runs."""

    faces: Mapping[str, FaceStats]
    version: str

    def collect(self) -> Iterator[Metric]:
        """A histogram a face."""
        family = HistogramMetricFamily("carbonquota_limiter_decision_seconds", LATENCY.meaning, labels=LATENCY.labels)
        for face, stats in self.faces.items():
            total, buckets = 0, []
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), stats.latency.counts.copy(), strict=True):
                total += count
                buckets.append((bound, float(total)))
            family.add_metric((face,), buckets, stats.latency.total)
        yield family
        build = GaugeMetricFamily("carbonquota_limiter_info", "1, labelled by what runs", labels=("version", "python"))
        build.add_metric((self.version, platform.python_version()), 1)
        yield build


@dataclass(frozen=True, slots=True)
class LimiterExposition:
    """Makes the page."""

    samples: Callable[[], Iterable[Sample]]
    faces: Mapping[str, FaceStats]
    version: str

    def page(self) -> bytes:
        """All values now, in the text format of Prometheus."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Values((*self.samples(), *face_samples(self.faces))))
        registry.register(_Latency(self.faces, self.version))
        return generate_latest(registry)
