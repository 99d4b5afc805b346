"""Changes, snapshots and restores of an engine, call by call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from carbonquota import Change, Holdings, QuotaEngine, QuotaError, RuleSet, Size
from carbonquota.model import MAXIMUM
from carbonquota.testing import ManualClock

SIZE = Size(logical=10, physical=4096, data_points=3)
OTHER = Size(logical=20, physical=8192, data_points=6)


def engine_under(text: str = "", now: float = 0.0, *, record_changes: bool = True) -> QuotaEngine:
    """An engine under the rules of a file's text that keeps all it can."""
    return QuotaEngine(
        RuleSet.from_text(text),
        size_of=lambda _metric: SIZE,
        clock=ManualClock(now),
        record_changes=record_changes,
        keep_seen=True,
    )


def holdings_of(*names: bytes, interval_start: float = 0.0, rates: dict[str, int] | None = None) -> Holdings:
    """Series of one size, seen at second 7."""
    count = len(names)
    return Holdings(names, [SIZE], np.zeros(count, np.int32), np.full(count, 7, np.uint32), interval_start, rates or {})


def test_changes_come_in_order_and_once() -> None:
    engine = engine_under("[a]\nmetrics = 2\n")
    engine.offer("a.one", size=OTHER)
    engine.admit(b"a..two 1 1\na.three 1 1\na.two 1 1\n")
    engine.load("b.m")
    engine.load("b.m", OTHER)
    engine.load("b.m", OTHER)
    engine.forget("a.one")
    assert engine.take_changes() == [
        Change(b"a.one", OTHER),
        Change(b"a.two", SIZE),
        Change(b"b.m", SIZE),
        Change(b"b.m", OTHER),
        Change(b"a.one", None),
    ]
    assert engine.take_changes() == []


def test_a_large_batch_records_each_new_metric_once() -> None:
    engine = engine_under()
    names = [b"a.m%d" % (number % 50) for number in range(200)]
    engine.admit(b"".join(name + b" 1 1\n" for name in names))
    assert engine.take_changes() == [Change(name, SIZE) for name in names[:50]]


def test_without_recording_there_are_no_changes() -> None:
    engine = engine_under(record_changes=False)
    engine.offer("a.m")
    assert engine.take_changes() == []
    assert engine.dump()[1] == []


def test_a_dump_gives_every_column_and_takes_the_changes() -> None:
    engine = engine_under("[a]\nthroughput = 10\n[b]\nmetrics = 9\n", now=125.0)
    engine.offer("a.m", points=4)
    engine.load("b.m;t=1", OTHER)
    holdings, changes = engine.dump()
    assert list(holdings.names) == [b"a.m", b"b.m;t=1"]
    assert [holdings.sizes[number] for number in holdings.size_numbers] == [SIZE, OTHER]
    assert (str(holdings.size_numbers.dtype), str(holdings.seen.dtype)) == ("int32", "uint32")
    assert holdings.seen.tolist() == [125, 125]
    assert (holdings.interval_start, holdings.rates) == (120.0, {"a": 4})
    assert changes == [Change(b"a.m", SIZE), Change(b"b.m;t=1", OTHER)]
    assert engine.take_changes() == []


def test_a_dump_is_of_its_moment() -> None:
    engine = engine_under()
    engine.load("a.m")
    holdings, _ = engine.dump()
    engine.forget("a.m")
    engine.load("b.m", OTHER)
    assert (list(holdings.names), holdings.sizes[holdings.size_numbers[0]]) == ([b"a.m"], SIZE)


def test_a_restore_asks_no_quota_and_charges_all_namespaces() -> None:
    engine = engine_under("[/]\nmetrics = 1\n[a]\nnamespaces = 1\n")
    engine.restore(holdings_of(b"a.b.m", b"a.c.m", b"a.c.n;t=1", b"top", b"t;tag=a.b.c"))
    root, a = engine.usage("/"), engine.usage("a")
    assert (root.metrics, root.namespaces, root.physical_size) == (5, 1, 5 * SIZE.physical)
    assert (a.metrics, a.namespaces, a.logical_size, a.data_points) == (3, 2, 30, 9)
    assert engine.namespaces() == ["a", "a.b", "a.c"]
    assert engine.offer("a.b.m").accepted
    assert engine.offer("a.b.other").control == "metrics"


