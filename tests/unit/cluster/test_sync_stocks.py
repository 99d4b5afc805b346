"""Nodes of sync mode that share what they hold, on one manual clock, with a network that a test makes up."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonquota import QuotaEngine, RuleSet
from carbonquota.cluster.gate import Gate
from carbonquota.cluster.hold import Hold
from carbonquota.cluster.line_batches import LineBatches
from carbonquota.cluster.messages import Run
from carbonquota.cluster.stock_messages import TO_ONE
from carbonquota.cluster.sync_stocks import StockNode
from carbonquota.controls import Admission
from carbonquota.model import Size
from carbonquota.testing import ManualClock

TICK = 0.1
LIMIT = 6
RULES = f"[a]\nmetrics = {LIMIT}\n[b]\nnamespaces = 2\n[c]\nthroughput = 3\nmetrics = 100\n[d]\ndata-points = 100\n"
SIZE = Size(logical=10, physical=12, data_points=20)


@dataclass
class Fleet:
    """Some nodes under the same rules."""

    size: int
    rules: str = RULES
    clock: ManualClock = field(default_factory=lambda: ManualClock(6_000.0))
    delivery: float = 1.0
    dice: random.Random = field(default_factory=lambda: random.Random(3))

    def __post_init__(self) -> None:
        self.epochs = Counter[int]()
        self.engines = [self.new_engine() for _ in range(self.size)]
        self.nodes: list[StockNode] = []
        self.gates: list[Gate[bytes]] = []
        self.batches: list[LineBatches] = []
        self.holds: list[Hold[bytes]] = []
        self.cut: set[int] = set()
        self.decided: list[list[Admission]] = [[] for _ in range(self.size)]
        for number in range(self.size):
            for parts in (self.nodes, self.gates, self.batches, self.holds):
                parts.append(None)  # type: ignore[arg-type]
            self.begin(number)
        self.exchange()
        self.exchange()

    def new_engine(self) -> QuotaEngine:
        return QuotaEngine(RuleSet.from_text(self.rules), clock=self.clock, hold_new=True, size_of=lambda _: SIZE)

    def begin(self, number: int) -> None:
        """Begin this node's process with the engine it has."""
        self.epochs[number] += 1
        run = Run(bytes([number + 1]) * 16, self.epochs[number])
        engine = self.engines[number]

        def decide(_: bytes, admit: Callable[[], Admission]) -> Admission:
            self.decided[number].append(admit())
            return self.decided[number][-1]

        self.nodes[number] = node = StockNode(engine, run, "fleet", self.clock)
        self.batches[number] = LineBatches(engine, decide)
        self.holds[number] = Hold[bytes](self.clock, lambda lines: sum(map(len, lines)))
        self.gates[number] = Gate(engine, self.holds[number], self.batches[number], decider=node)

    def restart(self, number: int, *, forgets: bool = False) -> None:
        """Kill it, and start it with what it had in its index, or nothing."""
        before = self.engines[number]
        self.engines[number] = self.new_engine()
        if not forgets:
            self.engines[number].restore(before.holdings())
        self.begin(number)

    def send(self, number: int, *names: str) -> int:
        """A batch of one point each; how many are accepted at once."""
        before = sum(admission.points for admission in self.decided[number])
        lines = b"".join(f"{name} 1 1700000000\n".encode() for name in names)
        known = self.batches[number].admit(lines, self.gates[number]).points
        return known + sum(admission.points for admission in self.decided[number]) - before

    def exchange(self, seconds: float = TICK) -> None:
        """Let time pass; each node publishes, and hears each message with some probability."""
        self.clock.advance(seconds)
        present = [number for number in range(self.size) if number not in self.cut]
        connected = [len(present) - 1 if number in present else 0 for number in range(self.size)]
        ticks = [node.tick(self.size - 1, heard) for node, heard in zip(self.nodes, connected, strict=True)]
        self.deliver([(speaker, message) for speaker, said in enumerate(map(list, ticks)) for message in said])
        for number, node in enumerate(self.nodes):
            if node.is_ready:
                self.gates[number].decide_waiting()

    def deliver(self, said: list[tuple[int, bytes]]) -> None:
        """Have all nodes that are not cut off hear what was said."""
        present = set(range(self.size)) - self.cut
        for number in sorted(present):
            own = TO_ONE + bytes([number + 1]) * 16
            for speaker, message in said:
                is_for_others = message[:1] == TO_ONE and not message.startswith(own)
                if speaker in present - {number} and not is_for_others and self.dice.random() < self.delivery:
                    self.nodes[number].hear(message)

    def held(self, namespace: str) -> set[str]:
        """The metrics of a namespace over all nodes."""
        names = {name.decode() for engine in self.engines for name in engine.holdings().names}
        return {name for name in names if name.startswith(namespace + ".")}

    def dropped(self, number: int) -> dict[tuple[str, str], int]:
        """What a node dropped, by namespace and control."""
        sums: Counter[tuple[str, str]] = Counter()
        for admission in self.decided[number]:
            sums.update({key: drop.points for key, drop in admission.drops.items()})
        return dict(sums)

    def told(self, number: int, namespace: str) -> list[int]:
        """What a node says that all hold."""
        return self.nodes[number].amounts([namespace])[0]


