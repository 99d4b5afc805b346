"""What is asked of an engine whose limits are shared with other nodes, beside what any program asks of it.

Throughput is shared in one of two ways, see `controls.sharing`: nodes leave to others what these accepted, or each is
granted parts of the limits. What is held is shared by having new metrics wait (`hold_new`) until a store, or the
others, said that there is room; then they are decided by `admit_new`, or dropped by `refuse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.controls import (
    Admission,
    BatchDecision,
    capacity_limits,
    sharing,
)
from carbonquota.controls.capacity_limits import NamespaceLimits, RefusedMetric
from carbonquota.controls.holding import AnyDecision, HeldBack, hold_back, let_go
from carbonquota.controls.rejections import Rejections
from carbonquota.controls.sharing import Counted, NamespaceRows
from carbonquota.controls.table import CompiledRule
from carbonquota.engine.core import EngineCore
from carbonquota.kernel import UNKNOWN, Malformed, PlainLines, PlainNames
from carbonquota.metric_name import Name
from carbonquota.model import Size
from carbonquota.trie.columns import Column

_AT_A_STRETCH: Final = 500
"""How many sizes are asked for before another thread's call has its turn."""


class SharedLimits(EngineCore):
    """The calls of who shares limits; `QuotaEngine` is the class to use."""

    def admit_new(self, buffer: bytes) -> Admission:
        """`admit` for lines that were held back; no other thread may admit meanwhile."""
        with self._decider.creates.opened():
            return self._backend.admit(buffer)

    def admit_new_names(self, names: Sequence[Name]) -> BatchDecision:
        """`admit_names` for names that were held back; no other thread may admit meanwhile."""
        with self._decider.creates.opened():
            return self._backend.admit_names(list(names), None)

    def refuse(self, lines: Sequence[bytes], refused: Sequence[RefusedMetric]) -> Admission:
        """Have lines that were held back be dropped, each by the limit that all nodes together are at."""
        return Admission(PlainLines(b"".join(lines)), 0, *self._refuse(refused))

    def refuse_names(self, names: Sequence[Name], refused: Sequence[RefusedMetric]) -> BatchDecision:
        """The same for names."""
        return BatchDecision(PlainNames(names), 0, *self._refuse(refused))

    def _refuse(
        self, refused: Sequence[RefusedMetric]
    ) -> tuple[Rejections, dict[Malformed, Sequence[int]], Sequence[CompiledRule]]:
        """Count what is refused: the rejections, nothing malformed, and what they were decided by."""
        with self._lock:
            self._keep_time()
            return capacity_limits.refuse(self._decider, refused), {}, self._decider.compiled

    def limits_above(self, namespaces: Iterable[str]) -> list[NamespaceLimits]:
        """The limits of what may be held in these namespaces and all above them, each after the one above it."""
        with self._lock:
            return capacity_limits.limits_above(self._decider, namespaces)

    def sizes_of(self, metrics: Sequence[str]) -> list[Size]:
        """What these new metrics would hold, by their normal names."""
        sizes: list[Size] = []
        for start in range(0, len(metrics), _AT_A_STRETCH):
            with self._lock:
                sizes += map(self._decider.size_of, metrics[start : start + _AT_A_STRETCH])
        return sizes

    def has_each(self, metrics: Iterable[str]) -> list[bool]:
        """Whether each of these metrics is in the index, by their normal names."""
        with self._lock:
            return [self._index.find(name.encode()) != UNKNOWN for name in metrics]

    def take_unclaimed(self) -> tuple[list[str], list[str]]:
        """The metrics that were loaded, and those that went, since the last call; the first call gives none."""
        with self._lock:
            found, self._unclaimed = self._unclaimed, ([], [])
        return found or ([], [])

    def share(self) -> None:
        """Have throughput limits be shared with other nodes: intervals end by the clock alone from now on."""
        with self._lock:
            self._is_shared = True

    def are_there(self, namespaces: NamespaceRows) -> NDArray[np.bool_]:
        """Which of the namespaces that `counted` gave still exist."""
        with self._lock:
            return sharing.are_there(self._index, namespaces)

    def counted(self) -> Counted:
        """What was accepted in the running interval under throughput limits, for who shares these with other nodes."""
        with self._lock:
            self._keep_time()
            return sharing.counted(self._index, self._interval.start)

    def names_of(self, namespaces: NamespaceRows) -> list[str]:
        """The full names of namespaces as `counted` gives them; empty for one that is gone."""
        with self._lock:
            return sharing.names(self._index, namespaces)

    def leave_to_others(self, start: float, namespaces: NamespaceRows, points: Column) -> bool:
        """Of the throughput limits, leave these points to others in the interval that began at `start`.

        No more is accepted then than the limit less these points, whatever was said before. It is done only while that
        interval runs; whether it was.
        """
        with self._lock:
            self._keep_time()
            if self._interval.start != start:
                return False
            sharing.leave_to_others(self._index, namespaces, points)
            return True

    def prepay(self, parts: int) -> None:
        """Have throughput limits that reject begin each interval, from the next on, with one of so many `parts`.

        With 0 parts they begin with nothing, and with 1, as without this call, with the whole limit. NamespaceRows that
        come under a limit from now on begin so at once. More is accepted as it is granted.
        """
        with self._lock:
            self._keep_time()
            self._index.quotas.prepay(parts)

    def grant(self, start: float, namespaces: NamespaceRows, points: Column) -> bool:
        """Let so many more points be accepted in the interval that began at `start`, or that begins next then.

        It is done only while that interval runs or comes next; whether it was.
        """
        with self._lock:
            self._keep_time()
            running = self._interval
            ahead = running.is_near(start, running.end)
            if not ahead and not running.is_near(start, running.start):
                return False
            sharing.grant(self._index, namespaces, points, ahead=ahead)
            return True

    def take_back(self, start: float, namespaces: NamespaceRows, points: Column) -> Column:
        """Let so many points fewer be accepted in the interval that began at `start`, as far as they are left.

        How many of each, so that they can be granted elsewhere: none if that interval does not run.
        """
        with self._lock:
            self._keep_time()
            if self._interval.start != start:
                return points * 0
            return sharing.take_back(self._index, namespaces, points)

    def hold_back(self, decision: AnyDecision, spent: Column, most: int) -> tuple[AnyDecision, HeldBack | None]:
        """Take out of a batch just decided the rejected points that more may be granted for, to be offered again later.

        They are no longer counted as rejected, but as waiting, until `let_go` is called. Of the limits of namespaces
        of these generations (`spent`) nothing remains to be granted. No more than `most` bytes are held back.
        """
        with self._lock:
            self._keep_time()
            return hold_back(self._index, decision, spent, most)

    def let_go(self, held: HeldBack) -> None:
        """Count points as waiting no more, as they are about to be offered again."""
        with self._lock:
            let_go(self._index, held)
