"""How all quotas stand, at a report or between two: copied under the lock in one step, made into values outside of it.

Names in stats are given before, some thousands at a time, as a flood may have brought many namespaces.
"""

from __future__ import annotations

from time import sleep

from carbonquota.controls import (
    NamespaceQuota,
)
from carbonquota.controls.quota_columns import QuotaColumns, quota_columns, unnamed_quota_columns
from carbonquota.engine.core import TURN, EngineCore
from carbonquota.stats import ReportColumns, ended_intervals
from carbonquota.trie import Taking, take_counts, take_ended_counts
from carbonquota.trie.quota_names import in_turn

_NAMES_AT_A_STRETCH = 1_024
"""How many namespaces get their names in stats before another thread's call has its turn."""

_ROUNDS_OF_NAMES = 4
"""So often those are named that came while the ones before were; what still comes then is named in one go."""


class Reports(EngineCore):
    """The calls about all quotas."""

    def report(self) -> dict[str, int]:
        """Close the interval and give every stat by its name, without the graph prefix.

        `quota.<control>.<name>`, `usage.<control>.<name>`, `throttle.<name>` and `dropped.<name>`; throughput usage,
        throttle and dropped are the points since the last report, as far as their intervals have ended: where limits
        are shared (`share`), a report ends no interval, and the counts of the running one are left to the next.
        Of namespaces that were rejected before they existed, those past the first 1,000 may be told too low, or not
        at all.
        """
        values: dict[str, int] = {}
        for piece in self.report_with_counts()[0].pieces():
            values |= piece
        return values

    def report_with_counts(self) -> tuple[ReportColumns, QuotaColumns, QuotaColumns]:
        """`report` as columns, with how all quotas stood right before and after it.

        A position is the same quota's in all three.
        """
        self._give_stat_names()
        taking = Taking(self._index)
        for stretch in self._index.quotas.stretches():
            with self._lock:
                self._index.quotas.have_memory_to_close(stretch)
            sleep(TURN)
        with self._lock:
            self._keep_time()
            self._index.note_absent()
            taking.take(self._index)
            quotas, in_force = self._index.quotas, self._decider.compiled
            before = take_counts(quotas)
            ends_early = self._interval.report()
            # Nodes that share limits share their intervals as well: none of them begins one anew by itself.
            if ends_early and not self._is_shared:
                quotas.close()
            taking.take_ended(quotas)
            ended = take_ended_counts(quotas)
            quotas.clear_closed()
            after = take_counts(quotas)
            self._index.prune_reported()
        taken = taking.taken()
        columns = ended_intervals(taken, ended, [rule.limits for rule in in_force])
        return columns, quota_columns(taken, before, in_force), quota_columns(taken, after, in_force)

    def _give_stat_names(self) -> None:
        """Give new namespaces their names in stats, some at a time: nobody is to wait long for the lock."""
        for _ in range(_ROUNDS_OF_NAMES):
            with self._lock:
                quotas = self._index.quotas
                if quotas.wanting_names < _NAMES_AT_A_STRETCH:
                    return
                waiting = quotas.waiting_names()
            rows, turns = in_turn(*waiting)
            if quotas.lacks_room_for_names(len(rows)):
                room = quotas.room_for_names(len(rows))
                with self._lock:
                    quotas.take_room_for_names(room, len(rows))
            for start in range(0, len(rows), _NAMES_AT_A_STRETCH):
                stretch = slice(start, start + _NAMES_AT_A_STRETCH)
                with self._lock:
                    # What other rules brought meanwhile has rows of its own.
                    if self._index.quotas is quotas:
                        quotas.name_some(rows[stretch], turns[stretch])
                sleep(TURN)

    def quotas(self) -> list[NamespaceQuota]:
        """How every namespace under a rule stands now, the root first, then by name."""
        return self.quota_columns().values()

    def quota_columns(self) -> QuotaColumns:
        """The same as columns, where there are many of them."""
        self._give_stat_names()
        taking = Taking(self._index)
        with self._lock:
            self._keep_time()
            self._index.note_absent()
            taking.take(self._index)
            counts, in_force = take_counts(self._index.quotas), self._decider.compiled
        return quota_columns(taking.taken(), counts, in_force)

    def unnamed_quota_columns(self) -> QuotaColumns:
        """The same for who shows a few of them: names are looked up by `names_at` alone, and may be gone by then."""
        taking = Taking(self._index)
        with self._lock:
            self._keep_time()
            self._index.note_absent()
            taking.take_unnamed(self._index)
            counts, in_force = take_counts(self._index.quotas), self._decider.compiled
            index = self._index
        return unnamed_quota_columns(taking.taken_unnamed(index), counts, in_force)
