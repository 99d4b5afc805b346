"""Rules matched on the way down a tree of namespaces, a component at a time.

Theory of operation. The patterns form a trie of their own, the *plan*: a node stands for the leading components that
some rules share, and knows the rule that ends there (the last in the file). Descending the tree of namespaces, the
nodes alive below a namespace are its *state*. Equal states are one number, so a namespace needs to keep one int,
and a namespace's rule is the latest of those that end in the nodes just reached.

A state is set up when it is first stepped from. Its literals are looked up, and its answers for them are kept: as
many as the file has literals. Its globs are looked at only where the name begins or ends as they do; `*` needs no
look at all, and identical globs of several nodes are tested once. What a set of nodes leads to is kept by that set,
never by the name, so names that nobody foresaw cost no memory here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Final

from carbonquota.rules.component import Component, Pattern

if TYPE_CHECKING:
    from carbonquota.rules.plan import MatchingPlan

NO_RULE: Final = -1
"""The rule index of a namespace that no rule matches."""

DEAD: Final = 0
"""The state below which no rule matches anything."""

Step = tuple[int, int]
"""A state, and the index of the rule that wins there or `NO_RULE`."""

_FEW: Final = 3
"""So many globs are tested sooner than it is found out which of them are worth it."""

_NOWHERE: Final[Step] = (DEAD, NO_RULE)
_NO_NODES: Final[list[_MatcherNode]] = []


class Matcher:
    """Finds the rule of a namespace from its parent's state.

    States are ints from 0 without gaps; 0 is `DEAD`. Any thread may step.
    """

    __slots__ = ("_flat", "_lock", "_nodes", "_numbers", "_plan", "_root", "_states", "_steps")

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        """Plan the patterns, which are in file order: their positions are the rule indices."""
        self._lock = Lock()
        self._states: list[_State | None] = [None]
        self._nodes: list[tuple[_MatcherNode, ...]] = [()]
        self._numbers: dict[tuple[_MatcherNode, ...], int] = {(): DEAD}
        self._steps: dict[tuple[int, ...], Step] = {(): _NOWHERE}
        self._plan = _plan(patterns)
        self._flat: MatchingPlan | None = None
        self._root = self._arrive(self._plan[:1])

    def __len__(self) -> int:
        """How many states there are so far."""
        return len(self._states)

    def root(self) -> Step:
        """The state and rule index of the root namespace."""
        return self._root

    def plan(self) -> MatchingPlan:
        """The plan as arrays, for a kernel that walks it; the same each time."""
        from carbonquota.rules.plan import plan_of  # noqa: PLC0415 - numpy starts threads, and carbon forks after this

        if self._flat is None:
            self._flat = plan_of(self._plan)
        return self._flat

    def arrive(self, nodes: Iterable[int]) -> Step:
        """The state and rule index of a namespace whose name leads to these nodes of the plan, and to no other."""
        return self._arrive([self._plan[number] for number in nodes])

    def alive(self, state: int) -> list[int]:
        """The nodes of the plan that are alive below a namespace in `state`, in ascending order."""
        return [node.number for node in self._nodes[state]]

    def step(self, state: int, component: str) -> Step:
        """The state and rule index of the namespace `component` below a namespace in `state`."""
        here = self._states[state] or self._set_up(state)
        if here.only is not None:
            return here.only
        answer = here.answers.get(component)
        return answer if answer is not None else self._find(here, component)

    def steps(self, state: int, names: Sequence[str]) -> list[Step]:
        """`step` for many namespaces below ones in `state`, by their full names."""
        here = self._states[state] or self._set_up(state)
        if here.only is not None:
            return [here.only] * len(names)
        answers, find = here.answers, self._find
        components = [name[name.rfind(".") + 1 :] for name in names]
        return [answers.get(component) or find(here, component) for component in components]

    def _find(self, here: _State, component: str) -> Step:
        literal = here.literal_nodes(component)
        matched = here.globs.matched(component)
        if not literal and not matched:
            return here.otherwise
        step = self._arrive([*literal, *here.globs.always, *matched])
        if literal:
            here.answers[component] = step
        return step

    def _arrive(self, nodes: list[_MatcherNode]) -> Step:
        """The step that reaches these nodes, the same object whenever it is the same set."""
        key = tuple(sorted([node.number for node in nodes]))
        step = self._steps.get(key)
        if step is None:
            rule = max((node.rule for node in nodes), default=NO_RULE)
            alive = sorted((node for node in nodes if node.children), key=lambda node: node.number)
            with self._lock:
                step = self._steps.setdefault(key, (self._number_of(tuple(alive)), rule))
        return step

    def _number_of(self, alive: tuple[_MatcherNode, ...]) -> int:
        number = self._numbers.get(alive)
        if number is None:
            number = self._numbers[alive] = len(self._states)
            self._nodes.append(alive)
            self._states.append(None)
        return number

    def _set_up(self, state: int) -> _State:
        """Make the state ready; twice at the same time does no harm, as both come out equal."""
        here = _State(self._nodes[state])
        here.otherwise = self._arrive(here.globs.always)
        if not here.has_literals and here.globs.untested:
            here.only = here.otherwise
        self._states[state] = here
        return here


class _MatcherNode:
    """A node of the plan: the last rule that ends here, and the nodes one component further on."""

    __slots__ = ("children", "globs", "literals", "number", "rule")

    def __init__(self, number: int) -> None:
        self.number = number
        self.rule = NO_RULE
        self.children: dict[Component, _MatcherNode] = {}
        self.literals: dict[str, list[_MatcherNode]] = {}
        self.globs = _NO_GLOBS

    def index(self) -> None:
        """Arrange the children for looking up, once all of them are there."""
        if not self.children:
            return
        for component, child in self.children.items():
            for literal in component.literals or ():
                self.literals.setdefault(literal, []).append(child)
        self.globs = _GlobIndex(_globs_of([self]))


class _State:
    """A set of nodes, made ready to be stepped from.

    The largest of their dictionaries of literals is used as it is and the others are merged, so that a `*` node
    with many literals below it is not copied into each of the states that it is part of.
    """

    __slots__ = ("answers", "globs", "has_literals", "most_literals", "only", "other_literals", "otherwise")

    def __init__(self, nodes: Sequence[_MatcherNode]) -> None:
        self.answers: dict[str, Step] = {}
        self.otherwise = _NOWHERE
        """Where the names lead that no literal and no glob but `*` matches."""
        self.only: Step | None = None
        """Where all names lead, if that is the same for all."""
        *others, self.most_literals = sorted((node.literals for node in nodes), key=len) or [{}]
        self.other_literals = _merged(others)
        self.has_literals = bool(self.most_literals)
        globbed = [node for node in nodes if not node.globs.empty]
        self.globs = globbed[0].globs if len(globbed) == 1 else _GlobIndex(_globs_of(globbed))

    def literal_nodes(self, name: str) -> list[_MatcherNode]:
        """The nodes to which the name leads as a literal."""
        if not self.has_literals:
            return _NO_NODES
        return self.most_literals.get(name, _NO_NODES) + self.other_literals.get(name, _NO_NODES)


class _GlobIndex:
    """Globs and the nodes they lead to, found by how the name begins or ends."""

    __slots__ = ("_anywhere", "_by_prefix", "_by_suffix", "always", "empty", "untested")

    def __init__(self, globs: Mapping[Component, list[_MatcherNode]]) -> None:
        self.empty = not globs
        self.always = [node for glob, nodes in globs.items() if glob.any_name for node in nodes]
        tested = [(glob, nodes) for glob, nodes in globs.items() if not glob.any_name]
        self.untested = not tested
        few = len(tested) <= _FEW
        self._anywhere = [(glob.matches, nodes) for glob, nodes in tested if few or not (glob.prefix or glob.suffix)]
        keyed = [] if few else tested
        self._by_prefix = _by_length((glob.prefix, glob, nodes) for glob, nodes in keyed if glob.prefix)
        self._by_suffix = _by_length(
            (glob.suffix, glob, nodes) for glob, nodes in keyed if glob.suffix and not glob.prefix
        )

    def matched(self, name: str) -> list[_MatcherNode]:
        """The nodes to which the name leads through a glob other than `*`."""
        if self.untested:
            return _NO_NODES
        tests = self._worth_testing(name) if self._by_prefix or self._by_suffix else self._anywhere
        return [node for matches, nodes in tests if matches(name) for node in nodes]

    def _worth_testing(self, name: str) -> list[_Test]:
        tests = self._anywhere.copy()
        for length, by_start in self._by_prefix:
            tests += by_start.get(name[:length], ())
        for length, by_end in self._by_suffix:
            tests += by_end.get(name[-length:], ())
        return tests


_Test = tuple[Callable[[str], bool], list[_MatcherNode]]
"""Whether a name is matched, and the nodes it leads to if so."""


def _by_length(keyed: Iterable[tuple[str, Component, list[_MatcherNode]]]) -> list[tuple[int, dict[str, list[_Test]]]]:
    """The tests of the globs by their key, the keys apart by length."""
    tests: dict[int, dict[str, list[_Test]]] = {}
    for key, glob, nodes in keyed:
        tests.setdefault(len(key), {}).setdefault(key, []).append((glob.matches, nodes))
    return sorted(tests.items())


def _globs_of(nodes: Iterable[_MatcherNode]) -> dict[Component, list[_MatcherNode]]:
    globs: dict[Component, list[_MatcherNode]] = {}
    for node in nodes:
        for component, child in node.children.items():
            if component.literals is None:
                globs.setdefault(component, []).append(child)
    return globs


def _merged(tables: Iterable[Mapping[str, list[_MatcherNode]]]) -> dict[str, list[_MatcherNode]]:
    merged: dict[str, list[_MatcherNode]] = {}
    for table in tables:
        for literal, nodes in table.items():
            merged.setdefault(literal, []).extend(nodes)
    return merged


def _plan(patterns: Sequence[Pattern]) -> list[_MatcherNode]:
    """The nodes of the trie of the patterns, by their numbers; the first is that of the root namespace."""
    nodes = [_MatcherNode(0)]
    for rule, pattern in enumerate(patterns):
        node = nodes[0]
        for component in pattern.components:
            if component not in node.children:
                node.children[component] = _MatcherNode(len(nodes))
                nodes.append(node.children[component])
            node = node.children[component]
        node.rule = rule
    for node in nodes:
        node.index()
    return nodes


_NO_GLOBS: Final = _GlobIndex({})
