"""The sizes of new metrics, by the numbers that the ledger knows them by.

Theory of operation. The ledger asks for the size of a new metric where a limit of sizes decides or it is accepted. Few
sizes are given to many metrics, so it keeps each once, from batch to batch. Who gives them may be a `SizeTable`: then
the ledger knows between which bounds all are, so that a full namespace rejects without asking, and of which
namespaces all new metrics have one, so that it asks once for these.
"""

from __future__ import annotations

from typing import Final

from carbonquota.control import amounts_of
from carbonquota.controls.native._cy import Batch, Ledger
from carbonquota.controls.reference import Decider
from carbonquota.model import Size, SizeOf, SizeTable, size_fields

_MOST: Final = 4_096
"""With more sizes than so many, all are forgotten before the next batch."""


class Sizes:
    """All sizes that the ledger was given, each once. To be used under the index's lock."""

    __slots__ = ("_batch", "_decider", "_index", "_ledger", "_numbers", "_size_of", "_told", "sizes")

    def __init__(self, decider: Decider, ledger: Ledger) -> None:
        """Start without sizes."""
        self._decider = decider
        self._index = decider.index
        self._ledger = ledger
        self._numbers: dict[tuple[int, ...], int] = {}
        self._size_of: SizeOf | None = None
        self.sizes: list[Size] = []
        """By number."""
        self._batch: Batch | None = None
        self._told: list[tuple[Size, int, bytes]] = []

    def keep_few(self) -> None:
        """Forget all where they have become many; to be called before a batch is decided."""
        if len(self.sizes) > _MOST:
            self._forget()

    def keep_up(self) -> None:
        """Be those that the decider gives to new metrics now; it changes that between two batches only."""
        if self._size_of is self._decider.size_of:
            return
        self._forget()
        self._size_of = size_of = self._decider.size_of
        if isinstance(size_of, SizeTable):
            bounds = [amounts_of(size) for size in size_of.bounds]
            self._ledger.ask_for_sizes(size_of, self.number, size_of.size_below, size_of.sizes_of, bounds)
        else:
            self._ledger.ask_for_sizes(size_of, self.number)

    def _forget(self) -> None:
        """Have none again."""
        self._ledger.forget_sizes()
        series = self._index.series
        for size in self.sizes:
            series.have_holders(series.number(size, 0), -1)
        self._numbers.clear()
        self.sizes.clear()

    def number(self, size: Size) -> int:
        """The number of a size."""
        key = size_fields(size)
        number = self._numbers.get(key)
        if number is None:
            # It is held here, so that its number by series stays.
            number = self._ledger.add_size(amounts_of(size), self._index.series.number(size, 1))
            self._numbers[key] = number
            self.sizes.append(size)
        return number

    def begin(self, batch: Batch) -> None:
        """Have the series of a batch that is about to be decided be noted by `note_created`."""
        self.note_created()
        self._batch = batch

    def note_created(self) -> None:
        """Note the new series that the ledger put into the index: who has which size, and that they came.

        They are in the index, whatever happens meanwhile. So where memory is lacking, or a signal handler raises, what
        is not noted yet stays for the next call: see `Index.catch_up`. Something noted twice does no harm: a size
        that is held too often is not forgotten, and a series that came twice has come.
        """
        series, changes = self._index.series, self._index.changes
        if self._batch is not None:
            self._index.cover()
            self._batch.tell_created(self._told, self.sizes, with_text=changes is not None)
            self._batch = None
        while self._told:
            size, count, names = self._told[0]
            series.number(size, count)
            if changes is not None:
                changes.note_run(size, count, names)
            del self._told[0]
