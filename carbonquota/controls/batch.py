"""The decision on a batch of lines: at once where that is exact, one line at a time where it must be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.controls.admission import Admission, Rejections
from carbonquota.controls.arrivals import New, at_ease, sizes_of, take_in
from carbonquota.controls.decision import ACCEPTED, Decider, Outcome
from carbonquota.controls.flow import ALL_ACCEPTED, Settled, settle
from carbonquota.errors import MetricNameError
from carbonquota.kernel import BLANK, UNKNOWN, Lines, Malformed, parse
from carbonquota.metric_name import dotted_part, normalize
from carbonquota.trie import NO_QUOTA, Index

_MANY_NEW: Final = 16
"""From so many new metrics in a batch on, looking for those that can be taken in at once pays."""

Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.int32]


@dataclass(slots=True)
class _Finds:
    """What lines turned out to be that are no points of known series.

    New metrics by line position, malformed lines' positions by their reason, and how many
    lines are blank.
    """

    metrics: dict[int, New] = field(default_factory=dict)
    malformed: dict[Malformed, list[int]] = field(default_factory=dict)
    blanks: int = 0

    def resolve(self, index: Index, position: int, name: bytes | Malformed | None) -> int:
        """The row that a line's name has in the index, else UNKNOWN, BLANK or the reason, noted here."""
        if name is None:
            self.blanks += 1
            return BLANK
        if isinstance(name, bytes):
            row = index.find(name)
            if row != UNKNOWN:
                return row
            try:
                metric = normalize(name)
            except MetricNameError:
                name = Malformed.NAME
            else:
                return self._note(index, position, metric, respelled=metric.encode() != name)
        self.malformed.setdefault(name, []).append(position)
        return name

    def _note(self, index: Index, position: int, metric: str, *, respelled: bool) -> int:
        """The row of a metric by its normal name, or UNKNOWN and where it will lie."""
        row = index.find(metric.encode()) if respelled else UNKNOWN
        if row == UNKNOWN:
            self.metrics[position] = New(metric, *index.locate(dotted_part(metric)))
        return row


def admit_singly(decider: Decider, buffer: bytes) -> Admission:
    """Decide and charge a buffer's data points line by line: the quicker way for a few lines."""
    *lines, tail = buffer.split(b"\n")
    lines = [line + b"\n" for line in lines]
    if tail:
        lines.append(tail)
    finds, rejected, kept = _Finds(), {}, []
    for position, line in enumerate(lines):
        row = finds.resolve(decider.index, position, parse(line))
        outcome = _offer(decider, row, finds.metrics.get(position)) if row >= UNKNOWN else ACCEPTED
        if outcome is not ACCEPTED:
            rejected[position] = outcome
        elif row >= BLANK:
            kept.append(line)
    accepted = buffer if len(kept) == len(lines) else b"".join(kept)
    labels = [decider.index.quotas.labels[quota] for quota, _ in rejected.values()]
    controls = {position: control for position, (_, control) in rejected.items()}
    rejections = Rejections(list(rejected), labels, controls)
    points = len(kept) - finds.blanks
    return Admission(accepted, points, rejections, finds.malformed, lines.__getitem__, decider.grants)


def admit(decider: Decider, lines: Lines) -> Admission:
    """Decide and charge the data points on scanned lines, in their order, as `admit_singly` would."""
    index = decider.index
    rows = index.table.find_lines(lines)
    finds = _Finds()
    for position in (rows == UNKNOWN).nonzero()[0].tolist():
        name = lines.name(position) if lines.regular[position] else parse(lines.line(position))
        rows[position] = finds.resolve(index, position, name)
    if finds.malformed or finds.blanks:
        positions = (rows >= UNKNOWN).nonzero()[0]
        return _answer(decider, lines, finds, rows[positions], positions)
    return _answer(decider, lines, finds, rows, None)


