"""Which customers are in memory, each with a number: its position in all columns. Number 0 is nobody.

Theory of operation. A server holds `most` customers. Whoever it is asked for beyond that is read from the database, and
those that were asked for least recently are let go. A thread may be at work with a number at that moment. So one who is
let go cannot be found by its name any more, but keeps its number and its columns, and what is read of it goes on to be
put there; who asks for it meanwhile has it back without the database. Only after a while, and once nothing is granted
of it any more, the number is free for another.

The number is not the customer's id in the database: that one never changes, and stands in all that is stored. Whoever
calls has the book's lock; single entries may be read without.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    View = memoryview[Any]
else:
    View = memoryview

Numbers = NDArray[np.int64]


class HeldCustomers:
    """Customers in memory, by name, by number and by id."""

    def __init__(self, most: int) -> None:
        """Hold nobody yet, and not more than `most` for long."""
        self.most = most
        self.is_complete = True
        """Whether all customers that there are are held."""
        self.numbers: dict[str, int] = {}
        """By name."""
        self.names: list[str] = [""]
        """By number; empty where there is no such customer any more."""
        self.ids = np.zeros(1, np.int64)
        """By number; 0 where a number is free."""
        self._used = np.zeros(1, np.float64)
        self.used: View = memoryview(self._used)  # type: ignore[arg-type] # numpy's types do not say that it is a buffer
        """When each was last asked for, by number, in seconds since the epoch; 0 where it cannot be found by name."""
        self._at = np.zeros(1, np.int32)
        self._leaving: dict[int, float] = {}
        self._leaving_names: dict[str, int] = {}
        self._free: list[int] = []
        self._end = 1

    def at(self, ids: Numbers) -> Numbers:
        """The numbers of customers by their ids, 0 where they are not in memory."""
        known = ids < len(self._at)
        found: Numbers = self._at[np.where(known, ids, 0)].astype(np.int64)
        return found

    def at_one(self, id: int) -> int:  # noqa: A002 - it is called so
        """The number of one, or 0."""
        return int(self._at[id]) if id < len(self._at) else 0

    def put(self, ids: Sequence[int], names: Sequence[str], now: float) -> Numbers:
        """Hold these, one or more; their numbers."""
        numbers = self.at(np.array(ids, np.int64))
        new = np.flatnonzero(numbers == 0)
        if len(new):
            numbers[new] = self._take(len(new))
            self._reserve_ids(max(ids) + 1)
        self._at[ids] = numbers
        self.ids[numbers] = ids
        self._used[numbers] = now
        listed: list[int] = numbers.tolist()
        self.numbers.update(zip(names, listed, strict=True))
        if listed == list(range(listed[0], listed[0] + len(listed))):
            self.names[listed[0] : listed[0] + len(listed)] = names
        else:
            for name, number in zip(names, listed, strict=True):
                self.names[number] = name
        if self._leaving:
            for name, number in zip(names, listed, strict=True):
                self._leaving.pop(number, None)
                self._leaving_names.pop(name, None)
        return numbers

    def _take(self, count: int) -> Numbers:
        """Numbers that nobody has."""
        there = self._free[len(self._free) - min(count, len(self._free)) :]
        del self._free[len(self._free) - len(there) :]
        more = np.arange(self._end, self._end + count - len(there))
        self._end += len(more)
        self._reserve(self._end)
        return np.concatenate((np.array(there, np.int64), more))

    def _reserve(self, size: int) -> None:
        """Have room for numbers below `size`."""
        if size <= len(self.names):
            return
        size += size // 8 + 256
        self.names.extend([""] * (size - len(self.names)))
        self.ids, self._used = _longer(self.ids, size), _longer(self._used, size)
        self.used = memoryview(self._used)  # type: ignore[arg-type] # as above

    def _reserve_ids(self, size: int) -> None:
        if size > len(self._at):
            self._at = _longer(self._at, size + size // 8 + 256)

    @property
    def size(self) -> int:
        """All numbers are below that."""
        return len(self.names)

    def delete(self, id: int, name: str, now: float) -> int:  # noqa: A002 - it is called so
        """There is no such customer any more; the number that it had, or 0."""
        number = self.at_one(id)
        if number:
            self.numbers.pop(name, None)
            self._leaving_names.pop(name, None)
            self.names[number], self._used[number] = "", 0.0
            self._leaving[number] = now
        return number

    def found(self, name: str, now: float) -> int | None:
        """One's number, which is noted as asked for, also where it was let go a moment ago; None where it is away."""
        number = self.numbers.get(name)
        if number is None:
            number = self._leaving_names.pop(name, None)
            if number is None:
                return None
            del self._leaving[number]
            self.numbers[name] = number
        self._used[number] = now
        return number

    def note_used(self, numbers: Sequence[int], now: float) -> None:
        """These were asked for."""
        some = np.array(numbers, np.int64)
        # Who is leaving, or nobody, stays so.
        self._used[some[self._used[some] > 0]] = now

    def least_used(self) -> Numbers:
        """The numbers of all that can be found by name, those asked for least recently first."""
        numbers = np.flatnonzero(self._used)
        ordered: Numbers = numbers[np.argsort(self._used[numbers], kind="stable")]
        return ordered

    def let_go(self, numbers: Iterable[int], now: float) -> None:
        """These are not found by name any more."""
        for number in numbers:
            name = self.names[number]
            self._used[number] = 0.0
            # A thread may have noted a use of one who was gone already.
            if self.numbers.pop(name, None) is not None:
                self.is_complete = False
                self._leaving[number] = now
                self._leaving_names[name] = number

    def left_before(self, moment: float) -> Numbers:
        """The numbers of those that were let go by then, and not asked for since."""
        return np.array([number for number, since in self._leaving.items() if since <= moment], np.int64)

    def free(self, number: int) -> None:
        """Another may have this number."""
        self._leaving_names.pop(self.names[number], None)
        del self._leaving[number]
        self._at[self.ids[number]] = 0
        self.ids[number] = 0
        self._used[number] = 0.0
        self.names[number] = ""
        self._free.append(number)


def _longer(column: NDArray[Any], size: int) -> NDArray[Any]:
    longer = np.zeros(size, column.dtype)
    longer[: len(column)] = column
    return longer
