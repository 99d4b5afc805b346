"""What decides: the interface behind which the compiled decision and the plain one stand.

The engine chooses one when it is made, and everything above is written once. `reference` is the definition, line by
line, and what runs without a compiler; `native` decides whole batches in C and gives the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from carbonquota.controls.admission import Admission, BatchDecision
from carbonquota.metric_name import Name
from carbonquota.model import Clock, Size, Verdict

Points = NDArray[np.int64]
"""How many points there are of each name, from 1 on."""


@dataclass(frozen=True, slots=True)
class Turn:
    """How a backend has its turn: under this lock, and after `begin`, which ends what the clock says is over.

    `clock_is_system` tells whether the clock is `time.time`, which C can read by itself.
    """

    lock: AbstractContextManager[object]
    clock: Clock
    clock_is_system: bool
    begin: Callable[[], None]


class Backend(Protocol):
    """Decides and charges, under the engine's lock, which each call takes and leaves by itself."""

    def offer(self, metric: Name, points: int, size: Size | None) -> Verdict:
        """Decide on points of a metric, from 1 to 2^63 - 1; MetricNameError where it cannot be one."""

    def offer_all(self, offers: Sequence[tuple[Name, int]]) -> Verdict:
        """Decide on several offers as one: all are accepted and charged, or none is; the first rejection."""

    def admit(self, buffer: bytes) -> Admission:
        """Decide on lines of one point each, in their order."""

    def admit_names(self, names: list[Name], points: Points | None) -> BatchDecision:
        """Decide on names with one point each, or so many, in their order."""

    def rebind(self) -> None:
        """The rules in force are others; to be called under the lock."""

    def set_time(self, start: float, end: float) -> None:
        """From `start` until just before `end`, `begin` has nothing to end; to be called under the lock."""
