"""Nodes that claim new metrics against a model of the store: no limit is passed by even one, whatever fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonquota import QuotaEngine, RuleSet
from carbonquota.cluster.claim_store import ClaimTimeouts
from carbonquota.cluster.claims import WAITS, ClaimNode
from carbonquota.cluster.gate import Gate
from carbonquota.cluster.hold import Hold, HoldRoom
from carbonquota.cluster.line_batches import LineBatches, names_of
from carbonquota.cluster.settings import OnOutage
from carbonquota.controls import Admission
from carbonquota.errors import MetricNameError
from carbonquota.metric_name import normalize
from carbonquota.testing import ManualClock
from tests.support.claim_store import ModelClaims, Stock

LIMIT = 6
RULES = f"[a]\nmetrics = {LIMIT}\n[b]\nnamespaces = 2\n[c]\nthroughput = 3\nmetrics = 100\n"
ROOM = HoldRoom(size=60_000, seconds=10.0)


@dataclass
class Fleet:
    """Some nodes and a store, on one manual clock."""

    size: int
    on_outage: OnOutage = "share"
    patience: ClaimTimeouts = field(default_factory=lambda: ClaimTimeouts(grace=86_400_000))
    clock: ManualClock = field(default_factory=lambda: ManualClock(1_000_000.0))

    def __post_init__(self) -> None:
        self.stock = Stock(lambda: round(self.clock() * 1000))
        self.engines: list[QuotaEngine] = [self.new_engine() for _ in range(self.size)]
        self.stores: list[ModelClaims] = []
        self.holds: list[Hold[bytes]] = []
        self.nodes: list[ClaimNode] = []
        self.gates: list[Gate[bytes]] = []
        self.batches: list[LineBatches] = []
        self.decided: list[list[Admission]] = [[] for _ in range(self.size)]
        for number in range(self.size):
            for parts in (self.stores, self.holds, self.nodes, self.gates, self.batches):
                parts.append(None)  # type: ignore[arg-type]
            self.begin(number)
        self.cycle()
        self.cycle()

    def new_engine(self) -> QuotaEngine:
        return QuotaEngine(RuleSet.from_text(RULES), clock=self.clock, hold_new=True)

    def begin(self, number: int) -> None:
        """Begin this node's process with the engine it has."""
        engine, hold = self.engines[number], Hold[bytes](self.clock, lambda lines: sum(map(len, lines)), ROOM)
        store = ModelClaims(self.stock, f"n{number}", self.patience)

        def decide(_: bytes, admit: Callable[[], Admission]) -> Admission:
            self.decided[number].append(admit())
            return self.decided[number][-1]

        batches = LineBatches(engine, decide)
        gate = Gate(engine, hold, batches, self.on_outage)
        node = ClaimNode(
            engine,
            store,
            hold,
            settle=lambda answer: gate.apply(answer, node),
            clock=self.clock,
            on_outage=self.on_outage,
            jitter=lambda: 0.5,
            at_once=2,
        )
        self.holds[number], self.stores[number], self.nodes[number], self.gates[number] = hold, store, node, gate
        self.batches[number] = batches

    def kill(self, number: int) -> None:
        """Kill it, and start it with what it had in its index: that was written down, what waited was not."""
        before = self.engines[number]
        self.engines[number] = self.new_engine()
        self.engines[number].restore(before.holdings())
        self.begin(number)

    def send(self, number: int, *names: str) -> Admission:
        """A batch of one point each."""
        lines = b"".join(f"{name} 1 1700000000\n".encode() for name in names)
        return self.batches[number].admit(lines, self.gates[number])

    def cycle(self, seconds: float = 0.1) -> None:
        """Let time pass, and all nodes do what is due."""
        self.clock.advance(seconds)
        for node in self.nodes:
            node.cycle()

    def held(self, namespace: str) -> set[str]:
        """The metrics of a namespace over all nodes."""
        names = {name.decode() for engine in self.engines for name in engine.holdings().names}
        return {name for name in names if name.startswith(namespace + ".")}

    def dropped(self, number: int) -> dict[tuple[str, str], int]:
        """What a node dropped, by namespace and control."""
        sums: dict[tuple[str, str], int] = {}
        for admission in self.decided[number]:
            for key, drop in admission.drops.items():
                sums[key] = sums.get(key, 0) + drop.points
        return sums

    def waiting(self) -> int:
        return sum(map(len, self.holds))


