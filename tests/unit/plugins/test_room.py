"""How many points may be gathered before carbon has senders wait."""

from __future__ import annotations

from math import inf

import carbon.cache
import pytest
from carbon import events, instrumentation, state
from carbon.cache import MetricCache, SortedStrategy, _MetricCache
from carbon.client import CarbonClientManager
from carbon.conf import settings
from carbon.routers import ConsistentHashingRouter

from carbonquota.plugins.cache import room


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Carbon that has a cache for five points, and queues for three."""
    for name, value in {"MAX_CACHE_SIZE": 5, "CACHE_SIZE_LOW_WATERMARK": 4, "MAX_QUEUE_SIZE": 3}.items():
        monkeypatch.setitem(settings, name, value)
    monkeypatch.setitem(settings, "USE_FLOW_CONTROL", True)
    monkeypatch.setattr(carbon.cache, "_Cache", _MetricCache(SortedStrategy))
    monkeypatch.setattr(state, "cacheTooFull", False)
    monkeypatch.setattr(state, "instrumentation", instrumentation, raising=False)
    monkeypatch.setattr(state, "events", events, raising=False)


def test_a_cache_has_room_until_it_is_full_and_then_senders_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    left, cache = room(stores=True), MetricCache()
    found = []
    for number in range(6):
        cache.store("a.b", (float(number), 1.0))
        found.append(left())
    assert found == [4, 3, 2, 1, 0, inf]
    while cache:
        cache.drain_metric()
    assert left() == 5


def test_a_relay_has_the_room_of_its_fullest_queue_until_that_has_senders_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = CarbonClientManager(ConsistentHashingRouter(settings))
    monkeypatch.setattr(state, "client_manager", manager)
    left = room(stores=False)
    assert left() == inf
    for instance in "ab":
        manager.startClient(("127.0.0.1", 2004, instance))
    first, second = (manager.client_factories["127.0.0.1", 2004, instance] for instance in "ab")
    second.sendDatapoint("x", (1.0, 1.0))
    found = []
    for number in range(4):
        first.sendDatapoint("a.b", (float(number), 1.0))
        found.append(left())
    assert found == [2, 1, 0, 2]


@pytest.mark.parametrize("stores", [True, False])
def test_without_flow_control_nobody_is_to_wait(stores: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings, "USE_FLOW_CONTROL", False)
    assert room(stores=stores)() == inf


def test_a_cache_without_a_limit_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings, "MAX_CACHE_SIZE", inf)
    assert room(stores=True)() == inf
