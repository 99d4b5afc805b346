"""Both kernels side by side, so that one test can ask the same of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from carbonquota.kernel import BLANK, UNKNOWN, JoinedNames, Malformed, Survey, parse
from carbonquota.rules import RuleSet

Integers = NDArray[np.int64]
Content = bytes | Malformed | None
"""What a line is: a data point of a metric, malformed, or blank."""

CONTROLS: Final = {
    "namespaces": 0,
    "metrics": 1,
    "logical_size": 2,
    "physical_size": 3,
    "data_points": 4,
    "throughput": 5,
    "creates": 6,
}
CAPACITY_ORDER: Final = ["namespaces", "metrics", "logical_size", "physical_size", "data_points"]
"""The numbers of the controls, and those of what a namespace holds, as a ledger is told of them."""

Lines = Any
"""Either kernel's lines, which have little in common."""

Module = Any
OwnTable = Any
"""What the other kernel's has not got is asked of it, too."""


class Names(Protocol):
    """Either kernel's table of namespaces."""

    def __len__(self) -> int: ...
    def find(self, name: bytes) -> int: ...
    def insert(self, name: bytes, row: int) -> None: ...
    def remove(self, row: int) -> None: ...
    def name(self, row: int) -> bytes: ...


class Copy(Protocol):
    """Either kernel's copy of a table."""

    @property
    def rows(self) -> Integers: ...
    def names(self) -> JoinedNames: ...


class Series(Protocol):
    """Either kernel's table of series."""

    def __len__(self) -> int: ...
    @property
    def size(self) -> int: ...
    def find(self, name: bytes) -> int: ...
    def namespace_of(self, row: int) -> int: ...
    def insert(self, name: bytes, namespace: int) -> int: ...
    def insert_many(self, names: JoinedNames, namespaces: Integers) -> Integers: ...
    def remove(self, name: bytes) -> int: ...
    def names_at(self, rows: Integers) -> list[bytes]: ...
    def rows(self) -> Integers: ...
    def copy(self) -> Copy: ...
    def read(self, buffer: bytes) -> Lines: ...


class Kernel:
    """One of the kernels, and what a test has to know of how its answers are read."""

    def __init__(self, module: Module) -> None:
        self.name: str = module.NAME
        self.new_names: Callable[[], Names] = module.NameTable
        self.new_series: Callable[[Names], Series] = module.SeriesTable
        self.survey: Callable[[JoinedNames], Survey] = module.survey

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__

    def table_of(self, names: Sequence[bytes] = (), namespace: bytes = b"") -> Series:
        """A table with series that all lie in one namespace; row numbers count from 0."""
        namespaces = self.new_names()
        namespaces.insert(namespace, 0)
        table = self.new_series(namespaces)
        for name in names:
            table.insert(name, 0)
        return table

    def contents(self, lines: Lines) -> list[Content]:
        """What each line is."""
        raise NotImplementedError

    def doubts(self, lines: Lines) -> list[bool]:
        """Whether the kernel leaves a line to `parse`, or says by itself what it is."""
        raise NotImplementedError

    def rows_of(self, table: Series, lines: Lines) -> list[int]:
        """The row of each line's metric where the kernel found it, else UNKNOWN. To be called under a table's lock."""
        raise NotImplementedError

    def look_up(self, table: Series, buffer: bytes) -> list[int]:
        """The same for a buffer that came so often that the kernel has noticed what it could not find."""
        raise NotImplementedError

    def cut(self, lines: Lines, kept: Sequence[bool]) -> bytes:
        """The buffer down to these lines."""
        left: bytes = lines.without(np.array([at for at, keep in enumerate(kept) if not keep], np.int64))
        return left


class _Plain(Kernel):
    def contents(self, lines: Lines) -> list[Content]:
        return [parse(lines.line(at)) for at in range(len(lines))]

    def doubts(self, lines: Lines) -> list[bool]:
        return [False] * len(lines)

    def rows_of(self, table: OwnTable, lines: Lines) -> list[int]:
        return [table.find(name) if isinstance(name, bytes) else UNKNOWN for name in self.contents(lines)]

    def look_up(self, table: OwnTable, buffer: bytes) -> list[int]:
        return self.rows_of(table, table.read(buffer))


class _Compiled(Kernel):
    def contents(self, lines: Lines) -> list[Content]:
        return [_content(lines, at, lines.row(at)) for at in range(len(lines))]

    def doubts(self, lines: Lines) -> list[bool]:
        return [lines.row(at) is None for at in range(len(lines))]

    def rows_of(self, table: OwnTable, lines: Lines) -> list[int]:
        table.renew(lines)
        rows = [lines.row(at) for at in range(len(lines))]
        return [UNKNOWN if row is None else max(row, UNKNOWN) for row in rows]

    def look_up(self, table: Series, buffer: bytes) -> list[int]:
        return self.rows_of(table, table.read(buffer))


def _content(lines: Lines, position: int, row: int | None) -> Content:
    """What a line of the compiled kernel is, by the row that it gives it."""
    if row is None:
        return parse(lines.line(position))
    if row >= UNKNOWN:
        name: bytes = lines.name(position)
        return name
    return None if row == BLANK else Malformed(row)


PLAIN: Final[Kernel] = _Plain(import_module("carbonquota.kernel._py"))
IS_BUILT: Final = find_spec("carbonquota.kernel._cy") is not None
"""Whether there is a compiled kernel in this installation."""

COMPILED: Final[Kernel | None] = _Compiled(import_module("carbonquota.kernel._cy")) if IS_BUILT else None
KERNELS: Final[tuple[Kernel, ...]] = (PLAIN,) if COMPILED is None else (PLAIN, COMPILED)

on_each_kernel: Final = pytest.mark.parametrize("kernel", KERNELS, ids=str)
"""Runs a test once for every kernel that there is, as `kernel`."""

if_built: Final = pytest.mark.skipif(not IS_BUILT, reason="there is no compiled kernel here")


class Rows:
    """Columns that have no room for another row."""

    meter = np.zeros(3, np.int64)
    free = np.zeros(1, np.int64)
    capacity = 0


QUOTA: Final = 1
"""The row of the one quota that such a ledger knows: it holds every namespace."""


def without_missing() -> dict[str, Any]:
    """What a compiled ledger is bound to for namespaces that do not exist, where no rule matters to these."""
    kernel: Any = import_module("carbonquota.kernel._cy")
    matcher = RuleSet.from_text("").matcher()
    return {
        "narrow": {name: np.zeros(64, np.int32) for name in ("held", "rule", "state", "child_count", "named")}
        | {
            "parent": np.full(64, -1, np.int32),
            "quota_of": np.full(64, QUOTA, np.int32),
        },
        "rows": (Rows(), Rows()),
        "matcher": kernel.FlatMatcher(matcher, matcher.plan()),
        "absent": (kernel.NameTable(), 8, [np.zeros(8, np.int64) for _ in range(7)]),
        "some_reject_alone": False,
    }
