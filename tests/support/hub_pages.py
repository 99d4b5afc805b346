"""A quota service with something to show on each of its pages."""

from __future__ import annotations

from pathlib import Path

from carbonquota.hub.domain.rules import FleetDaemon, Mode
from carbonquota.hub.domain.values import Customer, Provider
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.service.utilization import Measurement
from carbonquota.testing import ManualClock
from tests.support.hub import ADMIN, open_hub, set_quota

RULES = "[team.*]\nmetrics = 10\n"
HOSTILE = "<img src=x onerror=alert(1)>"
PAGES = (
    "/",
    "/customers",
    "/customer?name=acme",
    "/growth",
    "/explore",
    "/explore?namespace=team",
    "/rules",
    "/rules/edit",
    "/suggest",
    "/limits",
    "/limits/edit",
    "/providers",
    "/changes",
    "/changes?of=customer/acme",
)
FORMS = (
    "/quota",
    "/quota?customer=acme",
    "/quota?customer=acme&provider=east",
    "/quotas",
    "/quotas?from=acme",
    "/customer/edit?name=acme",
    "/provider",
    "/provider?name=east",
    "/tokens",
)
"""Pages for administrators alone."""


def shown_hub(folder: Path) -> Hub:
    """A service that knows two providers, one of which is late, some customers, rules, and a daemon."""
    clock = ManualClock(1_764_300_000.0)
    hub = open_hub(f"sqlite:///{folder}/hub.sqlite", clock)
    for name in ("east", "west"):
        hub.providers.put(ADMIN, Provider(name))
    names = [f"customer-{number:02}" for number in range(70)]
    for name in ("acme", *names):
        set_quota(hub, name, bytes=1000, metrics=50)
    hub.quotas.put_customer(ADMIN, Customer("acme", ("team.a",), HOSTILE))
    hub.utilization.put(Measurement("west", ["acme"], {"bytes": [100]}))
    hub.utilization.put(Measurement("east", ["acme"], {"bytes": [100]}))
    hub.history.look(hub.book, clock())
    clock.advance(600)
    hub.utilization.put(Measurement("east", ["acme", *names], {"bytes": [950, *range(70)]}))
    hub.history.look(hub.book, clock())
    version = hub.rules.upload(ADMIN, RULES)
    hub.rules.release(ADMIN, version.number, Mode.ENFORCED)
    hub.rules.note_daemon(FleetDaemon("web1", "", 0, clock(), HOSTILE))
    hub.drops.note("web1", [("team.a", "metrics", 12), (HOSTILE, "throughput", 34)])
    hub.rules.note_usage(
        "web1",
        [
            ("/", (1, 11, 200, 8192, 20, 0)),
            ("team", (2, 11, 200, 8192, 20, 0)),
            ("team.a", (0, 8, 100, 4096, 10, 0)),
            ("team.b", (0, 3, 100, 4096, 10, 0)),
        ],
    )
    return hub
