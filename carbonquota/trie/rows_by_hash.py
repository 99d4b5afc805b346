"""Rows found by the hash of something that is not kept: a few bytes a row, where a dict would take a hundred.

Theory of operation. Open addressing with linear probing in one int64 array. An entry holds 31 bits of the hash and the
row; the hash's lowest bits are also where the search begins, so the array can grow without asking anybody for a hash.
Rows whose hashes are equal in these bits are all given, and the caller, who can work out what they stand for, compares.
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


class RowsByHash:
    """Rows, from 1 to 2^32 - 1, each under one hash, which may be any int64 and others' too."""

    __slots__ = ("_mask", "_most", "_slots", "_slots_at", "_used")

    def __init__(self) -> None:
        """Start without rows."""
        self._have_slots(_FEWEST_SLOTS)

    def _have_slots(self, count: int) -> None:
        """Have so many empty slots, a power of two."""
        self._slots: Column = zeros((count,), np.int64)
        self._slots_at: View = self._slots.data
        self._mask = count - 1
        self._most = count * 3 // 4
        self._used = 0

    @property
    def slot_count(self) -> int:
        """How many slots there are, of 8 bytes each."""
        return len(self._slots)

    def rows(self, key: int) -> list[int]:
        """The rows that may be under this hash, and all that are."""
        tag, slots, mask = key & _TAG, self._slots_at, self._mask
        slot, found = tag & mask, []
        while (entry := slots[slot]) != _EMPTY:
            if entry >> _ROW_BITS == tag:
                found.append(entry & _ROW)
            slot = (slot + 1) & mask
        return found

    def add(self, key: int, row: int) -> None:
        """Put a row under a hash."""
        if self._used == self._most:
            self._make_room(1)
        tag, slots, mask = key & _TAG, self._slots_at, self._mask
        slot = tag & mask
        while slots[slot] != _EMPTY:
            slot = (slot + 1) & mask
        slots[slot] = tag << _ROW_BITS | row
        self._used += 1

    def add_first(self, key: int, row: int) -> bool:
        """`add` where no row may be under this hash yet; whether that was so."""
        if self._used == self._most:
            self._make_room(1)
        tag, slots, mask = key & _TAG, self._slots_at, self._mask
        slot = tag & mask
        while (entry := slots[slot]) != _EMPTY:
            if entry >> _ROW_BITS == tag:
                return False
            slot = (slot + 1) & mask
        slots[slot] = tag << _ROW_BITS | row
        self._used += 1
        return True

    def remove(self, key: int, row: int) -> None:
        """Take a row out that was put under this hash."""
        tag, slots, mask = key & _TAG, self._slots_at, self._mask
        entry, slot = tag << _ROW_BITS | row, tag & mask
        while slots[slot] != entry:
            slot = (slot + 1) & mask
        slots[slot] = _REMOVED

    def any_known(self, keys: Column) -> Column:
        """The places of the hashes, of those given, under which there may be rows already, in ascending order."""
        tags, places, known = keys & _TAG, np.arange(len(keys)), [np.zeros(0, np.int64)]
        at = tags & self._mask
        while len(places):
            entries = self._slots[at]
            empty = entries == _EMPTY
            met = (entries >> _ROW_BITS == tags) & ~empty
            known.append(places[met])
            on = ~(empty | met)
            tags, places, at = tags[on], places[on], (at[on] + 1) & self._mask
        return np.sort(np.concatenate(known))

    def add_many(self, keys: Column, rows: Column) -> None:
        """`add` for many, pairwise."""
        self._make_room(len(rows))
        self._place((keys & _TAG) << _ROW_BITS | rows)

    def _make_room(self, count: int) -> None:
        """Have a quarter of the slots be empty still with so many rows more."""
        if self._used + count <= self._most:
            return
        entries = self._slots[self._slots > 0]
        # Some are to be left over, or rows that come and go would have this done over and over.
        least = (len(entries) + count) * 3 // 2 + _FEWEST_SLOTS
        self._have_slots(1 << (least - 1).bit_length())
        self._place(entries)

    def _place(self, entries: Column) -> None:
        """Put entries into empty slots."""
        self._used += len(entries)
        at = entries >> _ROW_BITS & self._mask
        while len(entries):
            empty = self._slots[at] == _EMPTY
            self._slots[at[empty]] = entries[empty]
            # Of several that had the same slot in view, one has it now.
            lost = self._slots[at] != entries
            entries, at = entries[lost], (at[lost] + 1) & self._mask
