"""`/metrics`: what a server tells Prometheus of itself."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from carbonquota.hub.http.answers import READS
from carbonquota.hub.http.parameters import Operator
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.stats import HUB_STATS, HubSample, samples
from carbonquota.service.exposition import CONTENT_TYPE
from carbonquota.service.health import StatKind

_PAGE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "In Prometheus' text format", "content": {"text/plain": {}}}
}


def make_router(hub: Hub) -> APIRouter:
    """The one endpoint."""
    router = APIRouter(tags=["operations"])

    def metrics(_: Operator) -> Response:
        """For Prometheus, in its classic text format."""
        return Response(page_of(samples(hub)), headers={"Content-Type": CONTENT_TYPE})

    router.add_api_route(
        "/metrics", metrics, summary="What this server tells Prometheus", responses=READS | _PAGE,
        response_class=Response,
    )  # fmt: skip
    return router


def page_of(found: Iterable[HubSample]) -> bytes:
    """The page of these samples."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_HubSamples(tuple(found)))
    return generate_latest(registry)


@dataclass(frozen=True, eq=False)
class _HubSamples(Collector):
    """The values of the table, and what runs."""

    found: tuple[HubSample, ...]

    def collect(self) -> Iterator[Metric]:
        """A family for every value that there is."""
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for sample in self.found:
            family = families.get(sample.stat) or families.setdefault(sample.stat, _family(sample.stat))
            family.add_metric(sample.labels, float(sample.value))
        yield from families.values()
        build = GaugeMetricFamily("carbonquota_hub_info", "1, labelled by what runs", labels=("version", "python"))
        build.add_metric((version("carbonquota"), platform.python_version()), 1)
        yield build


def _family(name: str) -> GaugeMetricFamily | CounterMetricFamily:
    stat = HUB_STATS[name]
    kind = CounterMetricFamily if stat.kind is StatKind.COUNTER else GaugeMetricFamily
    return kind(f"carbonquota_{name}", stat.meaning, labels=stat.labels)
