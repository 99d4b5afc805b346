"""The series table: from a metric's name to its row number, for one name or for a whole scanned buffer.

Theory of operation. A dict from name to row is the truth: single names, inserts and removals go by it. For
batches it is too slow, since with a million series each of its look-ups waits for memory several times, one
after the other. So the table keeps a second way in for batches: `BatchIndex`, open addressing in numpy arrays,
where the loads of a thousand names run side by side. It stores each name's words and compares them all, so a
row that it gives is right. It may miss a name (too far from its slot, too long to index); the caller then asks
the dict, so a miss costs time and never an answer.

Invariants: a row number is in use by one name at a time; numbers are reused; the index never gives the row of
a removed name.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, takewhile
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from carbonquota.kernel._joined import JoinedNames
from carbonquota.kernel._lines import UNKNOWN, Lines, scan
from carbonquota.kernel._memory import zeros
from carbonquota.kernel._names import NameTable
from carbonquota.kernel._words import LONGEST, WORD, Integers, WordHash, Words, aligned_words, read_words

_WAYS: Final = 8
"""Slots in a bucket: they lie side by side, so a bucket costs one wait for memory."""
_FEWEST_BUCKET_BITS: Final = 7
_CHUNK: Final = 16384
"""Names put into the batch index at a time, so that what this takes of memory stays small."""
_PATIENCE: Final = 64
"""Lines that may miss the batch index before it is brought up to date."""
_HALF: Final = np.uint64(32)
_LOW_HALF: Final = np.uint64(2**32 - 1)
_REMOVED: Final = np.uint64(2**64 - 1)
_NOT_INDEXED: Final = 0
_TOO_LONG: Final = -1

AnyNumber = TypeVar("AnyNumber", bound=np.generic)


class SeriesTable:
    """The names of all series, each with a row number that callers key their own columns by.

    Not safe to use from two threads at once: the caller holds its lock around every call.
    """

    def __init__(self, namespaces: NameTable) -> None:
        """Start without series, which are to lie in these namespaces."""
        self.namespaces = namespaces
        self._rows: dict[bytes, int] = {}
        self._namespaces = zeros((64,), np.int32)
        self._free: list[int] = []
        self._size = 0
        self._index = BatchIndex()
        self._missed = 0
        self.get: Callable[[bytes], int | None] = self._rows.get
        """The row of a name in normal form, or None: `find` at its quickest."""

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
        return self._size

    def find(self, name: bytes) -> int:
        """The row of a name in normal form, or UNKNOWN."""
        return self._rows.get(name, UNKNOWN)

    def namespace_of(self, row: int) -> int:
        """The row of the namespace that the series at `row` lies in."""
        return int(self._namespaces[row])

    def namespaces_of(self, rows: Integers) -> NDArray[np.int32]:
        """The same for many series; something for a row that is none."""
        return self._namespaces.take(rows, mode="clip")

    def read(self, buffer: bytes) -> Lines:
        """The lines of a buffer; needs no lock."""
        return scan(buffer)

    def find_lines(self, lines: Lines) -> Integers:
        """The row of each line's metric, int64, or UNKNOWN where the line or its name needs a closer look."""
        if self._missed >= _PATIENCE:
            self._missed = 0
            self._index.catch_up(self._rows, self._size)
        rows = self._index.find(lines)
        self._missed += int(np.count_nonzero(rows == UNKNOWN))
        return rows

    def insert(self, name: bytes, namespace: int) -> int:
        """The row for a name that is not in the table yet; `namespace` is the row of what is before its last dot."""
        if self._free:
            row = self._free.pop()
        else:
            row = self._size
            self._make_room(row + 1)
            self._size += 1
        self._rows[name] = row
        self._namespaces[row] = namespace
        return row

    def _make_room(self, size: int) -> None:
        """Let the column by row reach to `size`."""
        if size > len(self._namespaces):
            self._namespaces = _grown(self._namespaces, size + size // 8)

    def insert_many(self, names: JoinedNames, namespaces: Integers) -> Integers:
        """`insert` for many names that differ, pairwise with their namespaces. Batches find them at once."""
        reused = self._free[len(self._free) - min(len(names), len(self._free)) :]
        del self._free[len(self._free) - len(reused) :]
        size = self._size + len(names) - len(reused)
        rows = [*reused, *range(self._size, size)]
        self._make_room(size)
        self._size = size
        self._rows.update(zip(names, rows, strict=True))
        self._namespaces[rows] = namespaces
        self._index.catch_up(self._rows, self._size)
        return np.array(rows, np.int64)

    def names_at(self, rows: Integers) -> list[bytes]:
        """The names of series by their rows, in that order; every row must be in use."""
        self._index.catch_up(self._rows, self._size)
        names = [self._index.name(row) for row in rows.tolist()]
        if None in names:
            # Some are longer than is indexed, and only the dict has them.
            wanted = {row for row, name in zip(rows.tolist(), names, strict=True) if name is None}
            found = {row: name for name, row in self._rows.items() if row in wanted}
            return [found[row] if name is None else name for row, name in zip(rows.tolist(), names, strict=True)]
        return [name for name in names if name is not None]

    def remove(self, name: bytes) -> int:
        """Take a name out and give the row that it had, which may be given again; KeyError if it is not in."""
        row = self._rows.pop(name)
        self._free.append(row)
        self._index.drop(row)
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


class BatchIndex:
    """A hash index over names, made for looking up many at once; see the head of this file.

    A hash's upper bits choose a bucket, a row of `_slots`, filled from the left; what does not fit is in the next
    bucket. A slot is 0 where free, else the hash in its upper half and row + 1 in its lower. By row: `_offsets`
    into `_words`, where the name is stored, `_lengths` in bytes and `_hashes`. The slot of a removed name keeps its
    place in the bucket, as `_REMOVED`, until the buckets are made anew.
    """

    def __init__(self) -> None:
        """Start empty, with fresh hash keys."""
        self._hash = WordHash()
        self._lengths = np.zeros(0, np.int16)
        self._offsets = np.zeros(0, np.uint32)
        self._hashes = np.zeros(0, np.uint32)
        self._words: Words = np.zeros(LONGEST // WORD, np.uint64)
        self._used_words = 0
        self._wasted_words = 0
        self._set_buckets(_FEWEST_BUCKET_BITS)

    def _set_buckets(self, bits: int) -> None:
        """Make 2^bits buckets of empty slots, and one more, the last one's next."""
        self._bits = bits
        self._shift = np.uint64(32 - bits)
        self._slots: Words = zeros(((1 << bits) + 1, _WAYS), np.uint64)
        self._fill = np.zeros((1 << bits) + 1, np.uint8)
        self._taken = 0

    def find(self, lines: Lines) -> Integers:
        """The row of each regular line whose name is indexed, else UNKNOWN; int64, shape (lines,)."""
        if lines.regular.all():
            return self._find_names(lines.words, lines.starts, lines.lengths)
        rows = np.full(len(lines), UNKNOWN)
        regular = lines.regular.nonzero()[0]
        rows[regular] = self._find_names(lines.words, lines.starts[regular], lines.lengths[regular])
        return rows

    def _find_names(self, text: Words, starts: Integers, lengths: Integers) -> Integers:
        """The rows of the names at `starts` in `text`, or UNKNOWN."""
        count = (int(lengths.max(initial=1)) + WORD - 1) // WORD
        names = read_words(text, starts, lengths, count)
        rows = self._probe(self._hash(names))
        if not len(self._lengths):
            return rows
        # A candidate of another length may reach past the stored words; `clip` reads something, which differs.
        places = self._offsets.take(rows, mode="clip") + np.arange(count)[:, None]
        stored = self._words.take(places, mode="clip")
        stored ^= names
        # Past a name's last word stands the next name, where the batch's words are zero.
        whole = int(lengths.min(initial=LONGEST)) // WORD
        if whole < count:
            stored[whole:] *= lengths > np.arange(whole * WORD, count * WORD, WORD)[:, None]
        differs = stored[0]
        for word in stored[1:]:
            differs |= word
        differs |= (self._lengths.take(rows, mode="clip") ^ lengths).view(np.uint64)
        # Where two names share a hash, what was found is the number of neither, and may be past the last row.
        differs |= rows >= len(self._lengths)
        rows[differs != 0] = UNKNOWN
        return rows

    def _probe(self, hashes: Words) -> Integers:
        """A row with each hash, int64, or UNKNOWN; where two rows have the hash, some number that is no row's."""
        buckets = (hashes >> self._shift).astype(np.int64)
        found, overflowed = self._look(buckets, hashes)
        if len(overflowed):
            found[overflowed], _ = self._look(buckets[overflowed] + 1, hashes[overflowed])
        rows = found.view(np.int64)
        rows -= 1
        return rows

    def _look(self, buckets: Integers, hashes: Words) -> tuple[Words, Integers]:
        """Row + 1 by each hash in its bucket, or 0; and which of those not found may be in the next bucket."""
        slots = self._slots.take(buckets, axis=0)
        last = slots[:, -1] != 0
        # The hash taken off a slot that has it leaves the row; off another, something above the lower half.
        slots -= (hashes << _HALF)[:, None]
        slots *= slots <= _LOW_HALF
        found = slots[:, 0] | slots[:, 1]
        for way in range(2, _WAYS):
            found |= slots[:, way]
        return found, ((found == 0) & last).nonzero()[0]

    def name(self, row: int) -> bytes | None:
        """The name indexed for a row, or None where it is too long to be."""
        length = int(self._lengths[row])
        if length <= _NOT_INDEXED:
            return None
        start = int(self._offsets[row])
        return self._words[start : start + (length + WORD - 1) // WORD].tobytes()[:length]

    def drop(self, row: int) -> None:
        """Never give this row again, until a name is indexed for it."""
        if row >= len(self._lengths):
            return
        length = int(self._lengths[row])
        self._lengths[row] = _NOT_INDEXED
        if length > 0:
            self._wasted_words += (length + WORD - 1) // WORD
            entry = (int(self._hashes[row]) << 32) | (row + 1)
            bucket = int(self._hashes[row]) >> int(self._shift)
            for slots in self._slots[bucket : bucket + 2]:
                slots[slots == np.uint64(entry)] = _REMOVED

    def catch_up(self, rows: dict[bytes, int], size: int) -> None:
        """Index the names that came since the last call: the dict's last ones, as it keeps them in order.

        `size` is one more than the highest row.
        """
        self._make_rows(size)
        if self._wasted_words * 2 > self._used_words:
            self._compact()
        lengths = self._lengths
        fresh = takewhile(lambda item: lengths[item[1]] == _NOT_INDEXED, reversed(rows.items()))
        while chunk := list(islice(fresh, _CHUNK)):
            self._add([name for name, _ in chunk], np.array([row for _, row in chunk], np.int64))

    def _make_rows(self, size: int) -> None:
        """Let the columns by row reach to `size`."""
        if size > len(self._lengths):
            size += size // 8
            self._lengths = _grown(self._lengths, size)
            self._offsets = _grown(self._offsets, size)
            self._hashes = _grown(self._hashes, size)

    def _add(self, names: list[bytes], rows: Integers) -> None:
        """Index names under their rows; the longest ones are only marked as seen."""
        lengths = np.fromiter(map(len, names), np.int64, len(names))
        self._lengths[rows] = np.where(lengths <= LONGEST, lengths, _TOO_LONG)
        short = lengths <= LONGEST
        starts = (np.cumsum(lengths) - lengths)[short]
        rows, lengths = rows[short], lengths[short]
        count = (int(lengths.max(initial=1)) + WORD - 1) // WORD
        text = aligned_words(b"".join((*names, bytes(LONGEST + 2 * WORD))))
        words = read_words(text, starts, lengths, count)
        hashes = self._hash(words)
        self._hashes[rows] = hashes
        self._store_words(words, lengths, rows)
        if (self._taken + len(rows)) * 2 > _WAYS << self._bits:
            self._rebuild()
        else:
            self._fill_slots(hashes, rows)

    def _store_words(self, words: Words, lengths: Integers, rows: Integers) -> None:
        """Keep each name's words, one name after the other."""
        counts = (lengths + WORD - 1) // WORD
        stops = self._used_words + np.cumsum(counts)
        self._offsets[rows] = stops - counts
        used = int(stops[-1]) if len(stops) else self._used_words
        if used + LONGEST // WORD > len(self._words):
            self._words = _grown(self._words, used + used // 4 + LONGEST // WORD)
        inside = np.arange(len(words))[:, None] < counts
        self._words[self._used_words : used] = words.T[inside.T]
        self._used_words = used

    def _compact(self) -> None:
        """Leave out the words of removed names."""
        rows = np.flatnonzero(self._lengths > _NOT_INDEXED)
        counts = (self._lengths[rows].astype(np.int64) + WORD - 1) // WORD
        stops = np.cumsum(counts)
        moved = np.arange(int(counts.sum())) + np.repeat(self._offsets[rows] - (stops - counts), counts)
        self._words = _grown(self._words[moved], len(moved) + LONGEST // WORD)
        self._offsets[rows] = stops - counts
        self._used_words, self._wasted_words = len(moved), 0

    def _rebuild(self) -> None:
        """Make buckets for all rows indexed now, at most half full, which also clears the removed ones' slots."""
        rows = np.flatnonzero(self._lengths > _NOT_INDEXED)
        # Room for a quarter more than there are, or the next names would rebuild it again.
        self._set_buckets(max(_FEWEST_BUCKET_BITS, (len(rows) * 5 // 2 // _WAYS).bit_length()))
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            self._fill_slots(self._hashes[part].astype(np.uint64), part)

    def _fill_slots(self, hashes: Words, rows: Integers) -> None:
        """Put rows into their buckets or the next ones; one that finds both full stays out of the index."""
        self._taken += len(rows)
        slots = (hashes << _HALF) | (rows + 1).astype(np.uint64)
        buckets = (hashes >> self._shift).astype(np.int64)
        for _ in range(2):
            order = np.argsort(buckets, kind="stable")
            slots, buckets = slots[order], buckets[order]
            firsts = np.flatnonzero(np.diff(buckets, prepend=-1))
            rank = np.arange(len(buckets)) - np.repeat(firsts, np.diff(firsts, append=len(buckets)))
            way = self._fill[buckets] + rank
            fits = way < _WAYS
            self._slots[buckets[fits], way[fits]] = slots[fits]
            np.add.at(self._fill, buckets[fits], 1)
            slots, buckets = slots[~fits], buckets[~fits] + 1
            if not len(slots):
                return


def _grown(column: NDArray[AnyNumber], size: int) -> NDArray[AnyNumber]:
    """A copy of a column, `size` long, zeros at the end."""
    longer = zeros((size,), column.dtype.type)
    longer[: len(column)] = column
    return longer
