"""A batch decided line by line: what a batch means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carbonquota.controls.admission import Admission, BatchDecision
from carbonquota.controls.backend import Points
from carbonquota.controls.reference.decision import ACCEPTED, Decider, Outcome
from carbonquota.controls.rejections import Rejections
from carbonquota.kernel import Malformed, PlainLines, PlainNames, parse
from carbonquota.metric_name import Name
from carbonquota.model import MAXIMUM

Content = bytes | Malformed | None
"""A metric's name, why there is none, or None for a blank line."""

Decided = tuple[int, Rejections | None, dict[Malformed, list[int]]]
"""The accepted points, what was rejected, and the positions of what is malformed."""


def admit(decider: Decider, buffer: bytes) -> Admission:
    """Decide and charge the data points on a buffer's lines, in their order."""
    lines = PlainLines(buffer)
    contents = [parse(lines.line(position), decider.times) for position in range(len(lines))]
    return Admission(lines, *_decide(decider, contents, [1] * len(lines)), decider.compiled)


def admit_names(decider: Decider, names: Sequence[Name], points: Points | None) -> BatchDecision:
    """Decide and charge points of names, in their order."""
    offered = PlainNames(names)
    amounts = [1] * len(offered) if points is None else points.tolist()
    return BatchDecision(offered, *_decide(decider, offered.contents, amounts), decider.compiled)


def _decide(decider: Decider, contents: Sequence[Content], points: Sequence[int]) -> Decided:
    """Decide on each in its turn."""
    accepted = 0
    rejected: dict[int, Outcome] = {}
    malformed: dict[Malformed, list[int]] = {}
    for position, (content, amount) in enumerate(zip(contents, points, strict=True)):
        if content is None:
            continue
        outcome = content if isinstance(content, Malformed) else decider.offer_line(content, amount)
        if isinstance(outcome, Malformed):
            malformed.setdefault(outcome, []).append(position)
        elif outcome == ACCEPTED:
            accepted = min(accepted + amount, MAXIMUM)
        else:
            rejected[position] = outcome
    return accepted, _rejections(decider, rejected, points), malformed


def _rejections(decider: Decider, rejected: dict[int, Outcome], points: Sequence[int]) -> Rejections | None:
    """What was rejected, by position, as columns."""
    if not rejected:
        return None
    quotas, controls = zip(*rejected.values(), strict=True)
    return Rejections(
        decider.index.quotas,
        np.array(list(rejected), np.int64),
        np.array(quotas, np.int32),
        np.array(controls, np.int8),
        np.array([points[position] for position in rejected], np.int64),
    )
