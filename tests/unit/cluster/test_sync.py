"""Nodes in sync mode, on one manual clock, with a network that a test makes up."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonquota import QuotaEngine, RuleSet
from carbonquota.cluster.messages import Run
from carbonquota.cluster.sync import SyncNode
from carbonquota.testing import ManualClock

LENGTH = 60.0
TICK = 0.1


@dataclass
class Fleet:
    """Some nodes under the same rules; `skews` are added to what each takes for the time."""

    rules: str
    size: int
    skews: tuple[float, ...] = ()
    clock: ManualClock = field(default_factory=lambda: ManualClock(6_000.0))

    def __post_init__(self) -> None:
        self.epochs = Counter[int]()
        self.engines: list[QuotaEngine] = []
        self.nodes: list[SyncNode] = []
        for number in range(self.size):
            self.engines.append(QuotaEngine(RuleSet.from_text(""), clock=self.clock))
            self.nodes.append(SyncNode(self.engines[-1], Run(b"", 0), "x", LENGTH, self.clock))
            self.restart(number)

    def restart(self, number: int) -> None:
        """Begin this node anew, with an engine that knows nothing."""
        skew = self.skews[number] if self.skews else 0.0
        clock = lambda: self.clock() + skew  # noqa: E731 - a clock
        self.epochs[number] += 1
        self.engines[number] = QuotaEngine(RuleSet.from_text(self.rules), clock=clock, interval=LENGTH)
        run = Run(bytes([number]) * 16, self.epochs[number])
        self.nodes[number] = SyncNode(self.engines[number], run, "fleet", LENGTH, clock)

    def exchange(self, deliver: float = 1.0, dice: random.Random | None = None) -> None:
        """Each node publishes, and hears each message with this probability."""
        messages = [message for node in self.nodes if (message := node.tick()) is not None]
        for node in self.nodes:
            node.hear([m for m in messages if dice is None or dice.random() < deliver])


def test_points_accepted_elsewhere_are_not_accepted_here() -> None:
    fleet = Fleet("[*]\nthroughput = 10\n", 3)
    for engine, points in zip(fleet.engines, (4, 3, 0), strict=True):
        if points:
            assert engine.offer("a.x", points).accepted
    fleet.exchange()
    # The third has not seen the namespace yet; what the others accepted counts as soon as it has.
    assert fleet.engines[2].offer("a.x", 1).accepted
    fleet.exchange()
    assert [engine.offer("a.x", 3).accepted for engine in fleet.engines] == [False] * 3
    assert fleet.engines[0].offer("a.x", 2).accepted
    fleet.exchange()
    assert [engine.offer("a.x", 1).accepted for engine in fleet.engines] == [False] * 3


def test_who_accepts_nothing_of_a_limit_that_others_used_up_still_tells_all_else() -> None:
    fleet = Fleet("[*]\nthroughput = 10\n", 2)
    fleet.engines[0].offer("a.x", 10)
    fleet.engines[1].offer("a.x", 1)
    fleet.exchange()
    fleet.restart(1)
    fleet.engines[1].offer("b.x", 7)
    fleet.engines[1].offer("a.x", 10)
    fleet.nodes[1].hear([message for message in [fleet.nodes[0].tick(full=True)] if message])
    fleet.engines[1].offer("a.x", 1)
    message = fleet.nodes[1].tick(full=True)
    assert message is not None
    fleet.engines[0].offer("b.x", 1)
    fleet.nodes[0].tick()
    fleet.nodes[0].hear([message])
    assert not fleet.nodes[0].faults
    assert not fleet.engines[0].offer("b.x", 3).accepted


def test_what_all_nodes_accepted_can_be_told_of_each_namespace() -> None:
    fleet = Fleet("[*]\nthroughput = 10\n", 3)
    for engine, points in zip(fleet.engines, (4, 3, 2), strict=True):
        engine.offer("a.x", points)
    fleet.engines[2].offer("b.x", 5)
    fleet.exchange()
    own = [np.array([1, 2, 3]) for _ in range(5)] + [np.array([4, 0, 0])]
    told = fleet.nodes[0].over_all_nodes(["a", "b", "never.seen"], own)
    assert [column.tolist() for column in told] == [[1, 2, 3]] * 5 + [[9, 5, 0]]
    ended = fleet.clock()
    fleet.clock.advance(LENGTH)
    fleet.exchange()
    # A report tells of the interval that has just ended.
    own = [np.zeros(1, np.int64) for _ in range(6)]
    for interval, expected in ((None, 0), (ended, 5)):
        assert fleet.nodes[0].over_all_nodes(["b"], own, interval)[-1].tolist() == [expected]


def test_each_interval_begins_anew_on_all_nodes() -> None:
    fleet = Fleet("[*]\nthroughput = 10\n", 2)
    for _ in range(3):
        assert fleet.engines[0].offer("a.x", 10).accepted
        fleet.exchange()
        fleet.engines[1].offer("a.x", 1)
        fleet.exchange()
        assert not fleet.engines[1].offer("a.x", 1).accepted
        fleet.clock.advance(LENGTH)


def test_a_node_that_starts_anew_hears_what_was_accepted_and_its_earlier_run_still_counts() -> None:
    fleet = Fleet("[*]\nthroughput = 10\n", 2)
    assert fleet.engines[0].offer("a.x", 6).accepted
    fleet.exchange()
    fleet.restart(0)
    # Its own earlier run is known to the other, which counts it beside the new one.
    assert fleet.engines[1].offer("a.x", 1).accepted
    fleet.exchange()
    assert not fleet.engines[1].offer("a.x", 4).accepted
    assert fleet.engines[1].offer("a.x", 3).accepted


def test_who_comes_late_gets_everything_with_the_next_message_of_all_counts() -> None:
    fleet = Fleet("[*]\nthroughput = 10\n", 1)
    assert fleet.engines[0].offer("a.x", 8).accepted
    fleet.nodes[0].tick()
    assert fleet.nodes[0].tick() is None
    late = QuotaEngine(RuleSet.from_text(fleet.rules), clock=fleet.clock)
    node = SyncNode(late, Run(b"late" * 4, 1), "fleet", LENGTH, fleet.clock)
    late.offer("a.x")
    node.tick()
    message = fleet.nodes[0].tick(full=True)
    assert message is not None
    node.hear([message])
    assert (late.offer("a.x", 2).accepted, late.offer("a.x", 1).accepted) == (False, True)


@pytest.mark.parametrize("nodes", [3, 8])
@pytest.mark.parametrize("deliver", [1.0, 0.7])
@settings(max_examples=3)
@given(seed=st.integers(0, 10_000))
def test_a_limit_is_passed_by_no_more_than_the_others_let_in_until_they_are_heard(
    nodes: int, deliver: float, seed: int
) -> None:
    dice = random.Random(seed)
    fleet, limit, most = Fleet("[a]\nthroughput = 300\n", nodes), 300, 5
    accepted = 0
    silence = [0] * nodes  # ticks since the node was heard by all
    longest = 0
    for _ in range(60):
        for engine in fleet.engines:
            accepted += sum(engine.offer("a.x").accepted for _ in range(dice.randint(0, most)))
        before = accepted
        messages = [node.tick() for node in fleet.nodes]
        for sender, message in enumerate(messages):
            heard = [dice.random() < deliver for _ in fleet.nodes]
            silence[sender] = 0 if all(heard) and message is not None else silence[sender] + 1
            for node, is_heard in zip(fleet.nodes, heard, strict=True):
                if is_heard and message is not None:
                    node.hear([message])
        longest = max(longest, *silence) if before < limit else longest
        fleet.clock.advance(TICK)
    assert accepted >= limit
    # Where all is heard, every node is behind by one tick of the others at most.
    behind = 1 if deliver == 1.0 else longest + 1
    assert accepted - limit <= (nodes - 1) * most * behind


def test_thirty_nodes_keep_within_the_bound() -> None:
    nodes, limit, most = 30, 300, 2
    fleet, accepted = Fleet("[a]\nthroughput = 300\n", nodes), 0
    for _ in range(8):
        for engine in fleet.engines:
            accepted += sum(engine.offer("a.x").accepted for _ in range(most))
        fleet.exchange()
        fleet.clock.advance(TICK)
    assert 0 <= accepted - limit <= (nodes - 1) * most


def test_what_stays_far_below_its_limit_is_hardly_told_and_what_comes_near_is_told_at_once() -> None:
    fleet = Fleet("[far]\nthroughput = 1000000\n[near]\nthroughput = 125\n", 3)
    for node in fleet.nodes:
        node.tick()
    fleet.exchange()
    told = Counter[str]()
    for _ in range(40):
        for engine in fleet.engines:
            engine.offer("far.x", 2)
            engine.offer("near.x", 1)
        messages = [message for node in fleet.nodes if (message := node.tick()) is not None]
        for message in messages:
            entries = fleet.nodes[0].codec.decode(message)
            told["full" if entries.full else "part"] += len(entries.digests)
        for node in fleet.nodes:
            node.hear(messages)
        fleet.clock.advance(TICK)
    # A message of all counts each two seconds; else the near one alone, at every tick in the end.
    assert told["full"] <= 3 * 2 * 3
    assert 3 * 10 <= told["part"] <= 3 * 40
    assert [engine.usage("near").throughput for engine in fleet.engines] == [40] * 3
    assert not fleet.engines[0].offer("near.x", 6).accepted
    assert fleet.engines[0].offer("near.x", 5).accepted


@settings(max_examples=20)
@given(
    st.integers(2, 5),
    st.integers(50, 20_000),
    st.lists(st.integers(0, 400), min_size=4, max_size=12),
)
def test_what_is_kept_back_lets_no_limit_be_passed_by_more(nodes: int, limit: int, rates: list[int]) -> None:
    fleet = Fleet(f"[a]\nthroughput = {limit}\n", nodes)
    fleet.exchange()
    accepted = offered = most = 0
    for tick in range(120):
        each = rates[tick // 5 % len(rates)] // nodes
        accepted += sum(engine.admit(b"a.x 1 1\n" * each).points for engine in fleet.engines)
        offered, most = offered + each * nodes, max(most, each * (nodes - 1))
        fleet.exchange()
        fleet.clock.advance(TICK)
        assert accepted - limit <= most
    assert accepted >= min(limit, offered)


def test_after_a_partition_all_know_all_within_two_ticks() -> None:
    fleet = Fleet("[*]\nthroughput = 100\n", 3)
    for engine in fleet.engines:
        engine.offer("a.x", 20)
    messages = [node.tick() for node in fleet.nodes]
    for node in fleet.nodes[:2]:
        node.hear([m for m in messages[:2] if m is not None])
    # What is lost now comes again with all counts, two seconds later at the most.
    for _ in range(22):
        fleet.clock.advance(TICK)
        fleet.exchange()
    for engine in fleet.engines:
        assert not engine.offer("a.x", 41).accepted


def test_a_report_before_the_end_of_an_interval_begins_no_limit_anew_and_loses_no_count() -> None:
    fleet = Fleet("[*]\nthroughput = 10\n", 2)
    for engine in fleet.engines:
        engine.offer("a.x", 4)
    fleet.exchange()
    assert "usage.throughput.a" in fleet.engines[0].report()
    assert not fleet.engines[0].offer("a.x", 3).accepted
    assert fleet.engines[0].offer("a.x", 2).accepted
    fleet.exchange()
    assert not fleet.engines[1].offer("a.x", 1).accepted
    fleet.clock.advance(LENGTH)
    report = fleet.engines[0].report()
    assert (report["usage.throughput.a"], report["dropped.a"]) == (6, 3)


def test_namespaces_that_are_gone_are_not_kept() -> None:
    fleet, most = Fleet("[*]\nthroughput = 10\n", 2), 0
    for round_ in range(12):
        names = [f"n{round_}x{number}.m" for number in range(400)]
        for name in names:
            fleet.engines[0].offer(name)
        fleet.exchange()
        for name in names:
            fleet.engines[0].forget(name)
        fleet.clock.advance(LENGTH)
        fleet.engines[0].report()
        most = max(most, fleet.nodes[0].namespaces)
    assert most <= 2_000
    # What stays is still known by what others say of it.
    fleet.engines[0].offer("stays.m")
    fleet.engines[1].offer("stays.m", 9)
    fleet.exchange()
    assert not fleet.engines[0].offer("stays.m").accepted


def test_clocks_that_differ_are_measured_and_counts_go_to_the_senders_interval() -> None:
    fleet = Fleet("[*]\nthroughput = 10\n", 2, skews=(0.0, 0.75))
    fleet.clock.set(6_059.5)
    fleet.engines[1].offer("a.x", 9)  # in the next interval already
    fleet.engines[0].offer("a.x", 1)
    fleet.exchange()
    assert fleet.engines[0].offer("a.x", 9).accepted
    assert [round(peer.skew, 2) for peer in fleet.nodes[0].peers()] == [0.75]
    fleet.clock.advance(1.0)
    fleet.engines[0].offer("a.x", 1)
    fleet.exchange()
    assert not fleet.engines[0].offer("a.x", 1).accepted


def test_a_clock_that_is_set_back_keeps_nobody_from_telling_all_counts_and_from_being_heard() -> None:
    fleet = Fleet("[*]\nthroughput = 10\n", 2)
    fleet.engines[1].offer("a.x", 1)
    fleet.exchange()
    fleet.clock.set(fleet.clock() - 10 * LENGTH)
    fleet.engines[0].offer("a.x", 4)
    lost = fleet.nodes[0].tick()
    assert lost is not None
    fleet.clock.advance(2.0)
    fleet.exchange()
    assert not fleet.engines[1].offer("a.x", 7).accepted
    assert fleet.engines[0].usage("a").throughput == 4
    assert [round(peer.age, 1) for peer in fleet.nodes[1].peers()] == [0.0]


def test_what_came_in_over_a_limit_is_seen_beside_its_bound() -> None:
    fleet = Fleet("[a]\nthroughput = 10\n[b]\nthroughput = 1\ndropping-policy = none\n", 2)
    for engine in fleet.engines:
        engine.offer("a.x", 8)
        engine.offer("b.x", 5)
    fleet.exchange()
    fleet.exchange()
    # Of the second rule nothing is rejected, so nothing is over it by the nodes' being apart.
    assert [(node.overshoot, node.bound) for node in fleet.nodes] == [(6, 13), (6, 13)]
    fleet.exchange()
    assert [(node.overshoot, node.bound) for node in fleet.nodes] == [(6, 0), (6, 0)]


def test_what_is_not_to_be_taken_is_counted_by_why() -> None:
    fleet = Fleet("[*]\nthroughput = 10\n", 1)
    fleet.engines[0].offer("a.x", 1)
    own = fleet.nodes[0].tick(full=True)
    assert own is not None
    other_length = SyncNode(fleet.engines[0], Run(b"o" * 16, 1), "fleet", 30.0, fleet.clock)
    other_cluster = SyncNode(fleet.engines[0], Run(b"c" * 16, 1), "elsewhere", LENGTH, fleet.clock)
    strange = [m for m in (other_length.tick(full=True), other_cluster.tick(full=True)) if m is not None]
    fleet.nodes[0].hear([own, b"", b"GET / HTTP/1.1", b"CQS2" + own[4:], *strange])
    assert fleet.nodes[0].faults == {"form": 3, "version": 1, "cluster": 1}
    assert fleet.nodes[0].peers() == []
