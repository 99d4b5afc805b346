"""A batch decided without a compiled kernel: as columns where that is exact, one line at a time where it must be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from carbonquota.controls.admission import Admission
from carbonquota.controls.arrivals import New, look_at, take_in
from carbonquota.controls.decision import ACCEPTED, NO_RULES_QUOTA, Decider, Outcome
from carbonquota.controls.flow import ALL_ACCEPTED, Settled, count_over, settle
from carbonquota.controls.rejections import Rejections
from carbonquota.controls.table import CREATES, METRICS, THROUGHPUT
from carbonquota.errors import MetricNameError
from carbonquota.kernel import BLANK, UNKNOWN, Lines, Malformed, parse
from carbonquota.metric_name import dotted_part, normalize
from carbonquota.trie import NO_QUOTA, Index

_MANY_NEW: Final = 16
"""From so many new metrics in a batch on, looking for those that can be taken in at once pays."""

FEW_BYTES: Final = 1200
"""Up to so many bytes, deciding line by line is quicker than as columns."""

_REFUSED: Final = -7
"""Stands for a row where a line's metric is new and no new one is allowed; beside what the kernel has there."""

Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.int32]
Controls = NDArray[np.int8]

_NOTHING: Final[Integers] = np.zeros(0, np.int64)
_NO_CONTROLS: Final[Controls] = np.zeros(0, np.int8)


@dataclass(slots=True)
class _Finds:
    """What lines turned out to be that are no points of known series.

    New metrics by line position, malformed lines' positions by their reason, and how many lines are blank. Where
    `closed`, no new metric is allowed: then `refused` has the positions of theirs, and they are not looked at further.
    """

    closed: bool = False
    refused: list[int] = field(default_factory=list)
    metrics: dict[int, New] = field(default_factory=dict)
    malformed: dict[Malformed, list[int]] = field(default_factory=dict)
    blanks: int = 0

    def resolve(self, index: Index, position: int, name: bytes | Malformed | None) -> int:
        """The row that a line's name has in the index, else UNKNOWN, BLANK, _REFUSED or the reason, noted here."""
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
            if self.closed:
                self.refused.append(position)
                return _REFUSED
            self.metrics[position] = New(metric, *index.locate(dotted_part(metric)))
        return row


def _admit_singly(decider: Decider, buffer: bytes) -> Admission:
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
    quotas = np.array([quota for quota, _ in rejected.values()], np.int32)
    controls = np.array([control for _, control in rejected.values()], np.int8)
    positions = np.array(list(rejected), np.int64)
    rejections = Rejections(decider.index.quotas, positions, quotas, controls) if rejected else None
    points = len(kept) - finds.blanks
    return Admission(accepted, points, rejections, finds.malformed, lines.__getitem__, decider.grants)


def prepare(decider: Decider, buffer: bytes) -> bytes | Lines:
    """A buffer made ready for `admit`, as far as that needs no lock: threads can do it side by side."""
    return buffer if len(buffer) <= FEW_BYTES else cast("Lines", decider.index.table.read(buffer))


def admit(decider: Decider, prepared: bytes | Lines) -> Admission:
    """Decide and charge the data points on a buffer's lines, in their order; to be called under the index's lock."""
    if isinstance(prepared, bytes):
        return _admit_singly(decider, prepared)
    return _admit_at_once(decider, prepared)


def _admit_at_once(decider: Decider, lines: Lines) -> Admission:
    """Decide and charge the data points on scanned lines, as `_admit_singly` would."""
    index = decider.index
    rows = index.table.find_lines(lines)
    finds = _Finds(closed=decider.creates.left <= 0)
    for position in (rows == UNKNOWN).nonzero()[0].tolist():
        name = lines.name(position) if lines.regular[position] else parse(lines.line(position))
        rows[position] = finds.resolve(index, position, name)
    if finds.malformed or finds.blanks or finds.refused:
        positions = (rows >= UNKNOWN).nonzero()[0]
        return _answer(decider, lines, finds, rows[positions], positions)
    return _answer(decider, lines, finds, rows, None)


def _answer(decider: Decider, lines: Lines, finds: _Finds, rows: Integers, positions: Integers | None) -> Admission:
    """Decide on the points of series at `rows`; `positions` are those of their lines, None for all lines."""
    rejecters, controls = _decide(decider, rows, positions, finds.metrics)
    if decider.index.seen is not None:
        known = rows >= 0 if rejecters is None else (rows >= 0) & (rejecters == NO_QUOTA)
        decider.index.seen.note_many(rows[known])
    rejections = _rejections(decider, finds.refused, rejecters, controls, positions)
    accepted = lines.buffer
    dropped = 0 if rejections is None else len(rejections)
    if dropped or finds.malformed:
        accepted = lines.cut(_kept(lines, finds, rejecters, positions))
    points = len(rows) - dropped + len(finds.refused)
    return Admission(accepted, points, rejections, finds.malformed, lines.line, decider.grants)


