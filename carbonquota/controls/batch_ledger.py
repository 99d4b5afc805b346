"""A batch decided by the compiled kernel's ledger, line after line, with Python's help where a line needs it.

Theory of operation. The ledger decides until it meets a line that needs more than columns: a metric whose namespace is
to be created, a name that may not be in normal form, a line that only `parse` understands. That line has its turn
here, and the ledger goes on behind it. Sizes of new metrics are asked for before, as that is Python, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.controls.admission import Admission
from carbonquota.controls.decision import Decider
from carbonquota.controls.rejections import Rejections
from carbonquota.errors import MetricNameError
from carbonquota.kernel import BLANK, UNKNOWN, CompiledLines, Ledger, Malformed, parse
from carbonquota.model import MAXIMUM, Size
from carbonquota.trie import Index

Sizes = NDArray[np.int64]

_NO_SIZES: Final[Sizes] = np.zeros((0, 4), np.int64)
_MANY_MISSING: Final = 8
"""From so many namespaces on, creating them at once pays."""

_UNUSUAL: Final = -1
"""Stands for the number of a size that the columns could not take."""


def decide(decider: Decider, ledger: Ledger, lines: CompiledLines) -> None:
    """Decide and charge the data points on lines, in their order."""
    decider.index.table.renew(lines)
    if lines.unknown and decider.creates.left > 0:
        _decide_with_new(decider, ledger, lines)
    else:
        _decide(decider, ledger, lines, _NO_SIZES)


def answer(decider: Decider, lines: CompiledLines) -> Admission:
    """What became of decided lines; to be asked for under the index's lock, unless they are settled."""
    rejections = Rejections(decider.index.quotas, *lines.rejected()) if lines.dropped else None
    malformed = {Malformed(why): at for why, at in lines.malformed_at().items()} if lines.malformed else {}
    return Admission(lines.cut(), lines.accepted, rejections, malformed, lines.line, decider.grants)


def _decide(decider: Decider, ledger: Ledger, lines: CompiledLines, sizes: Sizes) -> None:
    """Decide on all lines; `sizes` has a row for each size of new metrics, with its number at the end."""
    position, count = 0, len(lines)
    while (position := ledger.decide(lines, position, sizes, decider.creates.left)) < count:
        decider.creates.left = lines.creates_left
        _take_turn(decider, lines, position)
        position += 1
    decider.creates.left = lines.creates_left


def _decide_with_new(decider: Decider, ledger: Ledger, lines: CompiledLines) -> None:
    """The same where some lines are of new metrics."""
    index = decider.index
    sizes = _ask_sizes(decider, lines)
    numbers = [index.series.number(size, 0) for size in sizes]
    rows = [
        (size.logical, size.physical, size.data_points, number) for size, number in zip(sizes, numbers, strict=True)
    ]
    amounts = np.array(rows, np.int64).reshape(-1, 4)
    tentative = _create_missing(decider, ledger.missing(lines, amounts))
    # A line that is left to its turn in Python may bring a metric, too.
    more = lines.unknown + lines.doubts
    ledger.reserve(more)
    for columns in (index.series, index.seen):
        if columns is not None:
            columns.reserve(index.table.size + more)
    try:
        _decide(decider, ledger, lines, amounts)
    finally:
        # What a turn in Python raises must not leave half of what was decided before it.
        index.cover()
        _note_created(index, lines, sizes, numbers)
        _sweep(index, tentative)


def _sweep(index: Index, tentative: Sequence[int]) -> None:
    """Remove what was created for metrics that were all rejected, as far as nothing of it is to be reported."""
    for row in tentative:
        # Some may have gone with others.
        if index.namespaces.born_at[row]:
            index.sweep(row)


def _create_missing(decider: Decider, names: Sequence[str]) -> Sequence[int]:
    """Create namespaces all at once, if there are enough of them for that to pay; their rows.

    One that is rejected by what stands above it would not have been created in a turn of its own. As nothing shows
    that it was, the outcome is the same.
    """
    # Of two that would be called the same in stats, the first to come is; so those come in their turns.
    clashing = {called for name in names if "-" in name for called in _called(name)}
    apart = (name for name in dict.fromkeys(names) if "-" not in name and clashing.isdisjoint(_called(name)))
    distinct = list(islice(apart, decider.creates.left))
    if len(distinct) < _MANY_MISSING or any(grant.stat_prefix for grant in decider.grants):
        return ()
    rows: list[int] = decider.index.create_many(distinct).tolist()
    return rows


def _called(namespace: str) -> Iterator[str]:
    """What a namespace, and each above it, would be called in stats."""
    called = namespace.replace(".", "-")
    while namespace:
        yield called[: len(namespace)]
        namespace = namespace.rpartition(".")[0]


def _note_created(index: Index, lines: CompiledLines, sizes: Sequence[Size], numbers: Sequence[int]) -> None:
    """Note the new series that the ledger put into the index: who has which size, and that they came."""
    created = lines.created_names(len(sizes), with_text=index.changes is not None)
    for size, number, (count, names) in zip(sizes, numbers, created, strict=True):
        index.series.have_holders(number, count)
        if index.changes is not None:
            index.changes.note_run(size, count, names)


def _ask_sizes(decider: Decider, lines: CompiledLines) -> Sequence[Size]:
    """The sizes that the batch's new metrics would have, each once; `lines` gets to know which has which."""
    numbers: dict[Size, int] = {}
    last, number, chosen = None, _UNUSUAL, []
    for name in lines.new_names():
        size = decider.size_of(name)
        if size is not last:
            last, number = size, numbers.setdefault(size, len(numbers)) if _fits(size) else _UNUSUAL
        chosen.append(number)
    lines.put_sizes(chosen)
    return list(numbers)


def _fits(size: Size) -> bool:
    """Whether the columns can take a size; any other is left to the decision on single offers."""
    return all(0 <= amount <= MAXIMUM for amount in (size.logical, size.physical, size.data_points))


def _take_turn(decider: Decider, lines: CompiledLines, position: int) -> None:
    """Decide on a line that the ledger left."""
    row = lines.row(position)
    name = lines.name(position) if row == UNKNOWN else parse(lines.line(position))
    if isinstance(name, bytes):
        try:
            lines.put_decision(position, *decider.offer_named(name, 1))
        except MetricNameError:
            name = Malformed.NAME
    if isinstance(name, Malformed):
        lines.put_row(position, name)
    elif name is None:
        lines.put_row(position, BLANK)
