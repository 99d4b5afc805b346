"""Data points of new metrics that wait for their cluster, as what its gate decides on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from carbonquota.cluster.line_batches import normal_names
from carbonquota.controls import BatchDecision
from carbonquota.controls.capacity_limits import RefusedMetric
from carbonquota.plugins.decisions import Datapoint, Decided, Decisions
from carbonquota.plugins.processors import Point

_SIZE = 250
"""Bytes of memory that a point takes, without its name, as measured."""


class PointBatches:
    """Has points decided, and those that may pass handed on. For the reactor's thread."""

    def __init__(self, decisions: Decisions, hand_on: Callable[[Decided, Sequence[Datapoint]], None]) -> None:
        """`hand_on` takes what was decided of points, with their times and values."""
        self._decisions = decisions
        self._hand_on = hand_on

    def names(self, items: Sequence[Point]) -> list[str]:
        """The normal names of the metrics."""
        return normal_names([metric.encode() for metric, _ in items])

    def size(self, items: Sequence[Point]) -> int:
        """The bytes of memory that these take, about."""
        return sum(_SIZE + len(metric) for metric, _ in items)

    def admit_new(self, items: Sequence[Point]) -> BatchDecision | None:
        """Decide points by what is known here."""
        decided, answer = self._decisions.decide_new([metric for metric, _ in items])
        self._hand_on(decided, [datapoint for _, datapoint in items])
        return answer

    def refuse(self, items: Sequence[Point], refused: Sequence[RefusedMetric]) -> None:
        """Drop points."""
        self._decisions.refuse([metric for metric, _ in items], refused)
