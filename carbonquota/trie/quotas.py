"""The quotas: a row for each namespace that a rule holds, with its counters of the running interval.

Theory of operation. Deciding an offer needs the quotas above a metric, root first. Those with a throughput limit are
asked at each point, so row `row` of the matrix `rates` has theirs, from the root down to this one, padded with
`NO_QUOTA` at the end: a quota's row is that of the one above with one more. All others are only asked for new metrics,
and found by way of the namespaces: see `Index.chain`.

Counters. `remaining` is what the throughput limit still allows in this interval, so a check reads one number.
`throttle` and `dropped_<control>` count points. When an interval ends its counts move to the `closed_` columns, where
they wait for a report. Row 0 is `NO_QUOTA`: no limit, ever; it is called after the root and has `NO_RULE`, as rows not
in use have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from carbonquota.control import CONTROLS
from carbonquota.model import MAXIMUM
from carbonquota.trie.chains import PADDING, Chains, Matrix
from carbonquota.trie.columns import Column, Numbers, View
from carbonquota.trie.quota_names import QuotaNames

NO_QUOTA: Final = PADDING
NO_RULE: Final = -1

_DROPPED: Final = tuple(f"dropped_{control.stat}" for control in CONTROLS)
_COUNTS: Final = ("throttle", *_DROPPED)
"""What is counted in an interval beside throughput."""


_STRETCH: Final = 16_384
"""The intervals of so many quotas end at a time, so that this takes little memory."""


class QuotaTerms(Protocol):
    """What a quota's rule says, as far as the index needs to know it."""

    @property
    def throughput(self) -> int:
        """Points an interval; `MAXIMUM` where there is no limit."""

    @property
    def metered(self) -> bool:
        """Whether there is a throughput limit."""

    @property
    def enforcing(self) -> bool:
        """Whether an offer over a limit is rejected."""

    @property
    def stat_prefix(self) -> str:
        """Goes before the namespace in stat names."""


class LazyReference(Protocol):
    """Who keeps rows of quotas and has not yet looked up whose they are."""

    def resolve(self) -> None:
        """Look it up now; to be called under the index's lock."""


