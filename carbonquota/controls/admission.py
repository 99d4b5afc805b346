"""What a batch came to: what passes, how many points, and who was dropped by which rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

from carbonquota.controls.points import OfferedPoints
from carbonquota.controls.rejections import Rejections
from carbonquota.controls.respelling import respelled
from carbonquota.controls.table import CREATES, KEYS, CompiledRule
from carbonquota.kernel import Malformed, PointColumns, PointList
from carbonquota.metric_name import normalize
from carbonquota.model import Rule
from carbonquota.trie import NO_RULE

WHY_MALFORMED: Final = {
    "fields": "a line is `name value timestamp`",
    "value": "the value is not a number",
    "timestamp": "the timestamp is not a number",
    "name": "no metric can have this name",
    "milliseconds": "the timestamp is past what a store can keep; is it in milliseconds?",
    "time": "the timestamp is before 1970, or past what a store can keep",
    "no_file": "there can be no file of this name",
}
"""What is wrong with a malformed line, by the reason that it is counted by."""

Positions = NDArray[np.int64]

_NOWHERE: Final[Positions] = np.zeros(0, np.int64)

SAMPLES: Final = 3
"""How many metric names, or lines, are kept as samples of what was dropped."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The points of a batch that one namespace's rule dropped by one control, with a few metrics' names.

    `rule` is None where none did: the root dropped new metrics past `max_creates_per_second`, control `creates`.
    """

    points: int
    rule: Rule | None
    samples: tuple[str, ...]


class Offered(Protocol):
    """What a batch was made of: lines, or names. Positions count from 0."""

    @property
    def are_names(self) -> bool:
        """Whether each is a name and nothing else."""

    def __len__(self) -> int: ...

    def line(self, position: int) -> bytes:
        """One of them as it came."""


class OfferedNames(Offered, Protocol):
    """Names."""

    def odd_at(self) -> Sequence[int]:
        """The positions of those that may have to go on otherwise than they came."""


class OfferedLines(Offered, Protocol):
    """Lines of a buffer."""

    def without(self, positions: Positions) -> bytes:
        """All but those at these positions, in ascending order; the very bytes that came where there are none."""

    def odd_places(self, positions: Positions) -> Iterable[tuple[int, int]]:
        """Where in that the lines begin and end that may have to go on otherwise than they came."""

    def columns(self, positions: Positions) -> PointColumns:
        """The points of all but those at these positions, among which all malformed ones must be."""


class BatchDecision:
    """What became of a batch of names or lines, by their positions.

    `points` and `dropped` count the accepted and the rejected data points, `malformed` what is no metric's name, or no
    data point's line. All that goes beyond counts is worked out when it is asked for.
    """

    def __init__(
        self,
        offered: Offered,
        points: int,
        rejections: Rejections | None,
        malformed: Mapping[Malformed, Sequence[int]],
        compiled: Sequence[CompiledRule],
        held_at: Positions = _NOWHERE,
    ) -> None:
        """Keep what was found; what is `held_at` some positions, ascending, is held back."""
        self.points = points
        self.dropped = 0 if rejections is None else rejections.points
        self.malformed = sum(map(len, malformed.values()))
        self._offered = offered
        self._rejections = rejections
        self._malformed = malformed
        self._compiled = compiled
        self._held_at = held_at

    @property
    def rejections(self) -> Rejections | None:
        """What quotas rejected as columns, None where they rejected nothing."""
        return self._rejections

    def __len__(self) -> int:
        """How many names or lines there were, blank ones included."""
        return len(self._offered)

    @property
    def rejected_at(self) -> Positions:
        """The positions of what a quota rejected, ascending, int64."""
        return _NOWHERE if self._rejections is None else self._rejections.positions

    @cached_property
    def malformed_at(self) -> Positions:
        """The positions of what is malformed, ascending, int64."""
        if not self._malformed:
            return _NOWHERE
        return np.sort(np.concatenate([np.array(positions, np.int64) for positions in self._malformed.values()]))

    @cached_property
    def _gone_at(self) -> Positions:
        """The positions of all that does not pass, ascending."""
        groups = [group for group in (self.rejected_at, self.malformed_at, self._held_at) if len(group)]
        if len(groups) <= 1:
            return groups[0] if groups else _NOWHERE
        return np.sort(np.concatenate(groups))

    @property
    def all_pass(self) -> bool:
        """Whether nothing was rejected or malformed."""
        return self._rejections is None and not self._malformed and not len(self._held_at)

    def take_new_at(self) -> Positions:
        """The positions of new metrics, where these are held back: they count as nothing here from now on.

        To be asked for once, before all else.
        """
        rejections = self._rejections
        if rejections is not None:
            which = rejections.controls == CREATES
            self._held_at = rejections.positions[which]
            if len(self._held_at):
                self._rejections = rejections.without(which)
                self.dropped = 0 if self._rejections is None else self._rejections.points
        return self._held_at

    def holding_back(self, which: NDArray[np.bool_]) -> Self:
        """The same where `which` of what is rejected is neither rejected nor accepted, as it is held back."""
        rejections = self._rejections
        if rejections is None:
            return self
        held_at = np.sort(np.concatenate((self._held_at, rejections.positions[which])))
        left = rejections.without(which)
        return type(self)(self._offered, self.points, left, self._malformed, self._compiled, held_at)

    def sizes_at(self, positions: Positions) -> list[int]:
        """The bytes of the names or lines at these positions."""
        return [len(self._offered.line(position)) for position in positions.tolist()]

    def passes(self) -> list[bool]:
        """Which pass, in order."""
        passing = np.ones(len(self), np.bool_)
        passing[self._gone_at] = False
        passes: list[bool] = passing.tolist()
        return passes

    @cached_property
    def drops(self) -> dict[tuple[str, str], Drop]:
        """The dropped points by namespace and control (as the rule file spells it).

        Samples are of the first lines of each: where these name one metric over and over, it is the only one.
        """
        return {
            (group.namespace, KEYS[group.control]): Drop(
                group.points,
                None if group.rule == NO_RULE else self._compiled[group.rule].rule,
                tuple(self._names(group.positions)),
            )
            for group in (() if self._rejections is None else self._rejections.groups(self._metric, self._compiled))
        }

    @cached_property
    def dropped_by_control(self) -> dict[str, int]:
        """How many points were dropped by each control that dropped some, `creates` among them."""
        return {} if self._rejections is None else self._rejections.by_control()

    def _metric(self, position: int) -> str:
        """The normal name of the metric on a line."""
        line = self._offered.line(position)
        return normalize(line if self._offered.are_names else line.split(maxsplit=1)[0])

    def _names(self, positions: Iterable[int]) -> Iterator[str]:
        """The first few distinct metric names on these lines."""
        seen: dict[str, None] = {}
        before = b""
        for position in positions:
            line = self._offered.line(position)
            name = line if self._offered.are_names else line.split(maxsplit=1)[0]
            if name != before:
                seen[normalize(name)] = None
            if len(seen) == SAMPLES:
                break
            before = name
        return iter(seen)

    @property
    def malformed_by_reason(self) -> dict[str, int]:
        """How many lines were malformed, by what is wrong with them: see WHY_MALFORMED."""
        return {reason.name.lower(): len(lines) for reason, lines in self._malformed.items()}

    @property
    def malformed_samples(self) -> dict[str, bytes]:
        """The first malformed line of each reason, as it came."""
        return {
            reason.name.lower(): self._offered.line(lines[0]) for reason, lines in self._malformed.items() if len(lines)
        }

    @cached_property
    def malformed_lines(self) -> tuple[bytes, ...]:
        """The first few malformed lines, as they came."""
        lines = sorted(line for lines in self._malformed.values() for line in lines[:SAMPLES])
        return tuple(self._offered.line(line) for line in lines[:SAMPLES])

    def of_points(self, points: PointList, wrong: Mapping[int, Malformed]) -> Admission:
        """The same about points, of which these are the names; some are `wrong` for their numbers."""
        malformed: dict[Malformed, list[int]] = {}
        for reason, positions in self._malformed.items():
            malformed[reason] = [position for position in positions if position not in wrong]
        for position, reason in sorted(wrong.items()):
            malformed.setdefault(reason, []).append(position)
        found = {reason: positions for reason, positions in malformed.items() if positions}
        offered = OfferedPoints(points, cast("OfferedNames", self._offered).odd_at())
        return Admission(offered, self.points, self._rejections, found, self._compiled)

    def __repr__(self) -> str:
        """The counts."""
        counts = f"points={self.points} dropped={self.dropped} malformed={self.malformed}"
        return f"<{type(self).__name__} {counts}>"


class Admission(BatchDecision):
    """What became of a batch of plaintext lines, or of points that have lines which mean the same.

    Blank lines are neither accepted nor rejected, and are passed on: lines = points + dropped + malformed + blank ones,
    and those that were held back.
    """

    def __init__(
        self,
        offered: OfferedLines,
        points: int,
        rejections: Rejections | None,
        malformed: Mapping[Malformed, Sequence[int]],
        compiled: Sequence[CompiledRule],
        held_at: Positions = _NOWHERE,
    ) -> None:
        """Keep what was found; what is `held_at` some positions, ascending, is held back."""
        super().__init__(offered, points, rejections, malformed, compiled, held_at)
        self._lines = offered

    def take_new(self) -> list[bytes]:
        """The lines of new metrics, where these are held back: they count as nothing here from now on.

        To be asked for once, before all else.
        """
        return self.lines_at(self.take_new_at())

    def lines_at(self, positions: Positions) -> list[bytes]:
        """The lines at these positions, each with its end."""
        lines = map(self._offered.line, positions.tolist())
        return [line if line.endswith(b"\n") else line + b"\n" for line in lines]

    @cached_property
    def accepted(self) -> bytes:
        """The bytes to pass on, the very object that came in where nothing was dropped or is to go on otherwise."""
        gone = self._gone_at
        return respelled(self._lines.without(gone), self._lines.odd_places(gone))

    def columns(self) -> PointColumns:
        """The points to pass on, for who wants no lines: names as they came, seconds, values."""
        return self._lines.columns(self._gone_at)

    @property
    def rejected(self) -> bytes:
        """The lines that quotas rejected, as they came."""
        return b"".join([self._offered.line(position) for position in self.rejected_at.tolist()])
