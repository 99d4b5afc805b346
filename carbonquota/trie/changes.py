"""What came to an index and went since somebody asked, kept as runs of names, as that is how it is written to disk.

A flood of new metrics is one name after the other of the same size. An object for each would cost several times as much
as the bytes of its name, so names are kept joined, and told one by one only to whom asks for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from carbonquota.model import Size
from carbonquota.trie.holdings import Change


class ChangeRun(NamedTuple):
    """Series that came, or got another size (`size`), or went (None), in order.

    `names` are in normal form, each ended by a line feed, and `series` is how many.
    """

    size: Size | None
    series: int
    names: bytes

    def changes(self) -> Iterator[Change]:
        """The same one by one."""
        return (Change(name, self.size) for name in self.names.split(b"\n")[:-1])


class ChangeLog:
    """The changes since the last `take`, in order."""

    __slots__ = ("_names", "_runs", "_size")

    def __init__(self) -> None:
        self._runs: list[ChangeRun] = []
        # The run that goes on: single names, all with this size.
        self._size: Size | None = None
        self._names: list[bytes] = []

    def __bool__(self) -> bool:
        """Whether there are any; the only thing that may be asked without the index's lock."""
        return bool(self._names or self._runs)

    def note(self, name: bytes, size: Size | None) -> None:
        """One series came, got another size, or went."""
        if size is not self._size:
            self._end_run()
            self._size = size
        self._names.append(name)

    def note_run(self, size: Size, count: int, names: bytes) -> None:
        """So many series came, all of this size; `names` as `ChangeRun` has them."""
        if count:
            self._end_run()
            self._runs.append(ChangeRun(size, count, names))

    def mark(self) -> int:
        """Where the log stands, for `rewind`."""
        self._end_run()
        return len(self._runs)

    def rewind(self, mark: int) -> None:
        """Forget what came since `mark` was given; nothing may have been taken meanwhile."""
        self._names.clear()
        del self._runs[mark:]

    def take(self) -> list[ChangeRun]:
        """All of them, which are forgotten here."""
        self._end_run()
        runs, self._runs = self._runs, []
        return runs

    def _end_run(self) -> None:
        if self._names:
            names, self._names = self._names, []
            self._runs.append(ChangeRun(self._size, len(names), b"\n".join(names) + b"\n"))
