"""What a batch of lines came to: what to pass on, how many points, and who was dropped by which rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carbonquota.controls.table import CONTROLS, THROUGHPUT, Grant
from carbonquota.kernel import Malformed
from carbonquota.metric_name import normalize
from carbonquota.model import Rule

SAMPLES: Final = 3
"""How many metric names, or lines, are kept as samples of what was dropped."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The points of a batch that one namespace's rule dropped by one control, with the first few metrics' names."""

    points: int
    rule: Rule
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rejections:
    """The dropped lines of a batch: their positions, and whose rule, by number, dropped each by which control.

    The sequences go pairwise; `controls` has the control by position where it is not throughput.
    """

    positions: Sequence[int] | NDArray[np.int64]
    namespaces: Sequence[str] | NDArray[np.object_]
    rules: Sequence[int] | NDArray[np.int64]
    controls: Mapping[int, int]

    def __len__(self) -> int:
        """How many lines were dropped."""
        return len(self.positions)

    def groups(self) -> dict[tuple[str, int, int], list[int]]:
        """The positions by namespace, rule and control."""
        groups: dict[tuple[str, int, int], list[int]] = {}
        for place, namespace, rule in zip(self.positions, self.namespaces, self.rules, strict=True):
            position = int(place)
            control = self.controls.get(position, THROUGHPUT)
            groups.setdefault((namespace, int(rule), control), []).append(position)
        return groups


class Admission:
    """The answer to a batch.

    `accepted` are the bytes to pass on, the very object that came in where nothing was dropped; `points` and
    `dropped` count the accepted and the rejected data points, `malformed` the lines that are none. Blank lines
    are neither, and are passed on: lines = points + dropped + malformed + blank ones.
    """

    def __init__(
        self,
        accepted: bytes,
        points: int,
        rejections: Rejections,
        malformed: Mapping[Malformed, Sequence[int]],
        line: Callable[[int], bytes],
        grants: Sequence[Grant],
    ) -> None:
        """Keep what was found; `drops` and `malformed_lines` are worked out when asked for, through `line`."""
        self.accepted = accepted
        self.points = points
        self.dropped = len(rejections)
        self.malformed = sum(map(len, malformed.values()))
        self._rejections = rejections
        self._malformed = malformed
        self._line = line
        self._grants = grants

    @cached_property
    def drops(self) -> dict[tuple[str, str], Drop]:
        """The dropped points by namespace and control (as the rule file spells it)."""
        return {
            (namespace, CONTROLS[control].key): Drop(
                len(positions), self._grants[rule].rule, tuple(self._names(positions))
            )
            for (namespace, rule, control), positions in self._rejections.groups().items()
        }

    def _names(self, positions: Iterable[int]) -> Iterator[str]:
        """The first few distinct metric names on these lines."""
        seen: dict[str, None] = {}
        for position in positions:
            seen[normalize(self._line(position).split(maxsplit=1)[0])] = None
            if len(seen) == SAMPLES:
                break
        return iter(seen)

    @property
    def malformed_by_reason(self) -> dict[str, int]:
        """How many lines were malformed, by what is wrong with them: fields, value, timestamp or name."""
        return {reason.name.lower(): len(lines) for reason, lines in self._malformed.items()}

    @cached_property
    def malformed_lines(self) -> tuple[bytes, ...]:
        """The first few malformed lines, as they came."""
        lines = sorted(line for lines in self._malformed.values() for line in lines[:SAMPLES])
        return tuple(self._line(line) for line in lines[:SAMPLES])

    def __repr__(self) -> str:
        """The counts."""
        return f"<Admission points={self.points} dropped={self.dropped} malformed={self.malformed}>"
