"""Everything out of an index in one moment, and much into it at once: what a snapshot and a restart need.

Theory of operation. `copy_of` is called under the index's lock and copies columns only; `Copy.holdings`, which
takes longer, needs no lock. The other way, `restore` groups the series by namespace, so that each namespace is made
and charged once however many series it holds, and the names go into the table as a whole. The holdings come from a
file, so `check` looks at all of them first, and what it raises leaves the index as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from carbonquota.control import CAPACITIES, amounts_of
from carbonquota.errors import QuotaError
from carbonquota.kernel import UNKNOWN, JoinedNames, Survey, TableCopy, survey
from carbonquota.model import MAXIMUM, ROOT, Size
from carbonquota.trie.columns import Column
from carbonquota.trie.holdings import Holdings
from carbonquota.trie.index import Index
from carbonquota.trie.quotas import NO_QUOTA

Amounts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Copy:
    """An index at one moment, as its columns had it: `table` has the names and rows, the others are by row."""

    table: TableCopy
    sizes: list[Size]
    size_numbers: NDArray[np.int32]
    seen: NDArray[np.uint32] | None
    rate_names: NDArray[np.object_]
    rates: Column

    def holdings(self, interval_start: float) -> Holdings:
        """The same by series; the running interval began at `interval_start`."""
        rows = self.table.rows
        return Holdings(
            names=self.table.names(),
            sizes=self.sizes,
            size_numbers=self.size_numbers[rows],
            seen=np.zeros(len(rows), np.uint32) if self.seen is None else self.seen[rows],
            interval_start=interval_start,
            rates=dict(zip(self.rate_names.tolist(), self.rates.tolist(), strict=True)),
        )


def copy_of(index: Index) -> Copy:
    """A copy, to be made under the index's lock."""
    index.catch_up()
    series, seen = index.series, index.seen
    rate_names, rates = index.quotas.rates_now()
    return Copy(
        table=index.table.copy(),
        sizes=series.sizes.copy(),
        size_numbers=series.size_number[: series.size].copy(),
        seen=None if seen is None else seen.time[: seen.size].copy(),
        rate_names=rate_names,
        rates=rates,
    )


def restore(index: Index, holdings: Holdings, surveyed: Survey) -> None:
    """Put all series that are not there yet into the index; QuotaError where the sums cannot take them.

    `surveyed` is what `check` gave for these holdings. No change is recorded.
    """
    if len(index):
        holdings = _without_known(index, holdings)
        surveyed = survey(JoinedNames.of(holdings.names))
    names, sizes, numbers = JoinedNames.of(holdings.names), holdings.sizes, holdings.size_numbers
    _check_sums(index, sizes, numbers)
    if not names:
        return
    paths, groups = surveyed.namespaces, surveyed.groups
    namespaces = index.create_many([path.decode() or ROOT for path in paths])
    rows = index.table.insert_many(names, namespaces[groups])
    index.series.put_many(rows, sizes, numbers)
    index.namespaces.fill(namespaces, _sums(len(paths), groups, sizes, numbers))
    if index.seen is not None:
        index.seen.put_many(rows, holdings.seen)


def restore_rates(index: Index, rates: Mapping[str, int]) -> None:
    """Have these points, by namespace, count as accepted in the running interval, where there is a limit of them."""
    rows = index.create_many(list(rates))
    points = np.fromiter(rates.values(), np.int64, len(rates))
    namespaces, quotas = index.namespaces, index.quotas
    held = namespaces.quota[rows]
    own = (held != NO_QUOTA) & (quotas.namespace[held] == rows)
    quotas.use_many(held[own], points[own])
    for row in rows[namespaces.metrics[rows] == 0].tolist():
        # It may have been created for this; if so, it stays for as long as these points count. Some go with others.
        if namespaces.is_in_use(row):
            index.prune(row)


def _without_known(index: Index, holdings: Holdings) -> Holdings:
    """What of the holdings is not in the index."""
    fresh = [place for place, name in enumerate(holdings.names) if index.find(name) == UNKNOWN]
    return replace(
        holdings,
        names=[holdings.names[place] for place in fresh],
        size_numbers=holdings.size_numbers[fresh],
        seen=holdings.seen[fresh],
    )


def _check_sums(index: Index, sizes: Sequence[Size], numbers: NDArray[np.int32]) -> None:
    """QuotaError where the sizes of all these series would bring a sum past 2^63 - 1."""
    holders = np.bincount(numbers, minlength=len(sizes)).tolist()
    totals = [
        sum(count * amount for count, amount in zip(holders, amounts, strict=True))
        for amounts in zip(*map(astuple, sizes), strict=True)
    ]
    if totals and (max(totals) > MAXIMUM or not index.namespaces.can_hold(Size(*totals))):
        raise QuotaError(f"the sizes of all metrics would pass 2^63 - 1 with the {len(numbers):,} to restore")


def _sums(count: int, groups: Column, sizes: Sequence[Size], numbers: NDArray[np.int32]) -> Amounts:
    """What the series in each of `count` groups hold, int64, shape (capacities, count)."""
    held = np.array([amounts_of(size) for size in sizes], np.int64)
    sums = np.zeros((len(CAPACITIES), count), np.int64)
    for total, amounts in zip(sums, held.T, strict=True):
        np.add.at(total, groups, amounts[numbers])
    return sums