def test_what_others_hold_counts_here_and_a_metric_counts_once() -> None:
    fleet = Fleet(3)
    for number in range(3):
        assert fleet.send(number, *(f"a.m{k}" for k in range(4))) == 4
    fleet.exchange()
    assert fleet.told(1, "a") == [4, 4 * 10, 4 * 12, 4 * 20, 0]
    assert fleet.send(0, "a.x", "a.y", "a.z") == 2
    fleet.exchange()
    assert fleet.send(1, "a.other") == 0
    assert fleet.dropped(1) == {("a", "metrics"): 1}
    # What one holds all may have, though the limit is reached.
    assert fleet.send(2, "a.x", "a.z") == 1
    assert fleet.engines[2].report()["dropped.a"] == 1


def test_namespaces_and_sizes_are_counted_over_all_nodes() -> None:
    fleet = Fleet(2)
    fleet.send(0, "b.x.m", "b.y.m", "d.m1", "d.m2", "d.m3")
    fleet.exchange()
    assert fleet.send(1, "b.z.m", "b.x.other", "b.leaf", "d.m4", "d.m5", "d.m6") == 4
    assert fleet.dropped(1) == {("b", "namespaces"): 1, ("d", "data-points"): 1}
    assert fleet.told(1, "/")[4] == 2
    assert fleet.told(1, "b") == [4, 40, 48, 80, 2]


def test_what_goes_gives_its_place_to_others_once_no_node_has_it() -> None:
    fleet = Fleet(2)
    for number in range(2):
        fleet.send(number, *(f"a.m{k}" for k in range(LIMIT)))
    fleet.exchange()
    for number, accepted in ((0, 0), (1, 1)):
        fleet.engines[number].forget("a.m0")
        fleet.exchange()
        fleet.exchange()
        assert fleet.send(0, "a.new") == accepted


def test_what_throughput_rejects_holds_no_place() -> None:
    fleet = Fleet(2)
    assert fleet.send(0, *(f"c.m{k}" for k in range(5))) == 3
    fleet.exchange()
    fleet.exchange()
    assert fleet.told(0, "c")[0] == fleet.told(1, "c")[0] == 3


def test_loaded_metrics_and_those_of_a_populated_index_count_whatever_the_limits() -> None:
    fleet = Fleet(2)
    for k in range(LIMIT + 2):
        fleet.engines[0].load(f"a.m{k}")
    fleet.exchange()
    assert fleet.told(1, "a")[0] == LIMIT + 2
    fleet.restart(0)
    for _ in range(3):
        fleet.exchange()
    assert fleet.told(1, "a")[0] == LIMIT + 2
    assert fleet.send(1, "a.other") == 0


