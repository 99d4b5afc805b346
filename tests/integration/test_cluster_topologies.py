"""The store of slices mode behind a sentinel, and in a cluster of three shards."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.cluster.claim_store import Claimed, ClaimStatus, ClaimStore, Metrics, StoredRun
from carbonquota.cluster.store import (
    IntervalSpan,
    Membership,
    SliceRequest,
    SliceStatus,
    Store,
    StoreError,
    TakenSlices,
    connector,
)
from tests.integration.test_cluster_daemons import LIMIT as FLOW
from tests.integration.test_cluster_daemons import (
    SLICES_INTERVAL,
    STOCK_RULES,
    Collector,
    Sender,
    send_all,
    settled,
    sharing_a_store,
)
from tests.support.daemon import wait_until
from tests.support.valkey import ValkeyServer
from tests.support.valkey_topologies import three_shards, until, watched_by_a_sentinel

T = TypeVar("T")

LENGTH = 60_000
LIMIT = 100
HELD = 6
DIGEST = b"d" * 8


def store(url: str, cluster: str = "test") -> Store:
    return Store(connector(url, 1.0), cluster, Membership("n1"))


def next_span(one: Store) -> IntervalSpan:
    """One that begins now by the server's clock, which keeps this cluster already."""
    start = one.take(IntervalSpan(0, 0, LENGTH), 0, []).now
    return IntervalSpan(start, start, LENGTH)


def take(one: Store, span: IntervalSpan, wanted: int = LIMIT) -> TakenSlices:
    return one.take(span, 1, [SliceRequest(DIGEST, LIMIT, wanted)])


def all_of(one: Store, span: IntervalSpan) -> int:
    """Take until nothing is given any more; how much it was."""
    total = 0
    while points := take(one, span).points[0]:
        total += points
    return total


def claims(url: str, node: str) -> ClaimStore:
    return ClaimStore(Store(connector(url, 1.0), "test", Membership(node)), "test")


class Claimer:
    """A node that claims metrics of one limit, and holds those that it was granted."""

    def __init__(self, url: str, node: str) -> None:
        self.store = claims(url, node)
        self.held: list[str] = []
        self.nodes: tuple[str, ...] = ()
        self.run = self.begin()

    def begin(self) -> StoredRun:
        """Declare what is held, as soon as the store can be asked."""
        run = when_there(lambda: self.store.begin(self.nodes))
        if self.held:
            self.ask(run, self.held, asks=False)
        assert self.store.declared(run)
        self.run = run
        return run

    def ask(self, run: StoredRun, names: list[str], *, asks: bool = True) -> Claimed:
        limits = QuotaEngine(RuleSet.from_text(f"[q]\nmetrics = {HELD}\n")).limits_above(["q"])
        metrics = Metrics(names, ["q"] * len(names), [Size(1, 1, 1)] * len(names))
        return when_there(lambda: self.store.claim(run, metrics, limits, asks=asks))

    def claim(self, *names: str) -> ClaimStatus:
        """Claim metrics; begin anew where the store has forgotten this run."""
        claimed = self.ask(self.run, list(names))
        self.nodes = claimed.nodes or self.nodes
        if claimed.status is ClaimStatus.BEGIN:
            self.begin()
        self.held += [name for name, code in zip(names, claimed.codes.tolist(), strict=False) if code >= 0]
        return claimed.status

    def claim_at_last(self, *names: str) -> None:
        """Claim metrics as soon as the store grants any."""
        until(lambda: self.claim(*names) is ClaimStatus.OK)


def when_there(ask: Callable[[], T]) -> T:
    """What the store says as soon as it can be asked."""
    kinds = set[str]()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            return ask()
        except StoreError as error:
            kinds.add(error.kind)
            time.sleep(0.1)
    raise AssertionError(kinds)


def test_a_sentinel_that_fails_over_to_a_replica_that_is_behind_leads_there_and_nothing_is_given_twice(
    tmp_path: Path,
) -> None:
    check_failover(tmp_path, empties=False)


def check_failover(folder: Path, *, empties: bool) -> None:
    """Have a replica take over that is behind or, where this `empties` it, knows nothing: no limit is passed by one."""
    with watched_by_a_sentinel(folder) as watched:
        one = store(watched.url)
        nodes = [Claimer(watched.url, name) for name in ("n1", "n2")]
        nodes[0].claim_at_last("q.a", "q.b")
        until(lambda: watched.replica.client().hlen("{cq:test}:names") == 2)
        span = next_span(one)
        # What the replica does not know when its master dies is what could be given twice.
        watched.lose_the_replica()
        given = take(one, span, 30).points[0]
        assert given == 30
        nodes[1].claim("q.c", "q.d", "q.e")
        assert sum(len(node.held) for node in nodes) == HELD - 1
        watched.kill_the_master(empties=empties)
        taken = when_there(lambda: take(one, span))
        assert (taken.status, taken.points) == (SliceStatus.YOUNG, (0,))
        assert all_of(one, next_span(one)) == LIMIT
        # What was granted is still held, and there is room for one more.
        for node in nodes:
            assert node.claim() is ClaimStatus.BEGIN
        for node in nodes:
            node.claim_at_last(f"q.late.{node.run.number}.1", f"q.late.{node.run.number}.2")
        assert sum(len(node.held) for node in nodes) == HELD


