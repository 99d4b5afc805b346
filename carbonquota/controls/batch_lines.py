"""A batch decided line by line: what runs where there is no compiled kernel, and what a batch means."""

from __future__ import annotations

import numpy as np

from carbonquota.controls.admission import Admission
from carbonquota.controls.decision import ACCEPTED, Decider, Outcome
from carbonquota.controls.rejections import Rejections
from carbonquota.controls.respelling import as_passed_on
from carbonquota.kernel import Lines, Malformed, parse


def admit(decider: Decider, buffer: bytes) -> Admission:
    """Decide and charge the data points on a buffer's lines, in their order."""
    lines = Lines(buffer)
    rejected: dict[int, Outcome] = {}
    malformed: dict[Malformed, list[int]] = {}
    instead: dict[int, bytes] = {}
    blank = 0
    for position in range(len(lines)):
        name = parse(lines.line(position), decider.times)
        outcome = decider.offer_line(name) if isinstance(name, bytes) else name
        if isinstance(outcome, Malformed):
            malformed.setdefault(outcome, []).append(position)
        elif outcome is None:
            blank += 1
        elif outcome != ACCEPTED:
            rejected[position] = outcome
        elif (passed := as_passed_on(lines.line(position))) != lines.line(position):
            instead[position] = passed
    gone = {*rejected, *(position for positions in malformed.values() for position in positions)}
    accepted = lines.without(gone, instead)
    points = len(lines) - len(gone) - blank
    return Admission(accepted, points, _rejections(decider, rejected), malformed, lines.line, decider.grants)


def _rejections(decider: Decider, rejected: dict[int, Outcome]) -> Rejections | None:
    """The rejected lines as columns."""
    if not rejected:
        return None
    quotas, controls = zip(*rejected.values(), strict=True)
    return Rejections(
        decider.index.quotas,
        np.array(list(rejected), np.int64),
        np.array(quotas, np.int32),
        np.array(controls, np.int8),
    )