def _rejections(
    decider: Decider, refused: list[int], rejecters: Rows | None, controls: Controls, positions: Integers | None
) -> Rejections | None:
    """The dropped lines: those refused, and those of points with a rejecter."""
    if rejecters is None and not refused:
        return None
    rejecters = np.zeros(0, np.int32) if rejecters is None else rejecters
    at = rejecters.nonzero()[0]
    places = at if positions is None else positions[at]
    by, controls = rejecters[at], controls[at]
    if refused:
        places = np.concatenate((np.array(refused, np.int64), places))
        by = np.concatenate((np.full(len(refused), NO_RULES_QUOTA, np.int32), by))
        controls = np.concatenate((np.full(len(refused), CREATES, np.int8), controls))
    return Rejections(decider.index.quotas, places, by, controls)


def _kept(lines: Lines, finds: _Finds, rejecters: Rows | None, positions: Integers | None) -> Bools:
    """Which lines to pass on: accepted points and blank lines."""
    if positions is None and rejecters is not None:
        kept: Bools = rejecters == NO_QUOTA
        return kept
    kept = np.ones(len(lines), np.bool_)
    if rejecters is not None:
        kept[positions] = rejecters == NO_QUOTA
    kept[finds.refused] = False
    for malformed in finds.malformed.values():
        kept[malformed] = False
    return kept


def _decide(
    decider: Decider, rows: Integers, positions: Integers | None, metrics: dict[int, New]
) -> tuple[Rows | None, Controls]:
    """The rejecting quota of each point or NO_QUOTA, None for no rejection at all; and the control by which it does.

    `metrics` has the new metrics by line position.
    """
    index = decider.index
    holders = index.namespaces.quota.take(index.table.namespaces_of(rows))
    if not metrics:
        settled, away = settle(index.quotas, holders), _NOTHING
    else:
        unknown = (rows == UNKNOWN).nonzero()[0]
        places = unknown if positions is None else positions[unknown]
        news = [metrics[place] for place in places.tolist()]
        holders[unknown] = [index.namespaces.quota_at[new.namespace] for new in news]
        settled, away = _settle_with_new(decider, holders, unknown, news)
    if settled is ALL_ACCEPTED:
        return None, _NO_CONTROLS
    controls = np.full(len(rows), THROUGHPUT, np.int8)
    controls[away] = METRICS
    rejecters, singles = settled.rejecters, settled.singles
    places = singles if positions is None else positions[singles]
    for single, row, position in zip(singles.tolist(), rows[singles].tolist(), places.tolist(), strict=True):
        rejecters[single], controls[single] = _offer(decider, row, metrics.get(position))
    return rejecters, controls


def _settle_with_new(
    decider: Decider, holders: Integers, unknown: Integers, news: Sequence[New]
) -> tuple[Settled, Integers]:
    """`settle` for points of which those at `unknown` are of new metrics; and which were rejected for their number."""
    quotas = decider.index.quotas
    singly = np.zeros(len(holders), np.bool_)
    singly[unknown] = True
    if len(news) < _MANY_NEW:
        return settle(quotas, holders, singly), _NOTHING
    arrivals = look_at(decider, news)
    if arrivals.may_come() > decider.creates.left:
        # Which of them come too late for this second depends on all that come before.
        return settle(quotas, holders, singly), _NOTHING
    easy, away = unknown[arrivals.at_ease], unknown[arrivals.turned_away]
    singly[easy] = singly[away] = False
    uncharged = np.zeros(len(holders), np.bool_)
    uncharged[away] = True
    settled = settle(quotas, holders, singly, uncharged)
    if settled is ALL_ACCEPTED:
        take_in(decider, arrivals, np.ones(len(easy), np.bool_))
        return settled, away
    undecided = settled.rejecters == NO_QUOTA
    undecided[settled.singles] = False
    take_in(decider, arrivals, undecided[easy])
    rejecters = arrivals.turned_away_by[undecided[away]]
    away = away[undecided[away]]
    settled.rejecters[away] = rejecters
    count_over(quotas, rejecters, METRICS)
    return settled, away


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