def test_a_master_that_is_cut_off_gives_nothing_once_it_misses_its_replica_and_another_takes_over(
    tmp_path: Path,
) -> None:
    options = {"min-replicas-to-write": "1", "min-replicas-max-lag": "1"}
    with watched_by_a_sentinel(tmp_path, options, down_after=3.0) as watched:
        # One node is on the master's side of the cut, the other on the replica's.
        near, far = store(watched.master.url), store(watched.url)
        span = next_span(near)
        assert take(near, span, 30).points == (30,)
        watched.way.cut()
        until(lambda: fails_with(near, span) == "alone")
        taken = when_there(lambda: take(far, span))
        assert (taken.status, taken.points) == (SliceStatus.YOUNG, (0,))
        # The one that is cut off gives nothing of the interval that the other gives all of.
        following = next_span(far)
        assert all_of(far, following) == LIMIT
        assert fails_with(near, following) == "alone"


def fails_with(one: Store, span: IntervalSpan) -> str:
    """The kind of failure of taking a slice; empty where it is given."""
    try:
        take(one, span, 1)
    except StoreError as error:
        return error.kind
    return ""


def test_in_a_cluster_each_name_has_its_shard_and_limits_are_exact(tmp_path: Path) -> None:
    with three_shards(tmp_path) as shards:
        url = "cluster://" + ",".join(f"127.0.0.1:{shard.port}" for shard in shards)
        for name in ("a", "b", "c", "d"):
            one, other = store(url, name), store(url, name)
            span = next_span(one)
            half = take(one, span, 10).points[0]
            assert half == 10
            assert half + all_of(other, span) == LIMIT
            one.hand_back(span, [(DIGEST, 5)])
            assert all_of(other, span) == 5
            one.leave()
            one.close()
            other.close()
        kept = [len(shard.client().keys("{cq:*")) for shard in shards]
        assert sum(kept) > 0
        assert sum(1 for count in kept if count) > 1


def test_a_cluster_without_one_shard_serves_the_names_of_the_others(tmp_path: Path) -> None:
    with three_shards(tmp_path) as shards:
        for shard in shards:
            shard.client().config_set("cluster-require-full-coverage", "no")
        url = "cluster://" + ",".join(f"127.0.0.1:{shard.port}" for shard in shards)
        names = [f"n{number}" for number in range(12)]
        for name in names:
            next_span(store(url, name))
        shards[0].kill()

        def serves(name: str) -> bool:
            try:
                next_span(store(url, name))
            except StoreError:
                return False
            return True

        served = [name for name in names if serves(name)]
        assert 0 < len(served) < len(names)
        shards[0].start()
        until(lambda: all(serves(name) for name in names))


def test_three_daemons_pass_no_limit_by_one_while_the_shard_that_keeps_it_is_killed(tmp_path: Path) -> None:
    with three_shards(tmp_path / "store") as shards:
        url = "cluster://" + ",".join(f"127.0.0.1:{shard.port}" for shard in shards)
        check_daemons(tmp_path, url, partial(restart_the_keeper, shards))


def check_daemons(folder: Path, url: str, kill: Callable[[], None]) -> None:
    """Have three daemons let in all that a limit allows while what keeps it is killed: that comes out of them."""
    collector = Collector()
    with ExitStack() as stack:
        stack.callback(collector.close)
        daemons = stack.enter_context(sharing_a_store(folder, 3, collector, url, "reject", STOCK_RULES))
        first = time.time() // SLICES_INTERVAL
        senders = [Sender(daemon, f"n{number}", "k", 2_000) for number, daemon in enumerate(daemons)]
        for turn in range(3):
            for number, daemon in enumerate(daemons):
                send_all(
                    daemon,
                    [f"stock.k.m{turn}{k}" for k in range(20)] + [f"stock.k.n{number}{turn}{k}" for k in range(9)],
                )
            time.sleep(0.3)
            if turn == 1:
                kill()
        before = collector.count(b"k")
        # All nodes together ask for several times the limit, so when all are well again it is let in once and again.
        wait_until(
            lambda: collector.count(b"k") > before + FLOW, lambda: f"hardly anything is let in: {daemons[0].log}"
        )
        for sender in senders:
            sender.stop()
        # What waited for too long meanwhile was dropped, and comes again.
        for number, daemon in enumerate(daemons):
            send_all(daemon, [f"stock.k.late{number}{k}" for k in range(100)])
        wait_until(lambda: len(collector.metrics(b"stock.k.")) >= 100, daemons[0].log)
        wait_until(partial(settled, daemons), daemons[0].log)
        time.sleep(0.3)
        assert collector.count(b"k") <= (time.time() // SLICES_INTERVAL - first + 1) * FLOW
        assert len(collector.metrics(b"stock.k.")) == 100


def restart_the_keeper(shards: Sequence[ValkeyServer]) -> None:
    """Kill the shard that has the cluster's keys, and start it again, with nothing in it."""
    keeper = next(shard for shard in shards if shard.client().keys("{cq:*"))
    keeper.kill()
    keeper.start()