def _answer(decider: Decider, lines: Lines, finds: _Finds, rows: Integers, positions: Integers | None) -> Admission:
    """Decide on the points of series at `rows`; `positions` are those of their lines, None for all lines."""
    rejecters, controls = _decide(decider, rows, positions, finds.metrics)
    accepted, rejections = lines.buffer, Rejections((), (), {})
    if rejecters is not None:
        at = rejecters.nonzero()[0]
        labels = decider.index.quotas.labels.take(rejecters[at])
        rejections = Rejections(at if positions is None else positions[at], labels, controls)
    if len(rejections) or finds.malformed:
        accepted = lines.cut(_kept(lines, finds, rejecters, positions))
    return Admission(accepted, len(rows) - len(rejections), rejections, finds.malformed, lines.line, decider.grants)


def _kept(lines: Lines, finds: _Finds, rejecters: Rows | None, positions: Integers | None) -> Bools:
    """Which lines to pass on: accepted points and blank lines."""
    if positions is None and rejecters is not None:
        kept: Bools = rejecters == NO_QUOTA
        return kept
    kept = np.ones(len(lines), np.bool_)
    if rejecters is not None:
        kept[positions] = rejecters == NO_QUOTA
    for malformed in finds.malformed.values():
        kept[malformed] = False
    return kept


def _decide(
    decider: Decider, rows: Integers, positions: Integers | None, metrics: dict[int, New]
) -> tuple[Rows | None, dict[int, int]]:
    """The rejecting quota of each point or NO_QUOTA, None for no rejection at all; and controls by line position.

    Where no control is said, it is throughput. `metrics` has the new metrics by line position.
    """
    index = decider.index
    holders = index.namespaces.quota.take(index.series.namespace.take(rows, mode="clip"))
    if not metrics:
        settled = settle(index.quotas, holders)
    else:
        unknown = (rows == UNKNOWN).nonzero()[0]
        places = unknown if positions is None else positions[unknown]
        news = [metrics[place] for place in places.tolist()]
        holders[unknown] = [index.namespaces.quota_at[new.namespace] for new in news]
        settled = _settle_with_new(decider, holders, unknown, news)
    if settled is ALL_ACCEPTED:
        return None, {}
    controls = {}
    rejecters = settled.rejecters
    for single in settled.singles.tolist():
        position = single if positions is None else int(positions[single])
        rejecters[single], controls[position] = _offer(decider, int(rows[single]), metrics.get(position))
    return rejecters, controls


def _settle_with_new(decider: Decider, holders: Integers, unknown: Integers, news: Sequence[New]) -> Settled:
    """`settle` for points of which those at `unknown` are of new metrics; the ones at ease are taken in."""
    singly = np.zeros(len(holders), np.bool_)
    singly[unknown] = True
    sizes = sizes_of(decider, news) if len(news) >= _MANY_NEW else []
    if not sizes:
        return settle(decider.index.quotas, holders, singly)
    easy = at_ease(decider, news, sizes).nonzero()[0]
    singly[unknown[easy]] = False
    settled = settle(decider.index.quotas, holders, singly if singly.any() else None)
    if settled is not ALL_ACCEPTED:
        rejected = settled.rejecters != NO_QUOTA
        rejected[settled.singles] = True
        easy = easy[~rejected[unknown[easy]]]
    if len(easy):
        chosen = easy.tolist()
        take_in(decider.index, [news[place] for place in chosen], [sizes[place] for place in chosen])
    return settled


def _offer(decider: Decider, row: int, new: New | None) -> Outcome:
    """Decide on one point of the series at `row`, or of a new metric."""
    if row == UNKNOWN and new is not None:
        # An earlier line of the batch may have brought the metric, or its namespaces, into the index.
        row = decider.index.find(new.metric.encode())
        if row == UNKNOWN:
            if new.missing:
                return decider.offer_new(new.metric, 1)
            return decider.offer_located(new.metric, new.namespace, (), 1)
    return decider.offer_known(row, 1)
