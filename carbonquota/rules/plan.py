"""A matcher's plan as arrays, for a kernel to walk: its nodes, the edges between them, and the globs as programs.

Theory of operation. What `Matcher` keeps in dictionaries stands here side by side: of each node the edges that are
tried with every name, and those found by a key, which is a literal or what a glob's names begin or end with. A
glob's program is one or more alternatives of elements, as `kernel/_globs.h` reads them. A component whose braces
multiply out to too many alternatives has no program; what its node leads to is then left to the matcher itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from carbonquota.rules.component import Component
from carbonquota.rules.glob import ANY_CHARACTER, AnyRun, Characters, Token

LITERAL, PREFIX, SUFFIX = range(3)
"""What a key is: a whole name, or what it begins or ends with."""

_NO_GLOB: Final = -1
_ANY_CHARACTER, _ANY_RUN, _OR, _END, _CLASS = -1, -2, -3, -4, -5
_FEW: Final = 3
"""So many globs of a node are tried sooner than it is found out which of them are worth it."""

Edge = tuple[int, int]
"""The number of a glob or -1 for any name, and the node that it leads to."""
Key = tuple[int, int, int, int, int, int]


class PlanNode(Protocol):
    """A node of the plan, as the matcher has it."""

    @property
    def number(self) -> int:
        """Its place among all nodes."""

    @property
    def children(self) -> dict[Component, Any]:
        """The nodes one component further on."""


@dataclass(frozen=True, slots=True)
class MatchingPlan:
    """All arrays, C-contiguous.

    `programs` (int32) has one program after the other, the one of glob g at `program_of[g]`. `nodes` (int32, shape
    (nodes, 4)) has where a node's rows of `edges` (int32, shape (edges, 2)) and of `lengths` (int32, shape (lengths,
    2): kind of key and its length in bytes) begin and how many there are. `keys` (int64, shape (keys, 6)) are node,
    kind, glob, child, and where in `texts` the key is and how long. `beyond` are the nodes that only the matcher can
    step from.
    """

    programs: NDArray[np.int32]
    program_of: NDArray[np.int32]
    nodes: NDArray[np.int32]
    edges: NDArray[np.int32]
    lengths: NDArray[np.int32]
    keys: NDArray[np.int64]
    texts: bytes
    beyond: frozenset[int]


def plan_of(nodes: Sequence[PlanNode]) -> MatchingPlan:
    """The plan of these nodes, which are in the order of their numbers."""
    return _Planner().plan(nodes)


class _Planner:
    """Gathers what goes into the arrays."""

    def __init__(self) -> None:
        """Start without anything."""
        self._programs: list[int] = []
        self._program_of: list[int] = []
        self._globs: dict[Component, int | None] = {}
        self._nodes: list[tuple[int, int, int, int]] = []
        self._edges: list[Edge] = []
        self._lengths: list[tuple[int, int]] = []
        self._keys: list[Key] = []
        self._texts = bytearray()
        self._beyond: set[int] = set()

    def plan(self, nodes: Sequence[PlanNode]) -> MatchingPlan:
        """All arrays for these nodes."""
        for node in nodes:
            self._add(node)
        return MatchingPlan(
            programs=np.array(self._programs, np.int32),
            program_of=np.array(self._program_of, np.int32),
            nodes=_table(self._nodes, 4, np.int32),
            edges=_table(self._edges, 2, np.int32),
            lengths=_table(self._lengths, 2, np.int32),
            keys=_table(self._keys, 6, np.int64),
            texts=bytes(self._texts),
            beyond=frozenset(self._beyond),
        )

    def _add(self, node: PlanNode) -> None:
        """Note a node with its edges."""
        first_edge, first_length = len(self._edges), len(self._lengths)
        tested: list[tuple[Component, Edge]] = []
        lengths: set[tuple[int, int]] = set()
        for component, child in node.children.items():
            if component.any_name:
                self._edges.append((_NO_GLOB, child.number))
            elif component.literals is not None:
                for literal in component.literals:
                    self._key(node.number, LITERAL, literal, (_NO_GLOB, child.number))
                lengths.add((LITERAL, 0))
            elif (glob := self._glob(component)) is None:
                self._beyond.add(node.number)
            else:
                tested.append((component, (glob, child.number)))
        for component, edge in tested:
            kind, key = (PREFIX, component.prefix) if component.prefix else (SUFFIX, component.suffix)
            if len(tested) <= _FEW or not key:
                self._edges.append(edge)
            else:
                self._key(node.number, kind, key, edge)
                lengths.add((kind, len(key.encode())))
        self._lengths += sorted(lengths)
        self._nodes.append((first_edge, len(self._edges) - first_edge, first_length, len(self._lengths) - first_length))

    def _key(self, node: int, kind: int, key: str, edge: Edge) -> None:
        """Note an edge that is found by a key."""
        text = key.encode()
        self._keys.append((node, kind, *edge, len(self._texts), len(text)))
        self._texts += text

    def _glob(self, component: Component) -> int | None:
        """The number of a glob, or None where it has no program."""
        if component not in self._globs:
            self._globs[component] = self._new_glob(component)
        return self._globs[component]

    def _new_glob(self, component: Component) -> int | None:
        """The same for one that was not met before."""
        if component.spellings is None:
            return None
        self._program_of.append(len(self._programs))
        for spelling in component.spellings:
            self._programs += [*chain.from_iterable(map(_element, spelling)), _OR]
        self._programs[-1] = _END
        return len(self._program_of) - 1


def _element(token: Token) -> Iterable[int]:
    """One element of a program."""
    if isinstance(token, str):
        return (ord(token),)
    if isinstance(token, AnyRun):
        return (_ANY_RUN,)
    if token == ANY_CHARACTER:
        return (_ANY_CHARACTER,)
    if isinstance(token, Characters):
        return (_CLASS, token.negated, len(token.ranges), *chain.from_iterable(token.ranges))
    raise TypeError(f"{token} is no element of a component that is spelled out")


def _table(rows: Sequence[Sequence[int]], width: int, dtype: Any) -> NDArray[Any]:  # noqa: ANN401 - whichever it is
    """Rows as an array, also where there are none."""
    return np.array(rows, dtype).reshape(-1, width)
