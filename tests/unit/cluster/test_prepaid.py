"""Nodes in slices mode against a model of the store: no limit is passed by even one, whatever fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonquota import QuotaEngine, RuleSet
from carbonquota.cluster.prepaid import PrepaidNode
from carbonquota.cluster.settings import OnOutage
from carbonquota.cluster.store import Membership
from carbonquota.testing import ManualClock
from tests.support.slice_store import ModelStore, Shelf

LENGTH = 10.0
LIMIT = 60
RULES = f"[*]\nthroughput = {LIMIT}\n"


@dataclass
class Fleet:
    """Some nodes and a store, on one manual clock."""

    size: int
    on_outage: OnOutage = "share"
    clock: ManualClock = field(default_factory=lambda: ManualClock(1_000_000.0))

    def __post_init__(self) -> None:
        self.shelf = Shelf(lambda: round(self.clock() * 1000))
        self.engines: list[QuotaEngine] = []
        self.stores: list[ModelStore] = []
        self.nodes: list[PrepaidNode] = []
        self.runs = 0
        self.ahead = [0.0] * self.size
        self.accepted = Counter[float]()
        """Points by the interval in which they were accepted."""
        for number in range(self.size):
            for parts in (self.engines, self.stores, self.nodes):
                parts.append(None)  # type: ignore[arg-type]
            self.restart(number)

    def restart(self, number: int) -> None:
        """Begin this node anew, as another member: what it had taken is lost."""
        self.runs += 1
        clock = lambda: self.clock() + self.ahead[number]  # noqa: E731 - a clock
        engine = QuotaEngine(RuleSet.from_text(RULES), clock=clock, interval=LENGTH, prepaid=True, steady=self.clock)
        store = ModelStore(self.shelf, Membership(f"run{self.runs}", lapse=2_000))
        self.engines[number], self.stores[number] = engine, store
        self.nodes[number] = PrepaidNode(
            engine,
            store,
            cluster="c",
            length=LENGTH,
            clock=clock,
            on_outage=self.on_outage,
            steady=self.clock,
            jitter=lambda: 0.5,
        )

    def offer(self, number: int, points: int) -> int:
        """Offer single points to a node; how many it accepted."""
        engine = self.engines[number]
        accepted = sum(engine.offer("a.x").accepted for _ in range(points))
        self.accepted[engine.counted().start] += accepted
        return accepted

    def tick(self, seconds: float = 0.1) -> None:
        """Let time pass, and all nodes do what is due."""
        self.clock.advance(seconds)
        for node in self.nodes:
            node.tick()

    def run(self, seconds: float, rates: tuple[int, ...], step: float = 0.1) -> list[int]:
        """Offer so many points a tick to each node; how many each accepted in all."""
        total = [0] * self.size
        for _ in range(round(seconds / step)):
            for number, rate in enumerate(rates):
                total[number] += self.offer(number, rate)
            self.tick(step)
        return total


def warmed_up(size: int = 3, on_outage: OnOutage = "share") -> Fleet:
    """A fleet whose nodes know each other, at the beginning of an interval; nothing was offered yet."""
    fleet = Fleet(size, on_outage)
    for _ in range(105):
        fleet.tick()
    assert [node.nodes for node in fleet.nodes] == [size] * size
    return fleet


def test_a_limit_goes_to_its_last_point_to_whoever_asks() -> None:
    fleet = warmed_up()
    start = fleet.engines[0].counted().start
    fleet.run(9.0, (3, 3, 3))
    assert fleet.accepted[start] == LIMIT


def test_one_node_alone_in_demand_gets_nearly_all_of_it() -> None:
    fleet = warmed_up()
    start = fleet.engines[0].counted().start
    fleet.run(9.0, (0, 2, 0))
    assert fleet.accepted[start] == LIMIT


def test_below_the_limit_nothing_is_refused_once_the_rate_is_known() -> None:
    fleet = warmed_up()
    fleet.run(9.9, (1, 0, 0), step=0.33)
    for _ in range(5):
        assert fleet.run(9.9, (1, 0, 0), step=0.33) == [30, 0, 0]


def test_what_a_node_does_not_need_any_more_goes_to_others() -> None:
    fleet = warmed_up()
    start = fleet.engines[0].counted().start
    fleet.run(2.0, (1, 0, 0))
    fleet.run(7.0, (0, 4, 4))
    assert fleet.accepted[start] == LIMIT


def test_a_node_that_is_killed_loses_its_slice_and_adds_none() -> None:
    fleet = warmed_up()
    start = fleet.engines[0].counted().start
    for number in range(3):
        fleet.run(1.0, (2, 2, 2))
        fleet.restart(number)
    fleet.run(5.0, (2, 2, 2))
    assert LIMIT * 0.3 <= fleet.accepted[start] <= LIMIT


@pytest.mark.parametrize(
    ("on_outage", "least", "most"), [("share", LIMIT, LIMIT), ("reject", 0, 3), ("accept", 3 * LIMIT, 3 * LIMIT)]
)
def test_without_the_store_nodes_live_on_their_shares_or_all_or_nothing(
    on_outage: OnOutage, least: int, most: int
) -> None:
    fleet = warmed_up(on_outage=on_outage)
    fleet.run(3.0, (1, 1, 1))
    fleet.shelf.is_up = False
    first = fleet.engines[0].counted().start
    fleet.run(6.4, (1, 1, 1))
    assert fleet.accepted[first] <= LIMIT
    fleet.run(10.0, (3, 3, 3))
    second = fleet.engines[0].counted().start
    fleet.run(10.0, (3, 3, 3))
    third = fleet.engines[0].counted().start
    assert third > second > first
    assert least <= fleet.accepted[second] <= most
    assert all("cannot be reached" in node.trouble for node in fleet.nodes)
    fleet.shelf.is_up = True
    fleet.run(30.0, (3, 3, 3))
    assert all(not node.trouble for node in fleet.nodes)
    assert fleet.accepted[fleet.engines[0].counted().start - LENGTH] == LIMIT


def test_a_node_that_is_cut_off_lives_on_a_share_that_the_others_leave_to_it() -> None:
    fleet = warmed_up()
    fleet.run(2.0, (1, 1, 1))
    fleet.stores[0].is_cut = True
    fleet.run(7.5, (1, 1, 1))
    start = fleet.engines[0].counted().start
    alone, *others = fleet.run(9.0, (3, 3, 3))
    assert fleet.engines[0].counted().start == start + LENGTH
    assert (alone, fleet.accepted[start + LENGTH]) == (LIMIT // 3, LIMIT)
    assert min(others) > 0


def test_a_node_whose_clock_is_set_while_it_is_alone_has_no_share_until_that_is_undone() -> None:
    fleet = warmed_up()
    fleet.run(2.0, (1, 1, 1))
    fleet.shelf.is_up = False
    fleet.run(10.0 + LENGTH, (3, 3, 3))
    before = fleet.accepted.total()
    for seconds in (7.0, 4 * LENGTH, -9 * LENGTH):
        fleet.ahead[0] += seconds
        assert fleet.run(3.0, (3, 0, 0)) == [0, 0, 0]
    assert fleet.nodes[0].clock_set_by == -43.0
    assert fleet.accepted.total() == before
    fleet.ahead[0] = 0.0
    assert fleet.run(1.8 * LENGTH, (3, 0, 0))[0] == LIMIT // 3


def test_a_clock_that_is_set_back_by_an_hour_while_the_store_is_away_keeps_no_node_from_coming_back() -> None:
    fleet = warmed_up(2)
    fleet.shelf.is_up = False
    for _ in range(20):
        fleet.tick()
    assert all(node.trouble for node in fleet.nodes)
    fleet.ahead[0] = -3_600.0
    fleet.tick()
    fleet.shelf.is_up = True
    for _ in range(60):
        fleet.tick()
    assert [node.trouble for node in fleet.nodes] == ["", ""]


def test_what_was_granted_of_the_next_interval_is_not_for_another() -> None:
    fleet = warmed_up()
    fleet.run(9.5, (1, 1, 1))
    fleet.ahead[0] = 5 * LENGTH
    assert fleet.offer(0, 10) == 0


def test_namespaces_that_are_gone_are_not_kept() -> None:
    fleet, most = warmed_up(), 0
    for round_ in range(6):
        for number in range(500):
            fleet.engines[0].offer(f"n{round_}x{number}.m")
        for _ in range(10):
            fleet.tick(1.0)
        fleet.engines[0].report()
        most = max(most, fleet.nodes[0].namespaces)
    assert 500 <= most <= 2_000
    start = fleet.engines[0].counted().start
    fleet.run(9.0, (3, 3, 3))
    assert fleet.accepted[start] == LIMIT


def test_a_report_before_the_end_of_an_interval_changes_nothing_of_what_was_granted() -> None:
    fleet = warmed_up()
    start = fleet.engines[0].counted().start
    for _ in range(3):
        fleet.run(3.0, (3, 3, 3))
        for engine in fleet.engines:
            engine.report()
    assert fleet.accepted[start] == LIMIT


@pytest.mark.parametrize("length", [1.1, 2.3, 7.7])
def test_intervals_of_any_length_get_what_is_granted_ahead(length: float) -> None:
    clock = ManualClock(1_000_000.0)
    engine = QuotaEngine(
        RuleSet.from_text("[a]\nthroughput = 100000\n"), clock=clock, interval=length, prepaid=True, steady=clock
    )
    shelf = Shelf(lambda: round(clock() * 1000))
    node = PrepaidNode(engine, ModelStore(shelf, Membership("one")), cluster="c", length=length, clock=clock)
    missed = 0
    for round_ in range(600):
        dropped = 3 - sum(engine.offer("a.x").accepted for _ in range(3))
        missed += dropped if round_ > 50 else 0
        node.tick()
        clock.advance(0.05)
    assert missed == 0


@pytest.mark.parametrize("limit", [2**53, 2**53 + 1, 2**63 - 2])
def test_limits_past_what_the_store_can_count_are_granted(limit: int) -> None:
    clock = ManualClock(1_000_000.0)
    engine = QuotaEngine(RuleSet.from_text(f"[a]\nthroughput = {limit}\n"), clock=clock, interval=LENGTH, prepaid=True)
    shelf = Shelf(lambda: round(clock() * 1000))
    node = PrepaidNode(engine, ModelStore(shelf, Membership("one")), cluster="c", length=LENGTH, clock=clock)
    accepted = 0
    for _ in range(150):
        accepted += sum(engine.offer("a.x").accepted for _ in range(3))
        node.tick()
        clock.advance(0.1)
    assert accepted >= 3 * 149 - 30


def test_a_store_that_lost_its_memory_gives_nothing_of_the_running_interval() -> None:
    fleet = warmed_up()
    start = fleet.engines[0].counted().start
    fleet.run(4.0, (4, 4, 4))
    fleet.shelf.restart()
    fleet.run(5.4, (4, 4, 4))
    assert fleet.accepted[start] <= LIMIT
    fleet.run(10.5, (4, 4, 4))
    assert fleet.accepted[start + LENGTH] == LIMIT


def test_a_node_that_ends_in_order_gives_back_all_that_is_left() -> None:
    fleet = warmed_up()
    start = fleet.engines[0].counted().start
    fleet.run(1.0, (2, 0, 0))
    before = fleet.accepted[start]
    fleet.nodes[0].close()
    assert fleet.offer(0, 1) == 0
    fleet.stores[0].is_cut = True
    fleet.nodes.pop(0)
    fleet.run(8.0, (0, 4, 4))
    assert fleet.accepted[start] == LIMIT
    assert before < LIMIT


def test_a_node_knows_of_which_limits_the_store_has_nothing_left() -> None:
    fleet = warmed_up()
    fleet.run(1.0, (1, 0, 0))
    assert not len(fleet.nodes[0].spent)
    fleet.run(8.0, (5, 5, 0))
    for number in (0, 1):
        assert fleet.nodes[number].spent.tolist() == fleet.engines[number].counted().namespaces.generation.tolist()
    fleet.run(1.0, (0, 0, 0))
    assert not len(fleet.nodes[0].spent)


def wait(fleet: Fleet, seconds: float, step: float) -> None:
    while seconds > 0:
        fleet.tick(min(seconds, step))
        seconds -= step


def flip(store: ModelStore, what: str) -> None:
    setattr(store, what, not getattr(store, what))


def wipe(fleet: Fleet) -> None:
    # A store that forgets who was cut off cannot keep shares back: only where none may live on one.
    if fleet.on_outage == "reject":
        fleet.shelf.restart()


def step(fleet: Fleet, number: int, seconds: float) -> None:
    """Set a node's clock, or set it right again."""
    fleet.ahead[number] = 0.0 if fleet.ahead[number] else seconds


