"""The decision on one offer: throughput first, then, for a new metric, what the namespaces above it hold.

Before all that, a new metric is turned away if this second has brought as many as are allowed, whatever the rules
say of it. That is asked first because it is the answer to a flood of new names, so it has to cost next to nothing.

Nothing is charged before the whole offer is accepted. A namespace that the offer would create is under its rule
already: its limits are looked at without creating it, as an empty namespace can only be passed by an offer that is
larger than a limit by itself. Only then is it created before the decision, so that it can count the rejection, and
it goes again with the report that gives that count.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import Final

from carbonquota.controls import flow, stocks
from carbonquota.controls.binding import bind, ledger_of
from carbonquota.controls.creates import Creates
from carbonquota.controls.table import CREATES, THROUGHPUT, Grant
from carbonquota.errors import QuotaError
from carbonquota.kernel import UNKNOWN
from carbonquota.metric_name import dotted_part, normalize
from carbonquota.model import Size, SizeOf
from carbonquota.trie import NO_QUOTA, Index

Outcome = tuple[int, int]
"""The quota that rejects an offer and the control, or `ACCEPTED`."""

ACCEPTED: Outcome = (NO_QUOTA, -1)

NO_RULES_QUOTA: Final = -1
"""Stands for a quota where not a rule rejects but the bound on new metrics."""

TOO_MANY: Outcome = (NO_RULES_QUOTA, CREATES)
"""As many metrics as are allowed were created in this second."""


class Decider:
    """Decides offers against an index, and charges them there. Not safe to use from two threads at once."""

    __slots__ = ("_second", "creates", "grants", "index", "ledger", "size_of")

    def __init__(
        self, index: Index, grants: tuple[Grant, ...], size_of: SizeOf, creates_per_second: int | None = None
    ) -> None:
        """Decide by `grants`, the index's rules made ready; `size_of` is asked for the size of new metrics.

        `creates_per_second` bounds new metrics, where `keep_time` is called before each decision.
        """
        self.creates = Creates(creates_per_second)
        self._second = -1
        self.index = index
        self.grants = grants
        self.size_of = size_of
        self.ledger = ledger_of(index)
        if self.ledger is not None:
            index.moved = self._bind
            self._bind()

    def put_in_force(self, grants: tuple[Grant, ...], size_of: SizeOf | None) -> None:
        """Decide by these from now on; the index must be under their rules. Without a `size_of` the old one stays."""
        self.grants = grants
        self.size_of = size_of or self.size_of
        self._bind()

    def _bind(self) -> None:
        """Let the ledger, where there is one, know where everything is."""
        if self.ledger is not None:
            bind(self.ledger, self.index, self.grants)

    def keep_time(self, now: float) -> None:
        """Have what is decided from here on happen at `now`, in seconds since the epoch; only whole ones matter."""
        if not self._second <= now < self._second + 1:
            self._second = floor(now)
            self.creates.keep_time(now)
            if self.index.seen is not None:
                self.index.seen.keep_time(now)
                if self.ledger is not None:
                    self.ledger.keep_time(self.index.seen.now)

    def offer_found(self, metric: str | bytes, points: int) -> int:
        """Decide on points of a metric that is in the index under this very name: the rejecting quota, or `NO_QUOTA`.

        UNKNOWN where it is not. For where there is no ledger, whose `offer_now` does the same.
        """
        try:
            key = metric.encode() if isinstance(metric, str) else metric
        except UnicodeError:
            return UNKNOWN  # so that the name is looked at closely
        row = self.index.table.get(key)
        return UNKNOWN if row is None else self.offer_known(row, points)[0]

    def offer_named(self, metric: str | bytes, points: int, size: Size | None = None) -> Outcome:
        """Decide on points of a metric, in whatever spelling; MetricNameError where it cannot be one."""
        name = normalize(metric)
        row = self.index.find(name.encode())
        return self.offer_new(name, points, size) if row == UNKNOWN else self.offer_known(row, points)

    def offer_known(self, row: int, points: int) -> Outcome:
        """Decide on points of the series at this row."""
        index = self.index
        quotas = index.quotas
        chain = quotas.flow_chain(index.namespaces.quota_at[index.table.namespace_of(row)])
        rejecter = flow.take(quotas, chain, points)
        if rejecter != NO_QUOTA:
            return rejecter, THROUGHPUT
        if (seen := index.seen) is not None:
            seen.time_at[row] = seen.now
        return ACCEPTED

    def offer_new(self, metric: str, points: int, size: Size | None = None) -> Outcome:
        """Decide on points of a metric that is not in the index, by its normal name; put it there if accepted."""
        if self.creates.left <= 0:
            return TOO_MANY
        return self.offer_located(metric, *self.index.locate(dotted_part(metric)), points, size)

    def offer_located(
        self, metric: str, row: int, missing: Sequence[str], points: int, size: Size | None = None
    ) -> Outcome:
        """`offer_new` where `Index.locate` was asked already: the metric lies in `row`, or in `missing` below it."""
        if self.creates.left <= 0:
            return TOO_MANY
        index = self.index
        # Asked first, for an error in it must leave nothing behind.
        size = self.checked_size(metric, size)
        coming = self._grants_below(row, missing) if missing else ()
        if coming and any(grant.throughput < points for grant in coming):
            row, missing = index.create(row, missing), ()
        outcome = self._ask_flows(row, points)
        if outcome is ACCEPTED:
            if missing and self._is_over_alone(coming, size):
                row, missing = index.create(row, missing), ()
            outcome = self._ask_stocks(row, missing, size, points)
            if outcome is ACCEPTED:
                self._accept(metric, index.create(row, missing) if missing else row, size, points)
                return outcome
        index.sweep(row)
        return outcome

    def _grants_below(self, row: int, missing: Sequence[str]) -> list[Grant]:
        """What holds the namespaces that are still to be created."""
        return [self.grants[rule] for rule in self.index.foresee(row, missing) if rule >= 0]

    def _ask_flows(self, row: int, points: int) -> Outcome:
        """Throughput, from the root down to the namespace at `row`."""
        quotas = self.index.quotas
        rejecter = flow.ask(quotas, quotas.flow_chain(self.index.namespaces.quota_at[row]), points)
        return ACCEPTED if rejecter == NO_QUOTA else (rejecter, THROUGHPUT)

    def _is_over_alone(self, coming: Sequence[Grant], size: Size) -> bool:
        """Whether one metric of this size passes a limit of an empty namespace."""
        needed = stocks.need(size, 0)
        return any(stocks.first_over_when_empty(grant, needed) >= 0 for grant in coming)

    def _ask_stocks(self, row: int, missing: Sequence[str], size: Size, points: int) -> Outcome:
        """What is held, from the root down to the namespace at `row`, below which `missing` would be created."""
        namespaces, quotas = self.index.namespaces, self.index.quotas
        usage = stocks.usage_views(namespaces)
        gaining = namespaces.gaining(row, missing=bool(missing))
        usual = stocks.need(size, 0)
        for quota in quotas.chain(namespaces.quota_at[row]):
            grant = self.grants[quotas.rule_at[quota]]
            if grant.checks:
                namespace = quotas.namespace_at[quota]
                needed = stocks.need(size, 1) if namespace == gaining else usual
                control = stocks.first_over(grant, usage, namespace, needed)
                if control >= 0 and flow.over(quotas, quota, control, points):
                    return quota, control
        return ACCEPTED

    def _accept(self, metric: str, row: int, size: Size, points: int) -> None:
        """Charge everything that the metric at `row` and its points take."""
        index = self.index
        index.add(metric.encode(), row, size)
        self.creates.left -= 1
        flow.charge(index.quotas, index.quotas.flow_chain(index.namespaces.quota_at[row]), points)

    def checked_size(self, metric: str, size: Size | None) -> Size:
        """What a new metric holds, asked for where it is not given; QuotaError where the sums cannot take it."""
        size = self.size_of(metric) if size is None else size
        if not self.index.namespaces.can_hold(size):
            raise _too_large(metric, size)
        return size

    def resize(self, metric: str, row: int, size: Size) -> None:
        """Count a known metric with another size; QuotaError where the sums cannot take it."""
        index = self.index
        held = index.series.size_of(row)
        if not index.namespaces.can_hold(size, instead_of=held):
            raise _too_large(metric, size)
        if size != held:
            index.resize(metric.encode(), row, size)


def _too_large(metric: str, size: Size) -> QuotaError:
    return QuotaError(f"the sizes of all metrics would pass 2^63 - 1 with {metric!r} of {size}")
