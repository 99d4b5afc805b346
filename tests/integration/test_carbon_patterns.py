"""A pattern that would take hours for a name, inside Graphite's own carbon: a relay goes on for everybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.carbon_daemons import Graphite, one_each, running
from tests.support.daemon import wait_until


@pytest.mark.parametrize(("pattern", "is_set_aside"), [("^(a+)+$", False), (r"^(a)(\1+)+$", True)])
def test_no_name_holds_up_a_relay(tmp_path: Path, pattern: str, *, is_set_aside: bool) -> None:
    behind = Graphite(tmp_path / "behind")
    store = behind.daemon("cache", "store", ours=False)
    graphite = Graphite(tmp_path / "graphite", quotas="[/]\nlogical-size = max\n", interval=1)
    rest = "[rest]\npattern = .*\nretentions = 60s:1d\n"
    graphite.write("storage-schemas.conf", f"[bad]\npattern = {pattern}\nretentions = 60s:2d\n{rest}")
    relay = graphite.daemon("relay", DESTINATIONS=store.destination)
    with running(store, relay):
        for number in range(20):
            relay.send(one_each([f"{'a' * (30 + number)}b"]))
            relay.deliver(one_each([f"other.sender{number}"]), behind)
            if "is set aside" in relay.log:
                break
        assert ("is set aside" in relay.log) is is_set_aside
        assert f"pattern = {pattern}: carbon itself may need very long" in relay.log
        wait_until(lambda: "other.sender0" in behind.stored() and "a" * 30 + "b" in behind.stored(), lambda: relay.log)
        wait_until(
            lambda: f"{relay.agent}.carbonquota.patterns_aside" in behind.own(), lambda: f"{behind.own()}: {relay.log}"
        )
        if is_set_aside:
            wait_until(
                lambda: 1.0 in behind.points(f"{relay.agent}.carbonquota.patterns_aside").values(), lambda: relay.log
            )
        relay.stop()