class Quotas(QuotaNames):
    """All quotas. `namespace` is the row held, `rule` the index in `terms`.

    `limit` is what may be accepted in the running interval: the throughput limit, or less where other nodes share it;
    where there is none, limit and `remaining` are one, and may be anything.
    Where it is prepaid (`parts` is not 1), it is what was granted, and `ahead` was granted for the next interval.
    `waiting` are points that were rejected here, and are held back until more may be granted; no report has them.
    """

    COLUMNS = " ".join(
        (
            "limit remaining ahead waiting closed_throughput",
            *_COUNTS,
            *(f"closed_{count}" for count in _COUNTS),
        )
    )

    NARROW = "namespace rule named"
    """The namespace held, the number of its rule, and whether it has a name in stats: see `QuotaNames`."""

    limit: Column
    remaining: Column
    ahead: Column
    waiting: Column
    throttle: Column
    closed_throughput: Column
    closed_throttle: Column
    namespace_at: View
    limit_at: View
    remaining_at: View
    throttle_at: View
    closed_throughput_at: View

    def __init__(self, terms: tuple[QuotaTerms, ...], name_of: Callable[[int], str]) -> None:
        """Start without quotas, for rules of these `terms`; `name_of` gives the name of a namespace by its row."""
        self.terms = terms
        self._throughputs = np.array([one.throughput for one in terms], np.int64)
        self._metered = np.array([one.metered for one in terms], np.bool_)
        self._enforcing = np.array([one.enforcing for one in terms], np.bool_)
        self.references: WeakSet[LazyReference] = WeakSet()
        """Who has something to look up before a quota goes."""
        self._rate_chains = Chains(lambda: self.size)
        self.rate_chain = self._rate_chains.of
        """The quotas with a throughput limit from the root down to the one at a row, itself included."""
        self._is_lowered = False
        self.parts = self.next_parts = 1
        """By what throughput limits that reject are divided where they begin: in this interval, and from the next on.

        0: nothing is left of them.
        """
        super().__init__(name_of, [one.stat_prefix for one in terms])
        self._grow(self.capacity)
        self._renew()
        self._begin(0, NO_RULE)
        self.limit_at[NO_QUOTA] = self.remaining_at[NO_QUOTA] = MAXIMUM

    def _bind(self) -> None:
        """Point the attributes at the stores, and list the counters once more."""
        super()._bind()
        self.counts: list[Column] = [getattr(self, count) for count in _COUNTS]
        self.closed_counts: list[Column] = [getattr(self, f"closed_{count}") for count in _COUNTS]
        counted = (f"{prefix}{count}" for count in _COUNTS for prefix in ("", "closed_"))
        self._counts_at = [getattr(self, f"{count}_at") for count in (*counted, "waiting")]
        self._running_at = [getattr(self, f"{count}_at") for count in _COUNTS]
        self.dropped: list[Column] = self.counts[1:]
        self.dropped_at: list[View] = [getattr(self, f"{count}_at") for count in _DROPPED]
        self.rates: Matrix = self._rate_chains.matrix

    def _grow(self, capacity: int) -> None:
        """Have room for so many rows in everything that goes by row."""
        super()._grow(capacity)
        self._rate_chains.lengthen(self.capacity)

    def _expect(self, rows: int) -> None:
        """Be ready for so many rows to be used."""
        super()._expect(rows)
        self._rate_chains.expect(rows)

    def create(self, namespace: int, rule: int, above: int) -> int:
        """A quota on the namespace at row `namespace`, by rule number `rule`, below the quota `above`."""
        terms = self.terms[rule]
        row = self._begin(namespace, rule)
        self.limit_at[row] = self.remaining_at[row] = self._first_part(terms)
        self._rate_chains.put(row, above, own=terms.metered)
        self._bind_moved()
        self.want_names(np.array([row]))
        return row

    def prepay(self, parts: int) -> None:
        """Divide throughput limits by this from the next interval on."""
        self.next_parts = parts
        self._is_lowered = True

    def _first_part(self, terms: QuotaTerms) -> int:
        """What may be accepted before anything was granted."""
        if self.parts == 1 or not (terms.metered and terms.enforcing) or terms.throughput == MAXIMUM:
            return terms.throughput
        self._is_lowered = True
        return terms.throughput // self.parts if self.parts else 0

    def _first_parts(self, rows: Column) -> Column:
        """The same for many."""
        limits = self.throughputs(rows)
        if self.parts == 1:
            return limits
        self._is_lowered = True
        shared = self.are_enforcing(rows) & (limits != MAXIMUM)
        first = limits // self.parts if self.parts else np.zeros_like(limits)
        return np.where(shared, first, limits)

    def _begin(self, namespace: int, rule: int) -> int:
        """A row for a namespace's quota by this rule."""
        row = self.take_row()
        self.namespace_at[row] = namespace
        self.rule_at[row] = rule
        return row

    def _bind_moved(self) -> None:
        """Point the attributes at the chains where these have become longer."""
        if self._rate_chains.matrix is not self.rates:
            self._renew()

    def create_many(self, namespaces: Column, rules: Column, above: Numbers) -> Column:
        """`create` for many, pairwise and none below another of them; their rows. `want_names` is to come after it."""
        rows = self.take_rows(len(namespaces))
        self.namespace[rows] = namespaces
        self.rule[rows] = rules
        self.limit[rows] = self.remaining[rows] = self._first_parts(rows)
        self._rate_chains.put_many(rows, above, self._metered[rules])
        self._bind_moved()
        return rows

    def remove(self, row: int) -> None:
        """Take a quota out; no quota below it may be left."""
        if self.references:
            self.resolve_references()
        self.forget_name(row)
        self.give_row(row)
        self.rule_at[row] = NO_RULE
        self.remaining_at[row] = self.limit_at[row] = MAXIMUM

    def resolve_references(self) -> None:
        """Have those who keep rows look up whose they are, as this may change."""
        for reference in list(self.references):
            reference.resolve()
        self.references.clear()

    def rows(self) -> list[int]:
        """The rows in use, in ascending order."""
        rows: list[int] = self.in_use().tolist()
        return rows

    def in_use(self) -> Column:
        """The same as a column."""
        return np.flatnonzero(self.rule[: self.size] != NO_RULE)

    def used(self, row: int) -> int:
        """The accepted points of this interval, where there is a throughput limit."""
        return self.limit_at[row] - self.remaining_at[row]

    def has_counts(self, row: int) -> bool:
        """Whether something was counted here that no report has given yet."""
        # A loop, as pruning asks this of each namespace that goes.
        for count in self._counts_at:
            if count[row]:
                return True
        return self.has_accepted(row)

    def has_accepted(self, row: int) -> bool:
        """Whether points were accepted under the throughput limit here that no report has given yet."""
        return bool(self.remaining_at[row] != self.limit_at[row] or self.closed_throughput_at[row])

    def counters(self, row: int) -> tuple[int, ...]:
        """What is left of the throughput limit here in this interval, and what was counted in it."""
        return (self.remaining_at[row], *(count[row] for count in self._running_at))

    def fresh_counters(self, row: int) -> tuple[int, ...]:
        """The same as they were when the quota came."""
        return (self.limit_at[row], *(0 for _ in self._running_at))

    def put_counters(self, row: int, values: Sequence[int]) -> None:
        """Have them be these again."""
        for view, value in zip((self.remaining_at, *self._running_at), values, strict=True):
            view[row] = value

    def add_counts(self, row: int, counts: Sequence[int]) -> None:
        """Count more in the running interval: throttle, and what each control dropped."""
        for count, more in zip((self.throttle_at, *self.dropped_at), counts, strict=True):
            if more:
                count[row] = min(count[row] + more, MAXIMUM)

    def is_enforcing(self, row: int) -> bool:
        """Whether an offer over a limit here is rejected."""
        return self.terms[self.rule_at[row]].enforcing

    def are_enforcing(self, rows: Column) -> NDArray[np.bool_]:
        """The same for many."""
        return self._enforcing[self.rule[rows]]

    def throughputs(self, rows: Column) -> Column:
        """The throughput limits that the rules set, `MAXIMUM` where there is none."""
        limits = np.full(len(rows), MAXIMUM, np.int64)
        held = self.rule[rows] != NO_RULE
        limits[held] = self._throughputs[self.rule[rows[held]]]
        return limits

    def allow(self, rows: Column, points: Column) -> None:
        """Let no more than so many points be accepted in the running interval, those accepted already included."""
        used = self.limit[rows] - self.remaining[rows]
        self.limit[rows] = points
        self.remaining[rows] = points - used
        self._is_lowered = True

    def grant(self, rows: Column, points: Column) -> None:
        """Let so many more points be accepted in the running interval."""
        self.limit[rows] += points
        self.remaining[rows] += points
        self._is_lowered = True

    def grant_ahead(self, rows: Column, points: Column) -> None:
        """Let so many more points be accepted in the next interval than it would begin with."""
        self.ahead[rows] += points
        self._is_lowered = True

    def take_back(self, rows: Column, points: Column) -> Column:
        """Let so many points fewer be accepted in the running interval, as far as they are left; how many."""
        taken = np.clip(np.minimum(points, self.remaining[rows]), 0, None)
        self.limit[rows] -= taken
        self.remaining[rows] -= taken
        return taken

    def rates_now(self) -> tuple[NDArray[np.object_], Column]:
        """The namespaces with accepted points in this interval under a throughput limit, by name, and how many."""
        size = self.size
        rows = np.flatnonzero((self.remaining[:size] != self.limit[:size]) & (self.rule[:size] != NO_RULE))
        return self.kept_names(rows), self.limit[rows] - self.remaining[rows]

    def use_many(self, rows: Column, points: Column) -> None:
        """Have so many more points be accepted in this interval, pairwise, where there is a throughput limit."""
        metered = self._metered[self.rule[rows]]
        rows, points = rows[metered], points[metered]
        least = self.limit[rows] - MAXIMUM
        self.remaining[rows] = np.maximum(self.remaining[rows] - least, points) - points + least

    def have_counts(self) -> bool:
        """Whether anything was counted in the running interval."""
        size = self.size
        return bool((self.remaining[:size] != self.limit[:size]).any()) or any(
            count[:size].any() for count in self.counts
        )

    def close(self, *, in_order: bool = True) -> None:
        """End the interval: its counts wait for a report from here on, and the throughput limits start anew.

        With `in_order`, the next interval begins. Without, it is another one, as the clock was set: then nothing counts
        that was granted for the next, and prepaid limits begin with nothing.
        """
        for stretch in self.stretches():
            self._close_some(stretch)
        # The kernel gives new quotas their first part without a word.
        if self._is_lowered or self.parts != 1:
            rows = self.in_use()
            rows = rows[self._metered[self.rule[rows]]]
            self._is_lowered = False
            self.parts = self.next_parts if in_order or self.next_parts == 1 else 0
            self.limit[rows] = self.remaining[rows] = self._first_parts(rows)
            if in_order:
                self.limit[rows] += self.ahead[rows]
                self.remaining[rows] = self.limit[rows]
            self.ahead[rows] = 0

    def stretches(self) -> Iterator[slice]:
        """All rows, so many at a time."""
        for start in range(0, self.size, _STRETCH):
            yield slice(start, min(start + _STRETCH, self.size))

    def have_memory_to_close(self, stretch: slice) -> None:
        """Write where `close` is about to: where nothing was ever written, that is what takes longest."""
        for rows, _, ended in self._counted(stretch):
            ended[rows] += 0

    def _close_some(self, stretch: slice) -> None:
        """`close` for a stretch of rows."""
        for rows, counts, ended in self._counted(stretch):
            # Where most have a count, whole columns are quicker than the rows.
            at = slice(None) if 2 * len(rows) > len(counts) else rows
            _add_saturating(ended, at, counts[at])
            counts[at] = 0
        limit, remaining = self.limit[stretch], self.remaining[stretch]
        if (limit != remaining).any():
            remaining[:] = limit

    def _counted(self, stretch: slice) -> Iterator[tuple[Column, Column, Column]]:
        """The places in a stretch where something was counted, with the counts and those of ended intervals there."""
        used = self.limit[stretch] - self.remaining[stretch]
        for running, ended in ((used, self.closed_throughput[stretch]), *self._pairs_of_counts(stretch)):
            yield np.flatnonzero(running), running, ended

    def _pairs_of_counts(self, stretch: slice) -> Iterator[tuple[Column, Column]]:
        for running, ended in zip(self.counts, self.closed_counts, strict=True):
            yield running[stretch], ended[stretch]

    def clear_closed(self) -> None:
        """Forget the counts that were reported."""
        for closed in (self.closed_throughput, *self.closed_counts):
            closed[np.flatnonzero(closed[: self.size])] = 0

    def inherit(self, rows: Column, other: Quotas, sources: Column) -> None:
        """Carry the counts of namespaces over from their quotas under the rules before; both int64, pairwise."""
        for name in ("closed_throughput", *_COUNTS, *(f"closed_{count}" for count in _COUNTS)):
            counts = getattr(other, name)[sources]
            counted = np.flatnonzero(counts)
            getattr(self, name)[rows[counted]] = counts[counted]
        used = other.limit[sources] - other.remaining[sources]
        # Without a throughput limit nothing is counted.
        used[~self._metered[self.rule[rows]]] = 0
        if self.parts != 1:
            before = np.where(other._metered[other.rule[sources]], other.limit[sources], MAXIMUM)
            self.limit[rows] = np.minimum(before, self.throughputs(rows))
            self.ahead[rows] = other.ahead[sources]
        self.remaining[rows] = self.limit[rows] - used


def _add_saturating(total: Column, rows: Column | slice, more: Column) -> None:
    """Add at distinct rows in place, stopping at 2^63 - 1; no number may be negative."""
    before = total[rows]
    total[rows] = before + np.minimum(more, MAXIMUM - before)