def test_new_metrics_wait_for_the_store_and_known_ones_do_not() -> None:
    fleet = Fleet(2)
    assert fleet.send(0, "a.x", "free.y", "a.x").points == 0
    # What is under no limit waits for nobody.
    assert (fleet.decided[0][0].points, fleet.waiting()) == (1, 2)
    fleet.cycle()
    assert [admission.points for admission in fleet.decided[0]] == [1, 2]
    assert fleet.send(0, "a.x", "a.x").points == 2
    assert fleet.waiting() == 0


def test_a_limit_is_one_for_all_nodes_and_a_metric_counts_once() -> None:
    fleet = Fleet(3)
    for number in range(3):
        fleet.send(number, *(f"a.m{k}" for k in range(4)))
    fleet.cycle()
    assert len(fleet.held("a")) == 4
    for number in range(3):
        fleet.send(number, *(f"a.n{number}{k}" for k in range(4)))
    fleet.cycle()
    assert len(fleet.held("a")) == LIMIT
    assert sum(fleet.dropped(number).get(("a", "metrics"), 0) for number in range(3)) == 10
    # What one holds, all others may have, though the limit is reached.
    fleet.send(2, "a.n00")
    fleet.cycle()
    assert "a.n00" in fleet.engines[2]


def test_a_node_that_is_at_a_limit_by_itself_asks_nobody() -> None:
    fleet = Fleet(2)
    fleet.send(0, *(f"a.m{k}" for k in range(LIMIT)))
    fleet.cycle()
    fleet.stock.is_up = False
    flood = fleet.send(0, "a.flood1", "a.deep.flood2", "b.x", "a.m1")
    assert fleet.waiting() == 1
    assert (flood.points, flood.dropped_by_control) == (1, {"metrics": 2})
    # Another node has room by what it holds itself, so it has to ask.
    fleet.send(1, "a.flood1")
    assert fleet.waiting() == 2
    # Where one goes, there is room again.
    fleet.engines[0].forget("a.m1")
    fleet.send(0, "a.new")
    assert fleet.waiting() == 3


def test_namespaces_are_counted_over_all_nodes() -> None:
    fleet = Fleet(2)
    fleet.send(0, "b.x.m", "b.y.m")
    fleet.cycle()
    fleet.send(1, "b.z.m", "b.x.other", "b.leaf")
    fleet.cycle()
    assert fleet.held("b") == {"b.x.m", "b.y.m", "b.x.other", "b.leaf"}
    assert fleet.dropped(1) == {("b", "namespaces"): 1}
    assert fleet.engines[1].report()["dropped.b"] == 1


def test_what_goes_gives_its_place_to_others_once_no_node_has_it() -> None:
    fleet = Fleet(2)
    for number in range(2):
        fleet.send(number, *(f"a.m{k}" for k in range(LIMIT)))
    fleet.cycle()
    fleet.engines[0].forget("a.m0")
    fleet.cycle()
    fleet.send(0, "a.new")
    fleet.cycle()
    assert "a.new" not in fleet.held("a")
    fleet.engines[1].forget("a.m0")
    fleet.cycle()
    fleet.send(0, "a.new")
    fleet.cycle()
    assert "a.new" in fleet.held("a")


def test_what_throughput_rejects_holds_no_place() -> None:
    fleet = Fleet(1)
    fleet.send(0, *(f"c.m{k}" for k in range(5)))
    fleet.cycle()
    assert len(fleet.held("c")) == 3
    fleet.cycle()
    assert {name for name in fleet.stock.names if name.startswith("c.")} == fleet.held("c")