def test_a_question_that_was_not_heard_is_asked_again_as_soon_as_somebody_begins_to_listen() -> None:
    fleet = Fleet(2)
    fleet.cut = {1}
    fleet.send(0, "a.x")
    fleet.exchange()
    one, other = fleet.nodes

    def questions(*, joined: bool) -> int:
        return sum(message.startswith(TO_ONE) for message in other.tick(1, 1, speaks=joined))

    # The way back is cut still: what the other misses, it learns from the first that it hears again.
    fleet.clock.advance(2.0)
    for message in one.tick(1, 1, speaks=True):
        other.hear(message)
    assert questions(joined=False) == 1
    assert questions(joined=False) == 0
    assert questions(joined=True) == 1


def test_a_node_that_starts_decides_on_nothing_new_before_it_knows_what_others_hold() -> None:
    fleet = Fleet(2)
    fleet.send(0, *(f"a.m{k}" for k in range(LIMIT)))
    fleet.exchange()
    fleet.restart(1, forgets=True)
    assert fleet.send(1, "a.other", "free.of.limits") == 1
    assert len(fleet.holds[1]) == 1
    for _ in range(20):
        fleet.exchange()
    assert (fleet.dropped(1), len(fleet.holds[1])) == ({("a", "metrics"): 1}, 0)
    # A peer that is away is waited for only so long.
    fleet.cut = {0}
    fleet.restart(1, forgets=True)
    fleet.send(1, "a.other")
    fleet.exchange(4.9)
    assert fleet.held("a") == {f"a.m{k}" for k in range(LIMIT)}
    fleet.exchange()
    fleet.exchange()
    assert "a.other" in fleet.held("a")


def test_a_node_that_lost_its_index_gives_back_what_it_held() -> None:
    fleet = Fleet(2)
    fleet.send(0, *(f"a.m{k}" for k in range(LIMIT)))
    fleet.exchange()
    fleet.restart(0, forgets=True)
    for _ in range(3):
        fleet.exchange()
    assert fleet.told(1, "a")[0] == 0
    assert fleet.send(1, *(f"a.n{k}" for k in range(LIMIT))) == LIMIT


def test_other_rules_have_everything_told_anew() -> None:
    fleet = Fleet(2)
    fleet.send(0, "z.1", "z.2", "a.x")
    fleet.exchange()
    assert fleet.told(1, "z")[0] == 0
    for engine in fleet.engines:
        engine.apply(RuleSet.from_text("[z]\nmetrics = 2\n"))
    fleet.exchange()
    assert (fleet.told(1, "z")[0], fleet.told(1, "a")[0]) == (2, 0)
    assert fleet.send(1, "z.3") == 0
    assert fleet.dropped(1) == {("z", "metrics"): 1}


def test_another_node_of_the_same_name_is_noticed() -> None:
    fleet = Fleet(2)
    double = StockNode(fleet.engines[1], Run(bytes([1]) * 16, 99), "fleet", fleet.clock)
    fleet.clock.advance(10.0)
    for message in double.tick(0, 0):
        fleet.nodes[0].hear(message)
    assert fleet.nodes[0].has_double
    assert not fleet.nodes[1].has_double


def test_after_a_partition_each_side_knows_what_the_other_took_in_within_two_ticks_of_hearing_it() -> None:
    fleet = Fleet(3)
    fleet.cut = {2}
    fleet.send(2, "a.x", "a.y")
    fleet.send(0, "a.z")
    for _ in range(30):
        fleet.exchange()
    assert [fleet.told(number, "a")[0] for number in range(3)] == [1, 1, 2]
    fleet.cut = set()
    # Who begins to listen is told at once which version is the last, asks at once for what is missing, and is told.
    fleet.clock.advance(TICK)
    said = [(number, message) for number in range(3) for message in fleet.nodes[number].tick(2, 2, speaks=True)]
    while said:
        fleet.deliver(said)
        said = [(number, message) for number in range(3) for message in fleet.nodes[number].replies()]
    assert [fleet.told(number, "a")[0] for number in range(3)] == [3, 3, 3]