def test_a_batch_finds_restored_metrics() -> None:
    engine = engine_under("[/]\nmetrics = 1\n")
    names = [b"a.m%d" % number for number in range(3000)] + [b"long." + b"x" * 600]
    engine.restore(holdings_of(*names))
    assert engine.admit(b"".join(name + b" 1 1\n" for name in names)).points == len(names)


def test_what_is_there_already_stays_as_it_is() -> None:
    engine = engine_under()
    engine.load("a.known", OTHER)
    engine.restore(holdings_of(b"a.known", b"a.new"))
    assert engine.usage("a").logical_size == OTHER.logical + SIZE.logical
    engine.restore(holdings_of(b"a.known", b"a.new"))
    assert (len(engine), engine.usage("/").metrics) == (2, 2)
    assert engine.take_changes() == [Change(b"a.known", OTHER)]


def test_rows_of_forgotten_metrics_are_used_again() -> None:
    engine = engine_under()
    for number in range(10):
        engine.load(f"a.m{number}")
    for number in range(0, 10, 2):
        engine.forget(f"a.m{number}")
    engine.restore(holdings_of(*[b"b.m%d" % number for number in range(7)]))
    assert {name.decode() for name in engine.dump()[0].names} == {
        *(f"a.m{number}" for number in range(1, 10, 2)),
        *(f"b.m{number}" for number in range(7)),
    }
    assert (engine.usage("a").metrics, engine.usage("b").metrics) == (5, 7)


def test_a_size_stays_while_one_of_the_restored_has_it() -> None:
    engine = engine_under()
    engine.restore(holdings_of(b"a", b"b", b"c"))
    engine.forget("a")
    engine.load("d", OTHER)
    engine.forget("b")
    engine.load("e", Size(logical=1))
    assert engine.usage("/").logical_size == SIZE.logical + OTHER.logical + 1
    engine.forget("c")
    assert engine.usage("/").logical_size == OTHER.logical + 1


def test_nothing_to_restore_is_nothing_restored() -> None:
    engine = engine_under()
    engine.restore(holdings_of())
    assert len(engine) == 0


@pytest.mark.parametrize(("start", "remaining"), [(120.0, 4), (60.0, 10), (180.0, 10)])
def test_accepted_points_count_on_in_their_own_interval_only(start: float, remaining: int) -> None:
    engine = engine_under("[a]\nthroughput = 10\n[b]\nmetrics = 5\n[gone.*]\nmetrics = 5\n", now=170.0)
    rates = {"a": 6, "b": 3, "gone.x": 2, "/": 1}
    engine.restore(holdings_of(b"a.m", b"b.m", interval_start=start, rates=rates))
    assert engine.usage("a").throughput == 10 - remaining
    assert engine.usage("b").throughput == 0
    assert engine.offer("a.m", remaining).accepted
    assert not engine.offer("a.m", 1).accepted
    assert [quota.namespace for quota in engine.quotas()] == ["a", "b"]


def test_points_of_a_namespace_whose_metrics_are_gone_count_on() -> None:
    engine = engine_under("[a]\nthroughput = 10\n")
    engine.restore(holdings_of(rates={"a": 7}))
    assert engine.namespaces() == []
    assert not engine.offer("a.m", 4).accepted
    assert engine.offer("a.m", 3).accepted


def test_what_was_used_past_a_limit_since_lowered_leaves_nothing() -> None:
    engine = engine_under("[a]\nthroughput = 1\n[b]\nthroughput = max\n")
    engine.restore(holdings_of(b"a.m", b"b.m", rates={"a": 7, "b": MAXIMUM}))
    assert (engine.usage("a").throughput, engine.usage("b").throughput) == (7, MAXIMUM)
    assert not engine.offer("a.m").accepted
    engine.restore(holdings_of(rates={"b": 5}))
    assert engine.usage("b").throughput == MAXIMUM