def test_loaded_metrics_are_declared_whatever_the_limits() -> None:
    fleet = Fleet(2)
    for k in range(LIMIT + 2):
        fleet.engines[0].load(f"a.m{k}")
    fleet.cycle()
    fleet.send(1, "a.other")
    fleet.cycle()
    assert fleet.dropped(1) == {("a", "metrics"): 1}
    assert len(fleet.stock.names) == LIMIT + 2


def test_a_node_that_starts_with_metrics_declares_them() -> None:
    fleet = Fleet(2)
    fleet.send(0, *(f"a.m{k}" for k in range(LIMIT)))
    fleet.cycle()
    fleet.stock.restart(forgets=True)
    # Nothing is granted before all that the others know of have declared.
    fleet.stores[0].is_cut = True
    fleet.clock.advance(5)
    fleet.nodes[1].cycle()
    fleet.send(1, "a.other")
    fleet.nodes[1].cycle()
    assert fleet.waiting() == 1
    fleet.stores[0].is_cut = False
    for _ in range(20):
        fleet.cycle(0.4)
    assert fleet.waiting() == 0
    assert fleet.dropped(1) == {("a", "metrics"): 1}
    assert len(fleet.held("a")) == LIMIT


def test_a_store_that_forgets_all_while_a_node_is_away_lets_in_nothing_over_what_others_know() -> None:
    fleet = Fleet(3, patience=ClaimTimeouts(grace=30_000))
    fleet.send(0, "a.m0", "a.m1", "a.m2", "b.x.m")
    fleet.send(1, "a.m3")
    for _ in range(6):
        fleet.cycle()
    fleet.stores[0].is_cut = True
    fleet.stock.restart(forgets=True)
    for _ in range(100):
        fleet.cycle(0.5)
    # Nobody waits for it any more: what it held is not in the store, but the others know how much it was.
    assert {name for name in fleet.stock.names if name.startswith("a.")} == {"a.m3"}
    fleet.send(1, *(f"a.n{k}" for k in range(5)))
    fleet.send(2, "b.y.m", "b.z.m")
    fleet.cycle()
    assert len(fleet.held("a")) == LIMIT
    assert fleet.dropped(1) == {("a", "metrics"): 3}
    assert fleet.dropped(2) == {("b", "namespaces"): 1}
    # When it is back, what it holds is in the store again, and what goes gives its place back.
    fleet.stores[0].is_cut = False
    for _ in range(20):
        fleet.cycle(0.5)
    assert {name for name in fleet.stock.names if name.startswith("a.")} == fleet.held("a")
    fleet.engines[0].forget("a.m0")
    fleet.cycle()
    fleet.send(1, "a.last")
    fleet.cycle()
    assert "a.last" in fleet.held("a")
    assert fleet.stock.recalled == {}


def test_other_rules_have_everything_declared_again() -> None:
    fleet = Fleet(2)
    fleet.send(0, "z.1", "z.2")
    fleet.cycle()
    assert not fleet.stock.names
    for engine in fleet.engines:
        engine.apply(RuleSet.from_text("[z]\nmetrics = 2\n"))
    fleet.cycle()
    fleet.send(1, "z.3")
    fleet.cycle()
    assert fleet.dropped(1) == {("z", "metrics"): 1}


def test_other_amounts_of_the_same_limits_are_in_force_without_declaring_anything_again() -> None:
    fleet = Fleet(2)
    fleet.send(0, *(f"a.m{k}" for k in range(LIMIT)))
    fleet.cycle()
    runs = {name: node.number for name, node in fleet.stock.nodes.items()}
    for engine in fleet.engines:
        engine.apply(RuleSet.from_text(RULES.replace(f"metrics = {LIMIT}", f"metrics = {LIMIT + 1}")))
    fleet.send(1, "a.more", "a.too.many")
    fleet.cycle()
    assert {name: node.number for name, node in fleet.stock.nodes.items()} == runs
    assert len(fleet.held("a")) == LIMIT + 1
    assert fleet.dropped(1) == {("a", "metrics"): 1}


