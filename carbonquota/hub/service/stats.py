"""What one server of the quota service tells of itself: one table of every value, and samples of them.

Samples of the whole fleet (customers, providers, daemons) are the same on all servers, within the freshness.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from carbonquota.hub.domain.controls import CONTROLS
from carbonquota.hub.domain.grid import TOTAL
from carbonquota.hub.domain.pressure import EASE
from carbonquota.hub.domain.rules import EVERY_GROUP
from carbonquota.service.health import StatKind

if TYPE_CHECKING:
    from carbonquota.hub.service.hub import Hub

_COUNTER: Final = StatKind.COUNTER
_GAUGE: Final = StatKind.GAUGE


@dataclass(frozen=True, slots=True)
class HubStat:
    """What one value of the table means; `labels` name what its samples are told apart by."""

    kind: StatKind
    meaning: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HubSample:
    """One value now: `stat` is a key of `HUB_STATS`, `labels` has a value for each of its labels."""

    stat: str
    value: float
    labels: tuple[str, ...] = ()


HUB_STATS: Final[dict[str, HubStat]] = {
    "hub_database_up": HubStat(_GAUGE, "1 while the database can be used"),
    "hub_fresh_within_seconds": HubStat(_GAUGE, "For how long others may have changed what is not known here"),
    "hub_lease_seconds": HubStat(_GAUGE, "For how long writes may be granted without the database and the store"),
    "hub_servers": HubStat(_GAUGE, "Servers on this database that are alive"),
    "hub_customers": HubStat(_GAUGE, "Customers"),
    "hub_customers_held": HubStat(_GAUGE, "Those of them that this server has in memory"),
    "hub_customers_near": HubStat(_GAUGE, "Customers that hold 80 % of a quota or more, by control", ("control",)),
    "hub_customers_full": HubStat(_GAUGE, "Those of them that hold all of it or more", ("control",)),
    "hub_providers": HubStat(_GAUGE, "Providers"),
    "hub_provider_age_seconds": HubStat(_GAUGE, "Seconds since a provider last told something", ("provider",)),
    "hub_provider_stale": HubStat(_GAUGE, "1 if that is longer than it should be", ("provider",)),
    "hub_scrape_failures": HubStat(_COUNTER, "Pages of providers that could not be read here", ("provider",)),
    "hub_writes": HubStat(_COUNTER, "Writes decided here, by result", ("result",)),
    "hub_reservations": HubStat(_COUNTER, "Rounds in which more of quotas was reserved here"),
    "hub_utilization_values": HubStat(_COUNTER, "Values of utilization that were told here"),
    "hub_utilization_unknown": HubStat(_COUNTER, "Customers in these that nobody knows"),
    "hub_release": HubStat(_GAUGE, "The release of rules that is in force for all daemons, 0 for none"),
    "hub_daemons": HubStat(_GAUGE, "Daemons that take their rules here, by how they are", ("state",)),
    "hub_grpc_connections": HubStat(_GAUGE, "Open connections of gRPC"),
    "hub_grpc_faults": HubStat(_COUNTER, "Calls and connections of gRPC that came to nothing, by reason", ("reason",)),
}
"""Every value by name. For Prometheus, `carbonquota_` stands before it, and `_total` behind a counter."""


def samples(hub: Hub) -> Iterator[HubSample]:
    """All values now."""
    yield from _own(hub)
    yield from _customers(hub)
    yield from _providers(hub)
    yield from _daemons(hub)


def _own(hub: Hub) -> Iterator[HubSample]:
    """How this server is."""
    age = hub.synchronizer.age
    yield HubSample("hub_database_up", 0.0 if hub.synchronizer.trouble else 1.0)
    yield HubSample("hub_fresh_within_seconds", age if math.isfinite(age) else -1.0)
    yield HubSample("hub_lease_seconds", max(hub.leases.until - hub.clock(), 0.0))
    yield HubSample("hub_servers", hub.leases.servers)
    for result, count in hub.grants.decided().items():
        yield HubSample("hub_writes", count, (result,))
    yield HubSample("hub_reservations", hub.grants.counts.rounds)
    yield HubSample("hub_utilization_values", hub.utilization.values)
    yield HubSample("hub_utilization_unknown", hub.utilization.unknown)
    yield HubSample("hub_grpc_connections", hub.calls.connections)
    for reason, count in hub.calls.faults.copy().items():
        yield HubSample("hub_grpc_faults", count, (reason,))


def _customers(hub: Hub) -> Iterator[HubSample]:
    """How many there are, and how many near their quotas."""
    book = hub.book
    yield HubSample("hub_customers", book.total)
    yield HubSample("hub_customers_held", len(book.numbers))
    for control, name in enumerate(CONTROLS):
        near = full = 0
        with book.lock:
            if book.limits.has(TOTAL, control) and book.usage.has(TOTAL, control):
                limits, usage = book.limits.column(TOTAL, control), book.usage.column(TOTAL, control)
                rows = np.flatnonzero(limits)
                used, most = usage[rows], ~limits[rows]
                near, full = int((used >= most * EASE).sum()), int((used >= most).sum())
        yield HubSample("hub_customers_near", near, (name,))
        yield HubSample("hub_customers_full", full, (name,))


def _providers(hub: Hub) -> Iterator[HubSample]:
    """How long ago each was heard."""
    now, heard = hub.clock(), hub.utilization.heard()
    yield HubSample("hub_providers", len(heard))
    for provider, measured in heard:
        if measured:
            yield HubSample("hub_provider_age_seconds", now - measured, (provider.name,))
        yield HubSample("hub_provider_stale", float(now - measured > provider.stale_after), (provider.name,))
        if provider.kind != "push":
            yield HubSample("hub_scrape_failures", hub.scraper.failures[provider.name], (provider.name,))


def _daemons(hub: Hub) -> Iterator[HubSample]:
    """Which run what they are to have."""
    everywhere = hub.rules.in_force(EVERY_GROUP)
    yield HubSample("hub_release", everywhere.number if everywhere else 0)
    for state, count in hub.rules.states(hub.limits).items():
        yield HubSample("hub_daemons", count, (state,))
