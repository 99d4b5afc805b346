"""The store of slices mode behind a sentinel, and in a cluster of three shards."""

from __future__ import annotations

import time
from pathlib import Path

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
from tests.support.valkey_topologies import three_shards, until, watched_by_a_sentinel

LENGTH = 60_000
LIMIT = 100
DIGEST = b"d" * 8


def store(url: str, cluster: str = "test") -> Store:
    return Store(connector(url, 1.0), cluster, Membership("n1"))


def next_span(one: Store) -> IntervalSpan:
    """One that begins now by the server's clock, which keeps this cluster already."""
    start = one.take(IntervalSpan(0, 0, LENGTH), 0, []).now
    return IntervalSpan(start, start, LENGTH)


def take(one: Store, span: IntervalSpan, wanted: int = LIMIT) -> TakenSlices:
    return one.take(span, 1, [SliceRequest(DIGEST, LIMIT, wanted)])


def take_when_there(one: Store, span: IntervalSpan) -> TakenSlices:
    """Take as soon as the store can be asked again."""
    kinds = set[str]()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            return take(one, span)
        except StoreError as error:
            kinds.add(error.kind)
            time.sleep(0.1)
    raise AssertionError(kinds)


def all_of(one: Store, span: IntervalSpan) -> int:
    """Take until nothing is given any more; how much it was."""
    total = 0
    while points := take(one, span).points[0]:
        total += points
    return total


def test_a_sentinel_that_fails_over_leads_to_the_new_master_and_nothing_is_given_twice(tmp_path: Path) -> None:
    with watched_by_a_sentinel(tmp_path) as watched:
        one = store(watched.url)
        span = next_span(one)
        given = take(one, span, 30).points[0]
        assert given == 30
        # What the replica has not heard of when its master dies is what could be given twice.
        watched.master.kill()
        taken = take_when_there(one, span)
        assert (taken.status, taken.points) == (SliceStatus.YOUNG, (0,))
        assert all_of(one, next_span(one)) == LIMIT


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
