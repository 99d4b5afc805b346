"""What may be wrong with the store of a running limiter: told apart, answered as each rule says, and recovered from."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.daemon import wait_until
from tests.support.limiter import LimiterProcess, document, question, running
from tests.support.proxies import TcpProxy
from tests.support.valkey import ValkeyServer, valkey_server

RULES = """
domain: d
descriptors:
  - {key: closed, on_outage: fail-closed, rate_limit: {unit: year, requests_per_unit: 100}}
  - {key: open, on_outage: fail-open, rate_limit: {unit: year, requests_per_unit: 1}}
  - {key: share, on_outage: share, rate_limit: {unit: year, requests_per_unit: 40}}
  - {key: free, rate_limit: {unit: second, requests_per_unit: 1000000}}
"""
STORE = """
[store]
url = "valkey://127.0.0.1:{port}"
timeout = "500ms"
processes = 4
"""


@dataclass(frozen=True)
class Scene:
    """A limiter beside its store, with a network between them."""

    limiter: LimiterProcess
    store: ValkeyServer
    proxy: TcpProxy

    def closed(self, name: str, times: int) -> int:
        """How many of so many requests at once pass that a closed rule holds, over gRPC."""
        with self.limiter.envoy() as envoy, ThreadPoolExecutor(20) as pool:
            asked = question("d", {"closed": name})
            answers = pool.map(lambda _: envoy.ShouldRateLimit(asked, timeout=30).overall_code, range(times))
            return sum(code == 1 for code in answers)

    def passes(self, key: str, name: str, times: int) -> int:
        """The same of another rule, over HTTP."""
        asked = {"questions": [{"domain": "d", "descriptors": [[[key, name]]]}] * times}
        with self.limiter.http() as http:
            verdicts = document(http.post("/v1/check", json=asked))["verdicts"]
        return sum(verdict["allowed"] for verdict in verdicts)

    def health(self) -> Any:  # noqa: ANN401 - JSON
        with self.limiter.admin() as admin:
            return document(admin.get("/health"))

    def is_told(self, words: str) -> bool:
        """Whether health says these words; somebody has to ask, or nothing is found out."""
        self.closed("asking", 1)
        return any(words in reason for reason in self.health()["reasons"])

    def is_well(self) -> bool:
        self.passes("free", "asking", 1)
        return bool(self.health()["status"] == "ok")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("faults")
    with valkey_server(folder / "valkey") as store:
        proxy = TcpProxy(store.port)
        more = STORE.format(port=proxy.port)
        try:
            with running(LimiterProcess(folder / "limiter", RULES, more=more)) as limiter:
                yield Scene(limiter, store, proxy)
        finally:
            proxy.close()


@dataclass(frozen=True)
class Fault:
    """How the store is broken and mended, what is said of it, and as what it is counted.

    `after` is how many of the 70 hits that are left pass a closed rule when it is over, `restarts` how often the server
    was found to be another run.
    """

    begin: Callable[[Scene], object]
    end: Callable[[Scene], object]
    words: str
    reason: str
    after: range
    restarts: int = 0


def slow(scene: Scene) -> None:
    scene.proxy.delay = 0.4


def full(scene: Scene) -> None:
    scene.store.client().config_set("maxmemory", "1")


def roomy(scene: Scene) -> None:
    scene.store.client().config_set("maxmemory", "0")


FAULTS = {
    # What was charged while nobody waited for it any more is used up, so a few less may pass.
    "SIGSTOP": Fault(
        lambda scene: os.kill(scene.store.pid, signal.SIGSTOP),
        lambda scene: os.kill(scene.store.pid, signal.SIGCONT),
        "the store does not answer: nothing came within 2.5 s: it was stopped, or hangs",
        "silent",
        range(30, 71),
    ),
    "a slow store": Fault(
        slow,
        lambda scene: scene.proxy.mend(),
        "s, and [store] timeout is 0.5 s",
        "slow",
        range(30, 71),
    ),
    "a full store": Fault(full, roomy, "the store is full (its maxmemory is reached)", "full", range(70, 71)),
    # It comes back with nothing, and nobody knows what it let pass.
    "kill -9": Fault(
        lambda scene: scene.store.kill(),
        lambda scene: scene.store.start(),
        "the store cannot be reached",
        "away",
        range(1),
        restarts=1,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_apart_each_rule_does_what_it_says_and_all_is_well_again(scene: Scene, name: str) -> None:
    fault = FAULTS[name]
    before = scene.limiter.metrics()
    reason = f'carbonquota_limiter_store_errors_total{{reason="{fault.reason}"}}'
    assert scene.closed(name, 30) == 30
    fault.begin(scene)
    try:
        assert scene.closed(name, 60) == 0
        assert scene.passes("open", name, 30) == 30
        # A fourth of the limit, as there are four limiters.
        assert scene.passes("share", name, 30) == 10
        wait_until(lambda: scene.is_told(fault.words), lambda: f"{scene.health()}\n{scene.limiter.log}", 20)
        now = scene.limiter.metrics()
        assert now["carbonquota_limiter_store_up"] == 0
        assert now[reason] > before.get(reason, 0)
        assert scene.health()["status"] == "degraded"
        assert fault.words in scene.limiter.log
        assert scene.closed(name, 10) == 0
    finally:
        fault.end(scene)
    wait_until(scene.is_well, lambda: f"{scene.health()}\n{scene.limiter.log}", 20)
    now = scene.limiter.metrics()
    assert now["carbonquota_limiter_store_up"] == 1
    found = now["carbonquota_limiter_store_restarts_total"] - before["carbonquota_limiter_store_restarts_total"]
    assert found == fault.restarts
    assert ("the store is another run than before" in scene.limiter.log) == (fault.restarts > 0)
    assert "the store is used again, after " in scene.limiter.log
    assert scene.closed(name, 200) in fault.after


def test_a_store_that_lost_its_functions_gets_them_again_and_nobody_notices(scene: Scene) -> None:
    wait_until(scene.is_well, lambda: scene.limiter.log, 20)
    passed = scene.passes("share", "lost", 20)
    before = scene.limiter.metrics()["carbonquota_limiter_store_loads_total"]
    scene.store.client().function_flush()
    passed += scene.passes("share", "lost", 100)
    assert passed == 40
    now = scene.limiter.metrics()
    assert now["carbonquota_limiter_store_loads_total"] == before + 1
    assert now["carbonquota_limiter_store_up"] == 1
    assert scene.health()["status"] == "ok"
    assert "the store had lost its functions: they were loaded again" in scene.limiter.log
