"""Points by names and numbers as what a batch was made of; see `OfferedLines`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from carbonquota.kernel import PointColumns, PointList

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OfferedPoints:
    """Points that were decided by their names; `odd_at` are the positions of names that may have to go on otherwise."""

    are_names: ClassVar[bool] = False

    points: PointList
    odd_at: Sequence[int]

    def __len__(self) -> int:
        """How many they are."""
        return len(self.points)

    def line(self, position: int) -> bytes:
        """The line that means one of them, with its end."""
        return self.points.lines_at([position])

    def without(self, positions: Positions) -> bytes:
        """The lines of all but those at these positions."""
        return self.points.lines_at(self._rest(positions))

    def odd_places(self, positions: Positions) -> list[tuple[int, int]]:
        """Where in that the lines begin and end that may have to go on otherwise than they came."""
        places: list[tuple[int, int]] = []
        if self.odd_at:
            odd, place = set(self.odd_at), 0
            for position in self._rest(positions):
                size = len(self.line(position))
                if position in odd:
                    places.append((place, place + size))
                place += size
        return places

    def columns(self, positions: Positions) -> PointColumns:
        """All but those at these positions."""
        return self.points.columns_at(self._rest(positions))

    def _rest(self, positions: Positions) -> Sequence[int]:
        """All positions but these."""
        if not len(positions):
            return range(len(self))
        gone = set(positions.tolist())
        return [position for position in range(len(self)) if position not in gone]