BAD = {
    "metric name b'a..b' is not in normal form": holdings_of(b"x.y", b"a..b"),
    "metric name b'.a' is not in normal form": holdings_of(b"x.y", b".a"),
    "metric name b'a.' is not in normal form": holdings_of(b"a.", b"x"),
    "metric name b'' is not in normal form": holdings_of(b""),
    "metric name b'a\\nb' is not in normal form": holdings_of(b"a\nb"),
    "metric name b'a\\x7f' is not in normal form": holdings_of(b"a\x7f"),
    "metric name b'\\xff' is not in normal form": holdings_of(b"\xff"),
    "metric name b'a\\xc2\\x80' is not in normal form": holdings_of(b"a\xc2\x80"),
    "metric name b'a;t=2;s=1' is not in normal form": holdings_of(b"a;t=2;s=1"),
    f"metric name {b'a.' * 20!r} is not in normal form": holdings_of(b"a." * 255 + b"a"),
    "the same metric is in the holdings twice": holdings_of(b"a.b", b"a.b"),
    "holdings do not go together: 1 names, 2 sizes and 1 times": replace(
        holdings_of(b"a"), size_numbers=np.zeros(2, np.int32)
    ),
    "holdings do not go together: 1 names, 1 sizes and 2 times": replace(
        holdings_of(b"a"), seen=np.zeros(2, np.uint32)
    ),
    "holdings do not go together: a size number is none of 0 sizes": replace(holdings_of(b"a"), sizes=[]),
    "namespace 'a.' is not in normal form": holdings_of(b"a.m", rates={"a.": 1}),
    f"points must be from 0 to {MAXIMUM}, not -1": holdings_of(b"a.m", rates={"a": -1}),
    "the sizes of all metrics would pass 2^63 - 1 with the 2 to restore": replace(
        holdings_of(b"a", b"b"), sizes=[Size(data_points=2**62)]
    ),
}


@pytest.mark.parametrize("message", BAD, ids=lambda message: message.encode("unicode_escape").decode())
def test_bad_holdings_are_refused_and_change_nothing(message: str) -> None:
    engine = engine_under("[*]\nmetrics = 5\n")
    with pytest.raises(QuotaError) as error:
        engine.restore(BAD[message])
    assert str(error.value) == message
    assert (len(engine), engine.namespaces(), engine.usage("/").metrics) == (0, [], 0)


def test_sums_are_held_against_what_is_there() -> None:
    engine = engine_under()
    engine.load("a", Size(logical=2**62))
    with pytest.raises(QuotaError, match="would pass"):
        engine.restore(replace(holdings_of(b"b"), sizes=[Size(logical=2**62)]))
    engine.restore(replace(holdings_of(b"b"), sizes=[Size(logical=2**62 - 1), Size(logical=MAXIMUM)]))
    assert engine.usage("/").logical_size == MAXIMUM


def test_names_that_need_a_closer_look_are_restored_too() -> None:
    names = ["é.m", "a.b;s=1;t=..", ".".join("a" * 255), "x" * 2000, "a b.c", "é" * 4096]
    engine = engine_under()
    engine.restore(holdings_of(*[name.encode() for name in names]))
    assert all(name in engine for name in names)


def test_new_rules_bring_their_sizes_along() -> None:
    engine = engine_under("[a]\nlogical-size = 1000\n")
    engine.apply(RuleSet.from_text("[a]\nlogical-size = 15\n"), size_of=lambda _metric: Size(logical=15))
    assert engine.offer("a.m").accepted
    assert engine.usage("a").logical_size == 15
    engine.apply(RuleSet.from_text("[a]\nlogical-size = 30\n"))
    assert engine.offer("a.n").accepted
    assert engine.usage("a").logical_size == 30
