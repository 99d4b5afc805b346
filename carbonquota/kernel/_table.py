"""The series table of the plain kernel: a dict from a metric's name to its row, and a list the other way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from carbonquota.kernel._joined import JoinedNames
from carbonquota.kernel._lines import UNKNOWN, Lines
from carbonquota.kernel._names import NameTable

Integers = NDArray[np.int64]


class SeriesTable:
    """The names of all series, each with a row number that callers key their own columns by.

    A row number is in use by one name at a time; numbers are reused. Not safe to use from two threads at once: the
    caller holds its lock around every call but `read`.
    """

    def __init__(self, namespaces: NameTable) -> None:
        """Start without series, which are to lie in these namespaces."""
        self.namespaces = namespaces
        self._rows: dict[bytes, int] = {}
        self._names: list[bytes] = []
        self._namespaces: list[int] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        """The number of series."""
        return len(self._rows)

    def copy(self) -> TableCopy:
        """A copy of all names and rows; made in a moment, as a caller with a lock wants it."""
        return TableCopy(list(self._rows), list(self._rows.values()))

    def rows(self) -> Integers:
        """The rows in use, int64, in ascending order."""
        return np.sort(np.fromiter(self._rows.values(), np.int64, len(self._rows)))

    @property
    def size(self) -> int:
        """One more than the highest row number ever given: how long a column by row must be."""
        return len(self._names)

    def find(self, name: bytes) -> int:
        """The row of a name in normal form, or UNKNOWN."""
        return self._rows.get(name, UNKNOWN)

    def namespace_of(self, row: int) -> int:
        """The row of the namespace that the series at `row` lies in."""
        return self._namespaces[row]

    def read(self, buffer: bytes) -> Lines:
        """The lines of a buffer; needs no lock."""
        return Lines(buffer)

    def insert(self, name: bytes, namespace: int) -> int:
        """The row for a name that is not in the table yet; `namespace` is the row of what is before its last dot."""
        if self._free:
            row = self._free.pop()
            self._names[row], self._namespaces[row] = name, namespace
        else:
            row = len(self._names)
            self._names.append(name)
            self._namespaces.append(namespace)
        self._rows[name] = row
        return row

    def insert_many(self, names: JoinedNames, namespaces: Integers) -> Integers:
        """`insert` for many names that differ, pairwise with their namespaces; their rows, int64."""
        rows = map(self.insert, names, namespaces.tolist())
        return np.fromiter(rows, np.int64, len(names))

    def names_at(self, rows: Integers) -> list[bytes]:
        """The names of series by their rows, in that order; every row must be in use."""
        return [self._names[row] for row in rows.tolist()]

    def remove(self, name: bytes) -> int:
        """Take a name out and give the row that it had, which may be given again; KeyError if it is not in."""
        row = self._rows.pop(name)
        self._names[row] = b""
        self._free.append(row)
        return row


class TableCopy:
    """All names and rows of a table at one moment. To be used without any lock."""

    def __init__(self, names: list[bytes], rows: list[int]) -> None:
        """These, pairwise."""
        self._names = names
        self.rows: Integers = np.array(rows, np.int64)
        """The rows that were in use, int64."""

    def names(self) -> JoinedNames:
        """The names, pairwise with `rows`."""
        return JoinedNames.of(self._names)
