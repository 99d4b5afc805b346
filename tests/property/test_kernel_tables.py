"""Either kernel's tables are dicts from names to rows, whatever comes and goes, and whoever reads meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from carbonquota.kernel import UNKNOWN, JoinedNames
from tests.support.example_counts import examples
from tests.support.kernels import KERNELS, PLAIN, Copy, Kernel

LONGEST = 16_384
SPACES = (b"", b"a", b"a.b", b"a.b.c", b"abcdefgh", b"s" * 100, b"d" + b".d" * 254, b"w" * 16_000, b"w" * 16_382)
LEAVES = (
    b"a", b"b", b"c", b"0", b"ab", b"abcdefgh", b"\xff", b"b;t=1.5", b"n" * 27, b"n" * 28, b"n" * 200, b"n" * 254,
    b"n" * 255, b"n" * 256, b"n" * 257, b"m" * 383, b"x" * LONGEST,
)  # fmt: skip
ROWS = (1, 2, 3, 70, 65_535, 65_536, 140_000)
"""Of namespaces, beside the root's."""


def series_at(place: tuple[int, int]) -> tuple[bytes, bytes]:
    """The name of a series and of its namespace, by their numbers: the names themselves are too long to show."""
    space, leaf = SPACES[place[0]], LEAVES[place[1]]
    return space + b"." + leaf if space else leaf, space


places = st.tuples(st.integers(0, len(SPACES) - 1), st.integers(0, len(LEAVES) - 1)).filter(
    lambda place: len(series_at(place)[0]) <= LONGEST
)


class TablesAreDicts(RuleBasedStateMachine):
    """Namespaces and series come and go beside dicts that keep their rows; copies are kept and looked at later."""

    kernel: Kernel

    def __init__(self) -> None:
        super().__init__()
        self.names = self.kernel.new_names()
        self.table = self.kernel.new_series(self.names)
        self.spaces = {b"": 0}
        self.names.insert(b"", 0)
        self.held: dict[bytes, tuple[int, int]] = {}
        self.copies: list[tuple[Copy, dict[bytes, int]]] = []

    @initialize(number=st.sampled_from([0, 70, 1500]))
    def fill(self, number: int) -> None:
        for count in range(number):
            name = b"filler%d" % count
            self.held[name] = self.table.insert(name, 0), 0

    def row_in(self, space: bytes) -> int:
        """The row of a namespace, which is created where it is not there."""
        if space not in self.spaces:
            self.spaces[space] = next(row for row in (*ROWS, *range(4, 70)) if row not in self.spaces.values())
            self.names.insert(space, self.spaces[space])
        return self.spaces[space]

    @rule(place=places)
    def insert(self, place: tuple[int, int]) -> None:
        name, above = series_at(place)
        if name not in self.held:
            space = self.row_in(above)
            self.held[name] = self.table.insert(name, space), space

    @rule(drawn=st.lists(places, max_size=8))
    def insert_many(self, drawn: list[tuple[int, int]]) -> None:
        series = dict(series_at(place) for place in drawn)
        spaces = {name: self.row_in(above) for name, above in series.items() if name not in self.held}
        rows = self.table.insert_many(JoinedNames.of(spaces), np.array([*spaces.values()], np.int64))
        self.held |= dict(zip(spaces, zip(rows.tolist(), spaces.values(), strict=True), strict=True))

    @rule(place=places)
    def remove(self, place: tuple[int, int]) -> None:
        name, _ = series_at(place)
        if name in self.held:
            assert self.table.remove(name) == self.held.pop(name)[0]
        else:
            with pytest.raises(KeyError):
                self.table.remove(name)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def remove_many(self, data: st.DataObject) -> None:
        held = [*self.held]
        for number in data.draw(st.sets(st.integers(0, len(held) - 1), max_size=20)):
            name = held[number]
            assert self.table.remove(name) == self.held.pop(name)[0]

    @rule(number=st.integers(1, len(SPACES) - 1), other=st.sampled_from([None, b"renamed", b"r" * 50]))
    def remove_or_rename_namespace(self, number: int, other: bytes | None) -> None:
        """One that has no series; its row may at once be another's."""
        space = SPACES[number]
        if space not in self.spaces or self.spaces[space] in {row for _, row in self.held.values()}:
            return
        row = self.spaces.pop(space)
        self.names.remove(row)
        assert (self.names.find(space), self.names.name(row)) == (UNKNOWN, b"")
        if other is not None and other not in self.spaces:
            self.names.insert(other, row)
            self.spaces[other] = row

    @rule(batch=st.lists(places, max_size=30))
    def read(self, batch: list[tuple[int, int]]) -> None:
        names = [series_at(place)[0] for place in batch]
        rows = self.kernel.look_up(self.table, b"".join(name + b" 1 1\n" for name in names))
        for name, row in zip(names, rows, strict=True):
            own = self.held.get(name, (UNKNOWN, 0))[0]
            assert row == own or (self.kernel is PLAIN and row == UNKNOWN)

    @rule(place=places)
    def find(self, place: tuple[int, int]) -> None:
        name, space = series_at(place)
        assert self.table.find(name) == self.held.get(name, (UNKNOWN, 0))[0]
        assert self.names.find(space) == self.spaces.get(space, UNKNOWN)

    @rule()
    def name_rows(self) -> None:
        rows = self.table.rows()
        assert rows.dtype == np.int64
        names = dict(zip(self.table.names_at(rows), rows.tolist(), strict=True))
        assert names == {name: row for name, (row, _) in self.held.items()}
        assert all(self.table.namespace_of(row) == space for row, space in self.held.values())
        assert {self.names.name(row): row for row in self.spaces.values()} == self.spaces

    @precondition(lambda self: len(self.copies) < 3)
    @rule()
    def copy(self) -> None:
        self.copies.append((self.table.copy(), {name: row for name, (row, _) in self.held.items()}))

    @rule(keep=st.booleans())
    def look_at_copies(self, *, keep: bool) -> None:
        for copy, held in self.copies:
            names = list(copy.names())
            assert dict(zip(names, copy.rows.tolist(), strict=True)) == held
            assert len(names) == len(held)
        if not keep:
            del self.copies[:1]

    @invariant()
    def rows_are_distinct_and_below_the_size(self) -> None:
        rows = {row for row, _ in self.held.values()}
        assert len(rows) == len(self.held) == len(self.table)
        assert max(rows, default=-1) < self.table.size
        assert len(self.names) == len(self.spaces)

    def teardown(self) -> None:
        self.name_rows()
        self.look_at_copies(keep=True)


def machine_of(of_kernel: Kernel) -> Callable[..., Any]:
    """The test case that runs all this on one kernel."""

    class OnKernel(TablesAreDicts):
        kernel = of_kernel

    OnKernel.__qualname__ = OnKernel.__name__ = f"OnThe{of_kernel.name.title()}Kernel"
    case: Any = OnKernel.TestCase
    case.settings = settings(max_examples=examples(60), stateful_step_count=40)
    return case  # type: ignore[no-any-return]


test_the_plain_tables_are_dicts_from_names_to_rows = machine_of(PLAIN)
if len(KERNELS) > 1:
    test_the_compiled_tables_are_dicts_from_names_to_rows = machine_of(KERNELS[1])
