"""Inside a real carbon-cache, rules of a real quota service: fetched, applied, reported, and kept while it is away."""

from __future__ import annotations

from pathlib import Path

from carbonquota.web.access import Role
from tests.support.carbon_daemons import CarbonDaemon, Graphite, one_each, running
from tests.support.daemon import wait_until
from tests.support.hub import HubProcess, hub_process


def rules(metrics: int) -> str:
    return f"[team.*]\nmetrics = {metrics}\n"


def release(hub: HubProcess, metrics: int, mode: str = "enforced") -> int:
    return int(hub.rules.release(hub.rules.push(rules(metrics))["number"], mode, "carbons")["number"])


def await_running(hub: HubProcess, number: int) -> None:
    """Until the service was told by the one daemon that it runs a release, and nothing is wrong with it."""
    wait_until(
        lambda: [(one["running"], one["trouble"]) for one in hub.rules.daemons()] == [(number, "")],
        lambda: str(hub.rules.daemons()),
    )


def let_in(cache: CarbonDaemon, namespace: str) -> int:
    """How many of five new metrics are stored."""
    cache.deliver(one_each(f"{namespace}.m{number}" for number in range(5)))
    return sum(name.startswith(f"{namespace}.") for name in cache.graphite.stored())


def test_rules_are_fetched_applied_reported_and_kept_while_the_service_is_away(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=rules(4))
    with hub_process(tmp_path / "hub") as hub:
        graphite.write("hub-token", hub.tokens[Role.PROVIDER])
        settings = {"QUOTA_HUB_URL": hub.url, "QUOTA_HUB_TOKEN_FILE": "hub-token", "QUOTA_HUB_GROUP": "carbons"}
        graphite.configure("cache", QUOTA_HUB_WAIT=2, **settings)
        with running(graphite.daemon()) as (cache,):
            await_running(hub, 0)
            assert let_in(cache, "team.before") == 4, "the file holds until there is a release"
            await_running(hub, release(hub, 2))
            assert let_in(cache, "team.fetched") == 2
            await_running(hub, release(hub, 1, "shadow"))
            assert let_in(cache, "team.shadow") == 5
            await_running(hub, int(hub.rules.rollback("carbons")["number"]))
            hub.kill()
            wait_until(lambda: "stays in force" in cache.log, lambda: cache.log)
            cache.stop()
            cache.start()
            assert let_in(cache, "team.kept") == 2, "it starts with what it kept"
            hub.start()
            await_running(hub, release(hub, 3))
            assert let_in(cache, "team.again") == 3
            assert not any(secret[16:] in cache.log for secret in hub.tokens.values())
