"""The write cache: one metric under all spellings, bounds, parking, and points that are never lost uncounted."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from carbonquota.daemon.whisper.cache import CacheEntry, WriteCache
from carbonquota.daemon.whisper.points import read_points
from carbonquota.daemon.whisper.spellings import SpellingBounds
from carbonquota.errors import MetricNameError


def path_of(metric: str) -> str:
    if "x" * 256 in metric:
        raise MetricNameError("no file can have this name")
    return metric.replace(".", "/") + ".wsp"


def cache_of(max_size: int = 1000, on_room: Callable[[], None] = lambda: None, most: int = 1000) -> WriteCache:
    bounds = SpellingBounds(most, 2**20)
    return WriteCache(max_size, path_of, on_room, bounds, bounds)


def add(cache: WriteCache, *lines: str) -> None:
    cache.add(read_points("".join(f"{line}\n" for line in lines).encode(), len(lines), 0))


def taken(cache: WriteCache, name: bytes) -> CacheEntry:
    entry = next(entry for entry in cache.ready() if entry.name == name)
    assert cache.take(entry)
    return entry


def test_points_wait_by_metric_in_order_of_arrival_and_the_largest_is_last() -> None:
    cache = cache_of()
    add(cache, "a 1 60", "b 2 60", "a 3 61", "a 4 50")
    assert [(entry.name, cache.take(entry)) for entry in cache.ready()] == [
        (b"b", [(60, 2.0)]),
        (b"a", [(60, 1.0), (61, 3.0), (50, 4.0)]),
    ]


@pytest.mark.parametrize("most", [1, 2, 1000])
def test_all_spellings_are_one_metric(most: int) -> None:
    cache = cache_of(most=most)
    add(cache, "a.b;x=1;y=2 1 60", ".a..b.;y=2;x=1 2 61", "c 1 60", "a.b;y=2;x=1 3 62")
    entry = taken(cache, b"a.b;x=1;y=2")
    add(cache, "a.b;y=2;x=1 4 63")
    assert cache.park(entry, "unwritable")
    add(cache, "c 1 61", "..a.b;x=1;y=2 5 64")
    assert cache.take(entry) == [(60, 1.0), (61, 2.0), (62, 3.0), (63, 4.0), (64, 5.0)]


def test_a_metric_forgotten_while_it_is_written_stays_one_metric() -> None:
    cache = cache_of(most=1)
    add(cache, "a 1 60")
    entry = taken(cache, b"a")
    add(cache, "b 1 60", "a 2 61")
    assert cache.park(entry, "unwritable")
    assert [entry.name for entry in cache.ready()] == [b"b"]
    assert cache.take(entry) == [(60, 1.0), (61, 2.0)]


def test_a_metric_is_pending_until_it_is_stored() -> None:
    cache = cache_of()
    add(cache, ".a..b 1 60")
    assert cache.is_pending("a.b")
    entry = taken(cache, b"a.b")
    assert cache.is_pending("a.b")
    cache.park(entry, "unwritable")
    assert cache.is_pending("a.b")
    cache.take(entry)
    cache.store(entry)
    assert not cache.is_pending("a.b")


def test_a_metric_that_can_have_no_file_is_lost_by_name() -> None:
    cache = cache_of()
    add(cache, f"a.{'x' * 256} 1 60", "a 1 60", f"a/{'x' * 256} 2 60")
    counts = cache.counts()
    assert (counts.queued, counts.lost) == (1, {"name": 2})


def test_full_at_its_size_until_below_nine_tenths() -> None:
    told: list[int] = []
    cache = cache_of(100, lambda: told.append(1))
    add(cache, *(f"m{number} 1 60" for number in range(99)))
    states = [cache.is_full]
    add(cache, "x 1 60")
    states.append(cache.is_full)
    assert states == [False, True]
    for entry in cache.ready()[:10]:
        cache.take(entry)
        cache.store(entry)
    assert (cache.is_full, told) == (True, [])
    cache.store(taken(cache, b"x"))
    assert (cache.is_full, told) == (False, [1])


def test_far_past_its_size_points_are_lost_and_counted() -> None:
    cache = cache_of(10)
    add(cache, *["a 1 60"] * 100_020)
    add(cache, "a 1 61", "b nan 1")
    counts = cache.counts()
    assert (counts.queued, counts.lost) == (100_020, {"full": 1, "nan": 1})


def test_a_parked_metric_keeps_its_newest_points_up_to_its_share() -> None:
    cache = cache_of(1000)  # a share is 100 of them
    add(cache, *(f"a {number} {number}" for number in range(150)))
    entry = taken(cache, b"a")
    assert cache.park(entry, "unwritable")
    assert cache.counts().lost == {"unwritable": 50}
    add(cache, "a 150 150")
    assert cache.counts().lost == {"unwritable": 51}
    assert [timestamp for timestamp, _ in cache.take(entry)] == list(range(51, 151))


def test_parked_metrics_together_have_half_of_the_cache() -> None:
    cache = cache_of(100)  # a share is 10 of them
    add(cache, *(f"m{number} 1 {second}" for number in range(6) for second in range(10)))
    assert [cache.park(taken(cache, b"m%d" % number), "unwritable") for number in range(6)] == [True] * 5 + [False]
    assert (cache.counts().queued, cache.counts().lost) == (50, {"unwritable": 10})
    assert not cache.is_pending("m5")
    add(cache, "m5 1 60")
    assert [entry.name for entry in cache.ready()] == [b"m5"]


def test_waiting_ends_when_a_point_comes() -> None:
    cache = cache_of()
    waiter = threading.Thread(target=cache.wait, args=(60,))
    waiter.start()
    add(cache, "a 1 60")
    waiter.join(10)
    assert not waiter.is_alive()


def test_once_closed_it_gives_out_all_that_waits_and_takes_no_more() -> None:
    cache = cache_of()
    add(cache, "a 1 60", "b 1 60", "c 1 60")
    taken(cache, b"a")
    cache.park(taken(cache, b"b"), "unwritable")
    rest = cache.close()
    assert sorted(rest) == [(name, [(60, 1.0)]) for name in (b"a", b"b", b"c")]
    add(cache, "d 1 60")
    assert (cache.counts().queued, cache.counts().lost) == (3, {"shutdown": 1})
    cache.give_up()
    assert (cache.counts().queued, cache.counts().lost) == (0, {"shutdown": 4})


class CacheLaws(RuleBasedStateMachine):
    """Any order of calls: what was given is queued, stored or lost, and pending is what has points."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = cache_of(20, most=2)
        self.given = 0
        self.writing: list[CacheEntry] = []
        self.parked: list[CacheEntry] = []

    @rule(
        names=st.lists(
            st.sampled_from(["a", ".a", "a..", "b", "..b", "c", "x/y", "d;t=1;s=2", "d;s=2;t=1"]), max_size=9
        )
    )
    def add(self, names: list[str]) -> None:
        add(self.cache, *(f"{name} 1 {self.given + number}" for number, name in enumerate(names)))
        self.given += len(names)

    @rule(parked=st.booleans())
    def take(self, parked: bool) -> None:
        entries = self.parked if parked else self.cache.ready()
        if entries:
            entry = entries.pop()
            if entry not in self.writing and self.cache.take(entry):
                self.writing.append(entry)

    @rule(how=st.sampled_from(["store", "lose", "park"]))
    def settle(self, how: str) -> None:
        if not self.writing:
            return
        entry = self.writing.pop(0)
        if how == "store":
            self.cache.store(entry)
        elif how == "lose":
            self.cache.lose(entry, "name")
        elif self.cache.park(entry, "unwritable"):
            self.parked.append(entry)

    @invariant()
    def nothing_is_lost_uncounted(self) -> None:
        counts = self.cache.counts()
        assert self.given == counts.queued + counts.stored + sum(counts.lost.values())

    @invariant()
    def every_parked_metric_is_within_its_share(self) -> None:
        sizes = [len(entry.points or ()) for entry in self.parked]
        assert all(1 <= size <= 2 for size in sizes)
        assert sum(sizes) <= 10

    def teardown(self) -> None:
        assert sum(len(points) for _, points in self.cache.close()) == self.cache.counts().queued


TestCacheLaws = CacheLaws.TestCase
