"""The names of namespaces: from a name to its row and back."""

from __future__ import annotations

from carbonquota.kernel._lines import UNKNOWN


class NameTable:
    """The names of namespaces, each with the row that the caller gives it. To be used under the caller's lock."""

    def __init__(self, like: NameTable | None = None) -> None:
        """Start without names. `like` is a table to share hashes with, of which this kernel has none."""
        del like
        self._rows: dict[bytes, int] = {}
        self._names: list[bytes] = []

    def __len__(self) -> int:
        """The number of names."""
        return len(self._rows)

    def find(self, name: bytes) -> int:
        """The row of a name, or UNKNOWN."""
        return self._rows.get(name, UNKNOWN)

    def insert(self, name: bytes, row: int) -> None:
        """Give a row, which no name has, to a name that is not in the table."""
        self._names.extend([b""] * (row + 1 - len(self._names)))
        self._names[row] = name
        self._rows[name] = row

    def remove(self, row: int) -> None:
        """Take out the name of a row that has one; KeyError where it has none."""
        if self._rows.get(self.name(row)) != row:
            raise KeyError(row)
        del self._rows[self.name(row)]
        self._names[row] = b""

    def name(self, row: int) -> bytes:
        """The name of a row, empty where it has none. May be asked at any time."""
        return self._names[row] if row < len(self._names) else b""