@pytest.mark.parametrize(("on_outage", "accepted"), [("share", 0), ("reject", 0), ("accept", LIMIT)])
def test_without_the_store_new_metrics_wait_for_a_time_and_go_by_what_is_set(
    on_outage: OnOutage, accepted: int
) -> None:
    fleet = Fleet(2, on_outage)
    fleet.send(0, "b.known")
    fleet.cycle()
    fleet.stock.is_up = False
    for number in range(2):
        fleet.send(number, *(f"a.m{number}{k}" for k in range(LIMIT + 1)))
    assert fleet.send(0, "b.known").points == 1
    fleet.cycle()
    assert "cannot be reached" in fleet.nodes[0].trouble
    assert fleet.waiting() == (0 if accepted else 2 * (LIMIT + 1))
    fleet.cycle(ROOM.seconds)
    assert fleet.waiting() == 0
    assert len(fleet.held("a")) == 2 * accepted
    assert fleet.dropped(0) == {("a", "metrics"): LIMIT + 1 - accepted}
    fleet.stock.is_up = True
    fleet.cycle(10.0)
    fleet.cycle(10.0)
    assert {name for name in fleet.stock.names if name.startswith("a.")} == fleet.held("a")
    assert not fleet.nodes[0].trouble


def test_a_blip_of_the_store_costs_no_point() -> None:
    fleet = Fleet(1)
    fleet.stock.is_up = False
    fleet.send(0, "a.x", "a.y")
    fleet.cycle()
    fleet.stock.is_up = True
    for _ in range(10):
        fleet.cycle(0.5)
    assert (fleet.held("a"), fleet.dropped(0)) == ({"a.x", "a.y"}, {})


def test_no_more_than_so_many_bytes_wait() -> None:
    fleet = Fleet(1)
    fleet.stock.is_up = False
    for k in range(300):
        fleet.send(0, f"a.metric{k:03}")
    assert fleet.holds[0].size <= ROOM.size
    assert fleet.waiting() + fleet.dropped(0)["a", "metrics"] == 300
    assert fleet.engines[0].report()["dropped.a"] == fleet.dropped(0)["a", "metrics"]


def test_it_is_told_when_claims_are_not_granted_for_long() -> None:
    fleet = Fleet(2)
    troubles = []
    for seconds, state in ((0.0, 0), (6.0, 0), (0.0, 1)):
        fleet.stock.nodes["n1"].state = state
        fleet.clock.advance(seconds)
        fleet.nodes[0].cycle()
        troubles.append(fleet.nodes[0].trouble)
    assert troubles == ["", WAITS, ""]


