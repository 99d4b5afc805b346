"""A batch decided by the ledger, line after line, with Python's help where a line needs it.

Theory of operation. The ledger decides until it meets a line that needs more than columns: a namespace for which there
is no room in these, a name that only `normalize` can tell about, a line that only `parse` understands. That line has
its turn here, and the ledger goes on behind it.
"""

from __future__ import annotations

import numpy as np

from carbonquota.controls.admission import Admission, BatchDecision
from carbonquota.controls.native._cy import Batch, Ledger
from carbonquota.controls.native.sizes import Sizes
from carbonquota.controls.reference import Decider
from carbonquota.controls.reference.decision import ACCEPTED, Outcome
from carbonquota.controls.rejections import Rejections
from carbonquota.kernel import BLANK, UNKNOWN, Malformed, parse
from carbonquota.model import Size


def decide(decider: Decider, ledger: Ledger, batch: Batch, sizes: Sizes) -> None:
    """Decide and charge the points of a batch, in their order; to be called under the index's lock."""
    sizes.note_created()
    sizes.keep_few()
    _decide_all(decider, ledger, batch, sizes)


def _decide_all(decider: Decider, ledger: Ledger, batch: Batch, sizes: Sizes) -> None:
    """Decide on all lines, with room made for what they may bring."""
    if batch.lines.unknown and decider.creates.remaining > 0:
        _decide_with_new(decider, ledger, batch, sizes)
    else:
        _decide(decider, ledger, batch, sizes)


def decide_one(decider: Decider, ledger: Ledger, batch: Batch, sizes: Sizes, size: Size | None) -> Outcome:
    """The same for a batch of one name, whose metric has this size if it is new and the size is given.

    A new metric is put into the index in one step of C, so no signal handler can leave half of it.
    """
    sizes.note_created()
    sizes.keep_few()
    if size is not None:
        batch.put_size(0, sizes.number(size))
    _decide_all(decider, ledger, batch, sizes)
    _, quotas, controls = batch.rejected_at()
    return (int(quotas[0]), int(controls[0])) if len(quotas) else ACCEPTED


def answer(decider: Decider, batch: Batch) -> BatchDecision:
    """What became of a decided batch; to be asked for under the index's lock where something was rejected."""
    rejections = None
    if batch.rejected:
        positions, quotas, controls = batch.rejected_at()
        amounts = None
        if batch.lines.are_names:
            amounts = np.array([batch.points(position) for position in positions.tolist()], np.int64)
        rejections = Rejections(decider.index.quotas, positions, quotas, controls, amounts)
    malformed = {Malformed(why): at for why, at in batch.lines.malformed_at().items()} if batch.malformed else {}
    kind = BatchDecision if batch.lines.are_names else Admission
    return kind(batch.lines, batch.accepted, rejections, malformed, decider.compiled)


def _decide(decider: Decider, ledger: Ledger, batch: Batch, sizes: Sizes) -> None:
    """Decide on all lines."""
    position, count = batch.position, len(batch.lines)
    while position < count:
        remaining = decider.creates.remaining
        allowed = remaining + batch.created
        try:
            position = ledger.decide(batch, position, remaining)
        finally:
            # Also where a size cannot be told, or a signal handler raises before the ledger has begun.
            decider.creates.remaining = allowed - batch.created
        if position < count:
            _take_turn(decider, batch, position, sizes)
            position += 1


def _decide_with_new(decider: Decider, ledger: Ledger, batch: Batch, sizes: Sizes) -> None:
    """The same where some lines are of new metrics."""
    index = decider.index
    # A line that is left to its turn in Python may bring a metric, too.
    more = batch.lines.unknown + batch.lines.doubts
    ledger.reserve(more)
    for columns in (index.namespaces, index.quotas):
        columns.reserve(columns.size + more)
    for by_series in (index.series, index.seen):
        if by_series is not None:
            by_series.reserve(index.table.size + more)
    sizes.begin(batch)
    try:
        _decide(decider, ledger, batch, sizes)
    finally:
        # What a turn in Python raises must not leave half of what was decided before it.
        sizes.note_created()


def _take_turn(decider: Decider, batch: Batch, position: int, sizes: Sizes) -> None:
    """Decide on a line that the ledger left."""
    lines = batch.lines
    size = sizes.sizes[batch.size(position)] if batch.size(position) >= 0 else None
    if lines.are_names:
        content: bytes | Malformed | None = lines.line(position)
    else:
        content = lines.name(position) if lines.row(position) == UNKNOWN else parse(lines.line(position), decider.times)
    if not isinstance(content, bytes):
        batch.put_malformed(position, BLANK if content is None else content)
        return
    outcome = decider.offer_line(content, batch.points(position), size)
    if isinstance(outcome, Malformed):
        batch.put_malformed(position, outcome)
    else:
        batch.put_decision(position, *outcome)
