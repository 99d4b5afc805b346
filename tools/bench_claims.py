"""Measure claims: new metrics a second through a real store by one node, known points beside, memory in the store.

Times are of the processor, as the machine may be busy: what one core could do that has nothing else to do.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock, Thread
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from carbonquota import QuotaEngine, RuleSet
from carbonquota.cluster.claim_store import ClaimStore
from carbonquota.cluster.claiming import ClaimAnswer
from carbonquota.cluster.claims import ClaimNode
from carbonquota.cluster.gate import Gate
from carbonquota.cluster.hold import Hold, HoldRoom
from carbonquota.cluster.line_batches import LineBatches
from carbonquota.cluster.store import Membership, Store, connector
from carbonquota.controls import Admission
from tests.support.valkey import ValkeyServer, valkey_server

RULES: Final = RuleSet.from_text("[/]\nnamespaces = 1_000\n[team.*]\nmetrics = 10_000_000\nnamespaces = 100_000\n")
METRICS: Final = 200_000
BATCH: Final = 5_000
ROUNDS: Final = 15


class Bench:
    """One node on a store."""

    def __init__(self, server: ValkeyServer) -> None:
        self.server = server
        self.engine = QuotaEngine(RULES, hold_new=True)
        self.accepted = 0
        self._lock = Lock()
        self.batches = LineBatches(self.engine, self._decide)
        self.gate, self.node = self._node("n1")
        self.buffers = [_lines(start) for start in range(0, METRICS, BATCH)]

    def _node(self, name: str) -> tuple[Gate[bytes], ClaimNode]:
        hold = Hold[bytes](time.monotonic, self.batches.size, HoldRoom(size=1 << 30, seconds=60.0))
        store = Store(connector(self.server.url, 30.0), "bench", Membership(name))
        gate = Gate(self.engine, hold, self.batches)
        node = ClaimNode(
            self.engine,
            ClaimStore(store, "bench"),
            hold,
            settle=lambda answer: self._apply(gate, answer, node),
            clock=time.monotonic,
        )
        return gate, node

    def _apply(self, gate: Gate[bytes], answer: ClaimAnswer, node: ClaimNode) -> None:
        # The daemon has the event loop's thread in the place of the lock.
        with self._lock:
            gate.apply(answer, node)

    def _decide(self, _: bytes, admit: Callable[[], Admission]) -> Admission:
        admission = admit()
        self.accepted += admission.points
        return admission

    def store_seconds(self) -> float:
        """What the store has taken of the processor."""
        found = self.server.client().info("cpu")
        return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])

    def memory(self) -> int:
        """What the store takes."""
        return int(self.server.client().info("memory")["used_memory"])

    def claim_all(self) -> None:
        """Claim new metrics."""
        self.node.cycle()
        # The store grants nothing in its first seconds.
        time.sleep(2.2)
        store, memory = self.store_seconds(), self.memory()
        node, wall = time.process_time(), time.perf_counter()
        asking = Thread(target=self._ask)
        asking.start()
        for buffer in self.buffers:
            with self._lock:
                self.batches.admit(buffer, self.gate)
        asking.join()
        wall, node = time.perf_counter() - wall, time.process_time() - node
        print(f"a new metric claimed: node {_micros(node)}, store {_micros(self.store_seconds() - store)} of a core")
        print(f"the same by the clock: {METRICS / wall:,.0f} a second")
        print(f"memory in the store: {(self.memory() - memory) / METRICS:.0f} bytes a metric")

    def _ask(self) -> None:
        """What the daemon's thread does, until all are claimed."""
        while self.accepted < METRICS:
            self.node.cycle()

    def known(self) -> None:
        """Known points, through the gate and without."""
        plain = QuotaEngine(RULES)
        for buffer in self.buffers:
            plain.admit(buffer)
        lines = b"".join(self.buffers[:4])
        times = [
            (_time(lambda: plain.admit(lines)), _time(lambda: self.batches.admit(lines, self.gate)))
            for _ in range(ROUNDS)
        ]
        off, on = (min(column) for column in zip(*times, strict=True))
        print(f"a known point: {off / BATCH / 4 * 1e9:.0f} ns, with claims {on / off:.2f} times that")

    def declare(self) -> None:
        """All that is held, declared by a node that starts."""
        _, node = self._node("n2")
        seconds = _time(node.cycle)
        print(f"a metric declared at the start: node {_micros(seconds)}")


def _lines(start: int) -> bytes:
    names = (f"team.a{number % 7}.host{number // 50 % 200}.m{number}" for number in range(start, start + BATCH))
    return "".join(f"{name} 1 1700000000\n" for name in names).encode()


def _time(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def _micros(seconds: float) -> str:
    return f"{seconds / METRICS * 1e6:.1f} us"


def main() -> None:
    """Measure, and print a line for each."""
    with tempfile.TemporaryDirectory() as folder, valkey_server(Path(folder)) as server:
        bench = Bench(server)
        bench.claim_all()
        bench.known()
        bench.declare()


if __name__ == "__main__":
    main()
