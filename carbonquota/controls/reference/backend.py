"""The backend that decides everything one by one."""

from __future__ import annotations

from collections.abc import Sequence

from carbonquota.controls.admission import Admission, BatchDecision
from carbonquota.controls.backend import Points, Turn
from carbonquota.controls.reference import batch
from carbonquota.controls.reference.all_or_none import offer_all
from carbonquota.controls.reference.decision import Decider
from carbonquota.metric_name import Name
from carbonquota.model import Size, Verdict


class ReferenceBackend:
    """A `Backend` without C."""

    def __init__(self, decider: Decider, turn: Turn) -> None:
        """Decide by this decider, in turns."""
        self._decider = decider
        self._turn = turn

    def offer(self, metric: Name, points: int, size: Size | None) -> Verdict:
        """Decide on points of a metric."""
        with self._turn.lock:
            self._turn.begin()
            return self._decider.verdict(metric, self._decider.offer_named(metric, points, size))

    def offer_all(self, offers: Sequence[tuple[Name, int]]) -> Verdict:
        """Decide on several offers as one."""
        with self._turn.lock:
            self._turn.begin()
            return offer_all(self._decider, offers)

    def admit(self, buffer: bytes) -> Admission:
        """Decide on lines."""
        with self._turn.lock:
            self._turn.begin()
            return batch.admit(self._decider, buffer)

    def admit_names(self, names: list[Name], points: Points | None) -> BatchDecision:
        """Decide on names."""
        with self._turn.lock:
            self._turn.begin()
            return batch.admit_names(self._decider, names, points)

    def rebind(self) -> None:
        """Nothing is kept of the rules."""

    def set_time(self, start: float, end: float) -> None:
        """Each call begins by asking the clock."""
