"""Rows found by the hash of something that is not kept: a few bytes a row, where a dict would take a hundred.

Theory of operation. Open addressing with linear probing in an int64 array. An entry holds 31 bits of the hash and the
row; the hash's lowest bits are also where the search begins, so an array can grow without asking anybody for a hash.
Rows whose hashes are equal in these bits are all given, and the caller, who can work out what they stand for, compares.

When an array is full, another one takes what comes, and with it a part of what the full one has, until that is empty.
So nobody waits until a hundred thousand rows have been moved. Rows are looked for in both meanwhile.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from carbonquota.kernel import zeros
from carbonquota.trie.columns import Column, View

_EMPTY: Final = 0
_REMOVED: Final = -1
_TAG: Final = 2**31 - 1
_ROW_BITS: Final = 32
_ROW: Final = 2**_ROW_BITS - 1
_FEWEST_SLOTS: Final = 64
_MOVED: Final = 32_768
"""So many slots of a full array are emptied at a time: a millisecond or two."""
_SINGLES: Final = 1024
"""Rows that are put in one by one before that is done again; a power of two."""


class RowsByHash:
    """Rows, from 1 to 2^32 - 1, each under one hash, which may be any int64 and others' too."""

    __slots__ = ("_full", "_left", "_moved", "_slots")

    def __init__(self) -> None:
        """Start without rows."""
        self._slots = _Slots(_FEWEST_SLOTS)
        self._full: _Slots | None = None
        self._moved = 0
        """So many of its slots are empty."""
        self._left = 0
        """So many rows there are in it, at most."""

    def rows(self, key: int) -> list[int]:
        """The rows that may be under this hash, and all that are."""
        rows = self._slots.rows(key & _TAG)
        return rows if self._full is None else self._full.rows(key & _TAG) + rows

    def add(self, key: int, row: int) -> None:
        """Put a row under a hash."""
        self._make_room(1)
        self._slots.put(key & _TAG, row)
        if not self._slots.used & (_SINGLES - 1):
            self._move()

    def add_first(self, key: int, row: int) -> bool:
        """`add` where no row may be under this hash yet; whether that was so."""
        if self.rows(key):
            return False
        self.add(key, row)
        return True

    def remove(self, key: int, row: int) -> None:
        """Take a row out that was put under this hash."""
        if not self._slots.take_out(key & _TAG, row) and self._full is not None:
            self._full.take_out(key & _TAG, row)

    def any_known(self, keys: Column) -> Column:
        """The places of the hashes, of those given, under which there may be rows already, in ascending order."""
        known = [slots.any_known(keys & _TAG) for slots in (self._slots, self._full) if slots is not None]
        return np.unique(np.concatenate(known))

    def add_many(self, keys: Column, rows: Column) -> None:
        """`add` for many, pairwise."""
        grew = self._make_room(len(rows))
        self._slots.put_many((keys & _TAG) << _ROW_BITS | rows)
        if not grew:
            self._move()

    def _make_room(self, count: int) -> bool:
        """Have a quarter of the slots be empty still with so many rows more; whether it took another array."""
        if not self.lacks_room(count):
            return False
        self.take_room(self.room(count))
        return True

    def lacks_room(self, count: int) -> bool:
        """Whether it takes another array to put so many rows in."""
        return self._slots.used + self._left + count > self._slots.most

    def room(self, count: int) -> Room:
        """What `take_room` takes for so many rows more; needs no lock."""
        # Some are to be left over, or rows that come and go would have this done over and over.
        least = (self._slots.rows_held + self._left + count) * 3 // 2 + _FEWEST_SLOTS
        return _Slots(1 << (least - 1).bit_length())

    def take_room(self, larger: Room) -> None:
        """Put what comes into this array from now on."""
        if self._full is not None:
            larger.put_many(self._full.empty(self._moved, self._full.count))
        self._full, self._slots, self._moved, self._left = self._slots, larger, 0, self._slots.rows_held
        if self._full.count <= _MOVED:
            self._move()

    def _move(self) -> None:
        """Have the array that takes what comes take some of what the full one has, too."""
        if self._full is None:
            return
        entries = self._full.empty(self._moved, self._moved + _MOVED)
        self._slots.put_many(entries)
        self._moved += _MOVED
        self._left -= len(entries)
        if self._moved >= self._full.count:
            self._full, self._left = None, 0


class _Slots:
    """One array of a fixed size, with at most `most` of its slots `used`: by `rows_held` rows, and rows that went."""

    __slots__ = ("_mask", "_slots", "_slots_at", "count", "most", "rows_held", "used")

    def __init__(self, count: int) -> None:
        """Have so many empty slots, a power of two."""
        self._slots: Column = zeros((count,), np.int64)
        # Now, and not each part of it when it is met with: that may take microseconds each.
        self._slots.fill(_EMPTY)
        self._slots_at: View = self._slots.data
        self._mask = count - 1
        self.count = count
        self.most = count * 3 // 4
        self.used = 0
        self.rows_held = 0

    def rows(self, tag: int) -> list[int]:
        """The rows under hashes of this tag."""
        slots, mask = self._slots_at, self._mask
        slot, found = tag & mask, []
        while (entry := slots[slot]) != _EMPTY:
            if entry >> _ROW_BITS == tag:
                found.append(entry & _ROW)
            slot = (slot + 1) & mask
        return found

    def put(self, tag: int, row: int) -> None:
        """Put a row in; there is to be room."""
        slots, mask = self._slots_at, self._mask
        slot = tag & mask
        while slots[slot] != _EMPTY:
            slot = (slot + 1) & mask
        slots[slot] = tag << _ROW_BITS | row
        self.used += 1
        self.rows_held += 1

    def take_out(self, tag: int, row: int) -> bool:
        """Take a row out; whether it was there."""
        slots, mask = self._slots_at, self._mask
        sought, slot = tag << _ROW_BITS | row, tag & mask
        while (entry := slots[slot]) != _EMPTY:
            if entry == sought:
                slots[slot] = _REMOVED
                self.rows_held -= 1
                return True
            slot = (slot + 1) & mask
        return False

    def any_known(self, tags: Column) -> Column:
        """The places of the tags that are in use, in any order."""
        places, known = np.arange(len(tags)), [np.zeros(0, np.int64)]
        at = tags & self._mask
        while len(places):
            entries = self._slots[at]
            empty = entries == _EMPTY
            met = (entries >> _ROW_BITS == tags) & ~empty
            known.append(places[met])
            on = ~(empty | met)
            tags, places, at = tags[on], places[on], (at[on] + 1) & self._mask
        return np.concatenate(known)

    def put_many(self, entries: Column) -> None:
        """Put entries, as slots have them, into empty slots."""
        self.used += len(entries)
        self.rows_held += len(entries)
        at = entries >> _ROW_BITS & self._mask
        while len(entries):
            empty = self._slots[at] == _EMPTY
            self._slots[at[empty]] = entries[empty]
            # Of several that had the same slot in view, one has it now.
            lost = self._slots[at] != entries
            entries, at = entries[lost], (at[lost] + 1) & self._mask

    def empty(self, start: int, end: int) -> Column:
        """Take out and give all entries of this stretch of slots."""
        stretch = self._slots[start:end]
        used = stretch > 0
        entries = stretch[used]
        stretch[used] = _REMOVED
        self.rows_held -= len(entries)
        return entries


Room = _Slots
"""An empty array."""
