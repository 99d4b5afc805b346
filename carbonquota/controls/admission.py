"""What a batch of lines came to: what to pass on, how many points, and who was dropped by which rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from carbonquota.controls.rejections import Rejections
from carbonquota.controls.table import KEYS, Grant
from carbonquota.kernel import Malformed
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
        rejections: Rejections | None,
        malformed: Mapping[Malformed, Sequence[int]],
        line: Callable[[int], bytes],
        grants: Sequence[Grant],
    ) -> None:
        """Keep what was found; `drops` and `malformed_lines` are worked out when asked for, through `line`."""
        self.accepted = accepted
        self.points = points
        self.dropped = 0 if rejections is None else len(rejections)
        self.malformed = sum(map(len, malformed.values()))
        self._rejections = rejections
        self._malformed = malformed
        self._line = line
        self._grants = grants

    @cached_property
    def drops(self) -> dict[tuple[str, str], Drop]:
        """The dropped points by namespace and control (as the rule file spells it).

        Samples are of the first lines of each: where these name one metric over and over, it is the only one.
        """
        return {
            (group.namespace, KEYS[group.control]): Drop(
                group.points, self._rule(group.rule), tuple(self._names(group.positions))
            )
            for group in (() if self._rejections is None else self._rejections.groups())
        }

    @cached_property
    def dropped_by_control(self) -> dict[str, int]:
        """How many points were dropped by each control that dropped some, `creates` among them."""
        return {} if self._rejections is None else self._rejections.by_control()

    def _rule(self, number: int) -> Rule | None:
        """The rule of that number."""
        return None if number == NO_RULE else self._grants[number].rule

    def _names(self, positions: Iterable[int]) -> Iterator[str]:
        """The first few distinct metric names on these lines."""
        seen: dict[str, None] = {}
        before = b""
        for position in positions:
            name = self._line(position).split(maxsplit=1)[0]
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
        return {reason.name.lower(): self._line(lines[0]) for reason, lines in self._malformed.items() if len(lines)}

    @cached_property
    def malformed_lines(self) -> tuple[bytes, ...]:
        """The first few malformed lines, as they came."""
        lines = sorted(line for lines in self._malformed.values() for line in lines[:SAMPLES])
        return tuple(self._line(line) for line in lines[:SAMPLES])

    def __repr__(self) -> str:
        """The counts."""
        return f"<Admission points={self.points} dropped={self.dropped} malformed={self.malformed}>"