def test_the_store_is_asked_for_the_next_metrics_before_it_has_answered_for_the_last() -> None:
    fleet = Fleet(1)
    events: list[str] = []

    def noting(what: str, work: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 - whatever the work gives
        events.append(what)
        return work(*args)

    store, gate = fleet.stores[0], fleet.gates[0]
    store.begin_claim = partial(noting, "asked", store.begin_claim)  # type: ignore[method-assign]
    gate.apply = partial(noting, "answered", gate.apply)  # type: ignore[method-assign]
    fleet.send(0, *(f"b.x.m{k}" for k in range(6)))
    fleet.cycle()
    assert events == ["asked", "asked", "answered", "asked", "answered", "answered"]
    assert len(fleet.held("b")) == 6


def test_no_metric_is_lost_where_the_answers_of_several_steps_are() -> None:
    fleet = Fleet(2)
    fleet.send(0, *(f"a.m{k}" for k in range(4)))
    fleet.stores[0].loses = True
    fleet.cycle()
    assert (fleet.waiting(), len(fleet.held("a"))) == (4, 0)
    # They are granted already, so there is no room for as many others.
    fleet.send(1, *(f"a.n{k}" for k in range(LIMIT - 4 + 1)))
    fleet.cycle()
    assert fleet.dropped(1) == {("a", "metrics"): 1}
    fleet.stores[0].loses = False
    for _ in range(10):
        fleet.cycle(0.5)
    assert (fleet.waiting(), len(fleet.held("a"))) == (0, LIMIT)


def test_points_of_a_metric_go_on_in_their_order() -> None:
    fleet = Fleet(1)
    for value in range(3):
        fleet.batches[0].admit(f"a.x {value} 1700000000\n".encode(), fleet.gates[0])
    fleet.cycle()
    assert [admission.accepted for admission in fleet.decided[0]] == [
        b"a.x 0 1700000000\na.x 1 1700000000\na.x 2 1700000000\n"
    ]


def forget_one(fleet: Fleet, number: int, amount: int) -> None:
    names = sorted(name.decode() for name in fleet.engines[number].holdings().names)
    if names:
        fleet.engines[number].forget(names[amount % len(names)])


def kill(fleet: Fleet, number: int) -> None:
    # Who knows of a node must not be killed while the store has forgotten it: then nobody can tell that it is missing.
    if all(node.state == 1 for node in fleet.stock.nodes.values()) and len(fleet.stock.nodes) == fleet.size:
        fleet.kill(number)


def flip(store: ModelClaims, what: str) -> None:
    setattr(store, what, not getattr(store, what))


OTHER_RULES = [RuleSet.from_text(RULES), RuleSet.from_text(f"{RULES}[d]\nmetrics = 9\n")]
STEPS: dict[str, Callable[[Fleet, int, int], object]] = {
    "send": lambda fleet, number, amount: fleet.send(number, f"a.m{amount}", f"b.n{amount % 5}.m{amount}"),
    "send more": lambda fleet, number, amount: fleet.send(number, *(f"a.m{amount + k}" for k in range(4))),
    "send metered": lambda fleet, number, amount: fleet.send(number, *(f"c.m{amount + k}" for k in range(4))),
    "cycle": lambda fleet, _, __: fleet.cycle(),
    "one cycle": lambda fleet, number, _: fleet.nodes[number].cycle(),
    "wait": lambda fleet, _, amount: fleet.cycle(amount / 4),
    "forget": forget_one,
    "cut or mend": lambda fleet, number, _: flip(fleet.stores[number], "is_cut"),
    "lose answers or not": lambda fleet, number, _: flip(fleet.stores[number], "loses"),
    "down": lambda fleet, _, __: setattr(fleet.stock, "is_up", False),
    "up": lambda fleet, _, __: setattr(fleet.stock, "is_up", True),
    "restart the store": lambda fleet, _, __: fleet.stock.restart(forgets=False),
    "wipe the store": lambda fleet, _, __: fleet.stock.restart(forgets=True),
    "other rules": lambda fleet, number, amount: fleet.engines[number].apply(OTHER_RULES[amount % 2]),
    "kill": lambda fleet, number, _: kill(fleet, number),
}


@settings(max_examples=80)
@given(
    st.lists(st.tuples(st.sampled_from(list(STEPS)), st.integers(0, 2), st.integers(0, 20)), min_size=10, max_size=60)
)
def test_whatever_fails_no_limit_is_passed_and_in_the_end_the_store_holds_what_the_nodes_do(
    steps: list[tuple[str, int, int]],
) -> None:
    fleet = Fleet(3)
    for step, number, amount in steps:
        STEPS[step](fleet, number, amount)
        assert len(fleet.held("a")) <= LIMIT
        assert len({name.split(".")[1] for name in fleet.held("b")}) <= 2
    fleet.stock.is_up = True
    for store in fleet.stores:
        store.is_cut = store.loses = False
    for _ in range(30):
        fleet.cycle(1.0)
    assert fleet.waiting() == 0
    assert set(fleet.stock.names) == fleet.held("a") | fleet.held("b") | fleet.held("c")


SPELLINGS = st.lists(
    st.text(st.sampled_from("ab.;=/~-é"), min_size=1, max_size=8).filter(lambda text: text.strip("./~;=")), min_size=1
)


@given(SPELLINGS)
def test_names_of_lines_are_in_their_normal_form_however_they_are_spelled(spellings: list[str]) -> None:
    spellings = [spelled for spelled in spellings if is_name(spelled)]
    lines = [f"{spelled} 1 1700000000\n".encode() for spelled in spellings]
    assert names_of(lines) == [normalize(spelled) for spelled in spellings]


def is_name(spelled: str) -> bool:
    try:
        return bool(normalize(spelled))
    except MetricNameError:
        return False
