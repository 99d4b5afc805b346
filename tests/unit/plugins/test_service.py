"""The end of quotas inside carbon, in the order in which carbon ends its services."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any, cast

import pytest
from carbon.pipeline import Processor
from twisted.application.internet import TCPClient
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import ReconnectingClientFactory
from twisted.internet.task import Clock, Cooperator
from twisted.internet.testing import MemoryReactorClock

import carbonquota.plugins.service as module
from carbonquota.plugins.cache import StatsWriter
from carbonquota.plugins.decisions import Datapoint
from carbonquota.plugins.install import find_ports
from carbonquota.plugins.processors import Passed
from carbonquota.plugins.service import Carbon, CarbonParts, QuotaService, ReactorTimers
from carbonquota.plugins.settings import CarbonHost, QuotaSettings
from carbonquota.service.runtime_settings import RuntimeSettings
from carbonquota.service.scan import at_once
from carbonquota.testing import ManualClock

ROOT: Any = MultiService
"""What holds services; its methods have no types."""


class Destination(Service, Processor):  # type: ignore[misc]
    """Carbon's client manager in what matters: what comes when it was told to stop is lost."""

    def __init__(self) -> None:
        self.points: list[str] = []
        self.running = True

    def process(self, metric: str, datapoint: Datapoint) -> Passed:
        if self.running:
            self.points.append(metric)
        return ()


class Reactor(Clock):
    """A clock that has its system events asked for, and fires none."""

    def addSystemEventTrigger(self, *_: object) -> None:  # noqa: N802 - twisted's name
        """Nothing ends."""

    def callWhenRunning(self, function: Callable[[], None]) -> None:  # noqa: N802 - the same
        """It runs."""
        function()


@pytest.fixture
def parts(tmp_path: Path, destination: Destination) -> CarbonParts:
    (tmp_path / "quotas.conf").write_text("[/]\nmetrics = 3\n")
    (tmp_path / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1:10\n")
    settings = QuotaSettings(
        quotas_file=str(tmp_path / "quotas.conf"),
        physical_size_factor=1.0,
        runtime=RuntimeSettings(scan_frequency=0.0, state_enabled=True, state_dir=str(tmp_path / "state")),
    )
    host = CarbonHost(
        program="carbon-relay",
        stats_prefix="carbon.relays.web1-a",
        own_prefixes=("carbon.relays.web1.",),
        schemas_file=str(tmp_path / "storage-schemas.conf"),
        data_dir="",
        sparse=False,
        hashes_tags=True,
    )
    carbon = Carbon(destination, None, lambda: inf, at_once, lambda _: None, lambda _: False, ReactorTimers(Clock()))
    return CarbonParts(settings, host, carbon, ManualClock(1_700_000_000.0))


@pytest.fixture
def destination() -> Destination:
    return Destination()


def test_a_message_broker_is_not_connected_while_nothing_is_to_be_received() -> None:
    # Twisted's have no types.
    root: Any = ROOT()
    client: Any = TCPClient
    reactor_made: Any = MemoryReactorClock
    reactor, factory = reactor_made(), cast("Any", ReconnectingClientFactory())
    factory.clock = reactor
    client("broker", 5672, factory, reactor=reactor).setServiceParent(root)
    root.startService()
    (port,) = find_ports(root)
    port.stopReading()
    (connector,) = reactor.connectors
    assert connector._disconnected  # noqa: SLF001 - what twisted's own double has for tests
    factory.clientConnectionFailed(connector, None)
    assert (len(reactor.tcpClients), reactor.getDelayedCalls()) == (1, []), "nor is it tried again"
    port.startReading()
    assert len(reactor.tcpClients) == 2
    factory.clientConnectionFailed(reactor.connectors[1], None)
    assert len(reactor.getDelayedCalls()) == 1, "from now on it is"
    port.stopReading()
    root.stopService()


def test_what_was_gathered_goes_on_before_a_relay_lets_go_of_its_destinations(
    parts: CarbonParts, destination: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "deferToThread", maybeDeferred)
    root: Any = ROOT()
    root.addService(destination)
    reactor = Reactor()
    stats = StatsWriter(lambda *_: None, Cooperator(scheduler=lambda work: reactor.callLater(0, work)))
    root.addService(QuotaService(parts, stats, lambda: (), reactor))
    root.startService()
    for number in range(5):
        parts.processor.process(f"m{number}", (1.0, 1.0))
    assert destination.points == []
    ended: Deferred[Any] = root.stopService()
    assert ended.called
    assert destination.points == ["m0", "m1", "m2"]
    assert parts.runtime.state is not None
    parts.runtime.state.close()