STEPS: dict[str, Callable[[Fleet, int, int], object]] = {
    "offer": lambda fleet, number, amount: fleet.offer(number, amount),
    "offer more": lambda fleet, number, amount: fleet.offer(number, 2 * amount),
    "tick": lambda fleet, _, __: fleet.tick(),
    "wait": lambda fleet, _, amount: wait(fleet, amount / 4, 0.3),
    "jump": lambda fleet, _, amount: wait(fleet, amount * 3.0, 1e9),
    "cut or mend": lambda fleet, number, _: flip(fleet.stores[number], "is_cut"),
    "lose answers or not": lambda fleet, number, _: flip(fleet.stores[number], "loses"),
    "down": lambda fleet, _, __: setattr(fleet.shelf, "is_up", False),
    "up": lambda fleet, _, __: setattr(fleet.shelf, "is_up", True),
    "wipe": lambda fleet, _, __: wipe(fleet),
    "step a clock": lambda fleet, number, amount: step(fleet, number, (amount - 20) / 2),
    "kill": lambda fleet, number, _: fleet.restart(number),
}


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(list(STEPS)), st.integers(0, 2), st.integers(1, 40)), min_size=10, max_size=60),
    st.sampled_from(["share", "reject"]),
)
def test_whatever_fails_no_interval_has_more_than_the_limit(
    steps: list[tuple[str, int, int]], on_outage: OnOutage
) -> None:
    fleet = Fleet(3, on_outage)
    for step, number, amount in steps:
        STEPS[step](fleet, number, amount)
    assert all(points <= LIMIT for points in fleet.accepted.values()), fleet.accepted


def test_nodes_that_are_cut_off_before_they_know_of_each_other_pass_no_limit() -> None:
    fleet = Fleet(3)
    fleet.tick()
    for store in fleet.stores:
        store.is_cut = True
    wait(fleet, 12.0, 3.0)
    start = fleet.engines[0].counted().start
    for number in range(3):
        fleet.offer(number, LIMIT)
    assert fleet.accepted[start] == LIMIT