def test_where_nobody_tells_that_it_was_cut_off_all_is_known_when_it_speaks_again() -> None:
    fleet = Fleet(3)
    fleet.cut = {2}
    fleet.send(2, "a.x", "a.y")
    fleet.exchange()
    fleet.cut = set()
    for _ in range(12):
        fleet.exchange()
    assert [fleet.told(number, "a")[0] for number in range(3)] == [2, 2, 2]


def forget_one(fleet: Fleet, number: int, amount: int) -> None:
    names = sorted(name.decode() for name in fleet.engines[number].holdings().names)
    if names:
        fleet.engines[number].forget(names[amount % len(names)])


STEPS: dict[str, Callable[[Fleet, int, int], object]] = {
    "send": lambda fleet, number, amount: fleet.send(number, f"a.m{amount}", f"b.n{amount % 5}.m{amount}"),
    "send more": lambda fleet, number, amount: fleet.send(number, *(f"a.m{amount + k}" for k in range(4))),
    "send metered": lambda fleet, number, amount: fleet.send(number, *(f"c.m{amount + k}" for k in range(4))),
    "forget": forget_one,
    "load": lambda fleet, number, amount: fleet.engines[number].load(f"d.m{amount}"),
    "tick": lambda fleet, _, __: fleet.exchange(),
    "restart": lambda fleet, number, _: fleet.restart(number),
    "lose": lambda fleet, number, _: fleet.restart(number, forgets=True),
    "cut or mend": lambda fleet, number, _: fleet.cut.symmetric_difference_update({number}),
    "lossy or not": lambda fleet, _, __: setattr(fleet, "delivery", 1.5 - fleet.delivery),
}


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from(list(STEPS)), st.integers(0, 2), st.integers(0, 20)), min_size=10, max_size=60)
)
def test_whatever_fails_all_know_in_the_end_what_all_hold(steps: list[tuple[str, int, int]]) -> None:
    fleet = Fleet(3)
    for step, number, amount in steps:
        STEPS[step](fleet, number, amount)
    fleet.cut, fleet.delivery = set(), 1.0
    for _ in range(60):
        fleet.exchange(0.2)
    for namespace in "abcd":
        held = fleet.held(namespace)
        assert [fleet.told(number, namespace)[0] for number in range(3)] == [len(held)] * 3
    assert not any(map(len, fleet.holds))


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["send", "send more", "send metered", "forget"]), st.integers(0, 2), st.integers(0, 20)
        ),
        min_size=10,
        max_size=60,
    )
)
def test_where_all_is_heard_at_once_no_limit_is_passed_by_one(steps: list[tuple[str, int, int]]) -> None:
    fleet = Fleet(3)
    for step, number, amount in steps:
        STEPS[step](fleet, number, amount)
        fleet.exchange()
        fleet.exchange()
        assert len(fleet.held("a")) <= LIMIT
        assert len({name.split(".")[1] for name in fleet.held("b")}) <= 2


@pytest.mark.parametrize("nodes", [3, 8])
@settings(max_examples=2)
@given(seed=st.integers(0, 10_000))
def test_a_limit_is_passed_by_no_more_than_others_let_in_until_they_are_heard_and_only_once(
    nodes: int, seed: int
) -> None:
    dice, limit, most = random.Random(seed), 100, 5
    fleet = Fleet(nodes, f"[a]\nmetrics = {limit}\n")
    sent = 0
    for _ in range(40):
        for number in range(nodes):
            for _ in range(dice.randint(0, most)):
                fleet.send(number, f"a.m{sent}")
                sent += 1
        fleet.exchange()
    assert 0 <= len(fleet.held("a")) - limit <= (nodes - 1) * most
