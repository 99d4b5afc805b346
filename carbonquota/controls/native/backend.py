"""The backend that decides in C, and asks Python where that needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, cast

import numpy as np

from carbonquota.controls.admission import Admission, BatchDecision
from carbonquota.controls.backend import Points, Turn
from carbonquota.controls.native import batch
from carbonquota.controls.native._cy import Batch
from carbonquota.controls.native.binding import bind, ledger_of
from carbonquota.controls.native.sizes import Sizes
from carbonquota.controls.reference import Decider, offer_all
from carbonquota.controls.table import THROUGHPUT
from carbonquota.kernel import UNKNOWN
from carbonquota.kernel._cy import SeriesTable
from carbonquota.metric_name import Name, normalize
from carbonquota.model import Size, Verdict

_ACCEPTED: Final = Verdict(accepted=True)


class NativeBackend:
    """A `Backend` in C. Its ledger takes the lock and leaves it, and calls what ends in `_locked` under it."""

    def __init__(self, decider: Decider, turn: Turn) -> None:
        """Decide by the columns of this decider's index, and leave to the decider what takes more."""
        self.accepted = _ACCEPTED
        self._decider = decider
        self._turn = turn
        self._ledger = ledger_of(decider.index, decider.storable)
        self._ledger.bind_lock(turn.lock, turn.clock, turn.clock_is_system, self)
        self._ledger.count_creates(decider.creates.cell)
        self._sizes = Sizes(decider, self._ledger)
        decider.index.moved = self.rebind
        decider.index.catch_up = self._sizes.note_created
        self.rebind()
        # The ledger's own methods, as each call in between costs as much as the decision on a known metric.
        self.offer = cast("Callable[[Name, int, Size | None], Verdict]", self._ledger.offer)
        self.admit = cast("Callable[[bytes], Admission]", self._ledger.admit)
        self.admit_names = cast("Callable[[list[Name], Points | None], BatchDecision]", self._ledger.admit_names)

    def offer_locked(self, metric: Name, points: int, size: Size | None, quota: int) -> Verdict:
        """The verdict where a known metric is rejected by a quota, or, UNKNOWN, all is still to be decided."""
        if quota != UNKNOWN:
            return self._decider.verdict(metric, (quota, THROUGHPUT))
        self._turn.begin()
        name, decider = normalize(metric), self._decider
        if decider.index.find(name.encode()) == UNKNOWN:
            decider.check_name(name)
        lines = cast("SeriesTable", decider.index.table).read_names([name])
        one = Batch.of(lines, np.array([points], np.int64))
        return decider.verdict(metric, batch.decide_one(decider, self._ledger, one, self._sizes, size))

    def decide_locked(self, undecided: Batch) -> None:
        """Decide on a batch."""
        self._turn.begin()
        batch.decide(self._decider, self._ledger, undecided, self._sizes)

    def answer(self, decided: Batch) -> BatchDecision:
        """What became of it."""
        return batch.answer(self._decider, decided)

    def offer_all(self, offers: Sequence[tuple[Name, int]]) -> Verdict:
        """Decide on several offers as one."""
        with self._turn.lock:
            self._turn.begin()
            return offer_all(self._decider, offers)

    def rebind(self) -> None:
        """Decide by the columns and the rules as they are now."""
        bind(self._ledger, self._decider.index, self._decider.compiled)
        self._sizes.keep_up()

    def set_time(self, start: float, end: float) -> None:
        """Decide without Python from `start` until just before `end`."""
        seen = self._decider.index.seen
        self._ledger.set_time(start, end, 0 if seen is None else seen.now)
