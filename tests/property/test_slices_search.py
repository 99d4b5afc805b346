"""Slices of one limit, searched exhaustively: three nodes, a store, and everything that may fail between them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

from carbonquota.cluster.store import IntervalSpan, Membership, SliceRequest
from tests.support.slice_store import ModelStore, Shelf

NODES: Final = 3
LIMIT: Final = 3
LENGTH: Final = 2
LAPSE: Final = 1
SECONDS: Final = range(1, 6)
"""The end of one interval, all of the next and the beginning of a third."""
LIMIT_NAME: Final = b"limit"


Members = tuple[tuple[int, int], ...]
"""Of each node: when it was last heard, and by how much it divides."""


class Node(NamedTuple):
    """A node at one moment, as `PrepaidNode` has it; it divides by `share` where it is alone."""

    allowed: int = 0
    used: int = 0
    share: int = NODES
    last_attempt: int = 0
    is_alone: bool = False
    has_acted: bool = False


class State(NamedTuple):
    """All nodes and the store at one moment, in whole seconds."""

    now: int
    nodes: tuple[Node, ...]
    members: Members
    given: int
    lapsed: tuple[int, ...] | None

    @property
    def canonical(self) -> State:
        """The same with the nodes in some order: which one is which makes no difference."""
        pairs = sorted(zip(self.nodes, self.members, strict=True))
        return self._replace(nodes=tuple(node for node, _ in pairs), members=tuple(member for _, member in pairs))

    @property
    def used(self) -> int:
        """The points of the running interval, over all nodes."""
        return sum(node.used for node in self.nodes)


def begin() -> State:
    """All nodes know each other, in the middle of an interval of which nothing is given out yet."""
    now = SECONDS[0]
    return State(now, (Node(last_attempt=now - 1),) * NODES, ((now - 1, NODES),) * NODES, 0, ())


def steps(state: State) -> Iterator[State]:
    """What may come next: a node does something, or time passes."""
    for at, node in enumerate(state.nodes):
        if node.used < node.allowed:
            yield with_node(state, at, node._replace(used=node.allowed))
        if not node.has_acted:
            yield from acts(state, at, node._replace(has_acted=True))
    yield later(state)


def acts(state: State, at: int, node: Node) -> Iterator[State]:
    """What a node may do in a second, and what may become of it."""
    if node.is_alone:
        # It tries the store without being counted as well, until that answers.
        yield with_node(state, at, node)
        yield with_node(state, at, node._replace(is_alone=False))
        return
    asked, taken = take(state, at, node)
    tried = node._replace(last_attempt=state.now)
    yield with_node(asked, at, tried._replace(allowed=node.allowed + taken[0], share=taken[1]))
    yield with_node(asked, at, tried._replace(is_alone=True))  # its answer is lost
    yield with_node(state, at, tried._replace(is_alone=True))  # its question is
    yield with_node(state, at, node._replace(allowed=0, used=node.used, share=0))  # it is killed, and starts again
    spare = node.allowed - node.used
    if spare > 0:
        back = state._replace(given=state.given - spare)
        yield with_node(back, at, node._replace(allowed=node.used))
        yield with_node(state, at, node._replace(allowed=node.used, is_alone=True))  # the store does not get it


def take(state: State, at: int, node: Node) -> tuple[State, tuple[int, int]]:
    """The model of the store asked for a slice: the state after it, and what was given and the share that was told."""
    members, given, lapsed, *answer = ask(state.now, at, node.share, state.members, state.given, state.lapsed)
    return state._replace(members=members, given=given, lapsed=lapsed), (answer[0], answer[1])


@cache
def ask(
    now: int, at: int, share: int, members: Members, given: int, lapsed: tuple[int, ...] | None
) -> tuple[Members, int, tuple[int, ...] | None, int, int]:
    """What the store has after it was asked, what it gave, and the share that it told."""
    span = IntervalSpan(now // LENGTH, now // LENGTH * LENGTH * 1000, LENGTH * 1000)
    key = (span.length, span.number)
    shelf = Shelf(
        lambda: now * 1000,
        since=-1,
        members={str(number): (last * 1000, divisor) for number, (last, divisor) in enumerate(members)},
        given={key: {LIMIT_NAME: given}},
        lapsed={} if lapsed is None else {key: list(lapsed)},
    )
    store = ModelStore(shelf, Membership(str(at), lapse=LAPSE * 1000, forget=10**9))
    taken = store.take(span, share, [SliceRequest(LIMIT_NAME, LIMIT, 3)])
    after = tuple((shelf.members[str(n)][0] // 1000, shelf.members[str(n)][1]) for n in range(NODES))
    return after, shelf.given[key][LIMIT_NAME], tuple(sorted(shelf.lapsed[key])), taken.points[0], taken.share


def later(state: State) -> State:
    """A second later. An interval begins with nothing, or with its share for a node that the store must have missed."""
    now = state.now + 1
    nodes = tuple(node._replace(has_acted=False) for node in state.nodes)
    if now % LENGTH:
        return state._replace(now=now, nodes=nodes)
    nodes = tuple(node._replace(used=0, allowed=first(node, now)) for node in nodes)
    return state._replace(now=now, nodes=nodes, given=0, lapsed=None)


def first(node: Node, start: int) -> int:
    """What a node may accept at the beginning of an interval."""
    has_share = node.is_alone and node.share > 0 and node.last_attempt < start - LAPSE
    return LIMIT // node.share if has_share else 0


def with_node(state: State, at: int, node: Node) -> State:
    return state._replace(nodes=(*state.nodes[:at], node, *state.nodes[at + 1 :]))


def test_in_no_interleaving_of_three_nodes_is_a_limit_passed() -> None:
    seen: set[State] = set()
    ahead = [begin().canonical]
    most = 0
    while ahead:
        state = ahead.pop()
        if state in seen:
            continue
        seen.add(state)
        assert state.used <= LIMIT, state
        most = max(most, state.used)
        if state.now < SECONDS[-1]:
            ahead += [one for step in steps(state) if (one := step.canonical) not in seen]
    # It has been a search: there are ways to all of the limit.
    assert most == LIMIT
    assert len(seen) > 10_000, len(seen)
