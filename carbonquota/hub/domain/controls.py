"""The controls of the quota service: what a customer may hold or send, and how each is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Final

from carbonquota.hub.domain.errors import InvalidError
from carbonquota.model import MAXIMUM


@dataclass(frozen=True, slots=True)
class Amounts:
    """One whole number a control; None is no limit, or that nothing is known.

    `bytes` as written, `physical_bytes` as they lie on disk, `metrics` (series) and `data_points` are held;
    `points_per_minute` is a rate.
    """

    bytes: int | None = None
    physical_bytes: int | None = None
    metrics: int | None = None
    data_points: int | None = None
    points_per_minute: int | None = None

    def values(self) -> tuple[int | None, ...]:
        """In the order of `CONTROLS`."""
        return tuple(getattr(self, control) for control in CONTROLS)

    def given(self) -> Iterator[tuple[str, int]]:
        """Those that are not None, with the names of their controls."""
        for control, value in zip(CONTROLS, self.values(), strict=True):
            if value is not None:
                yield control, value


CONTROLS: Final[tuple[str, ...]] = tuple(field.name for field in fields(Amounts))
"""Their names, in the order of columns in memory and in the database."""

GRANTED: Final[tuple[str, ...]] = CONTROLS[:-1]
"""Those that writes are granted of: what is held. A rate is measured, and compared with its limit."""

NUMBER: Final[Mapping[str, int]] = {control: number for number, control in enumerate(CONTROLS)}
"""Which column a control is."""


def checked(amounts: Amounts) -> Amounts:
    """The same; InvalidError where a number is out of range."""
    for control, value in amounts.given():
        if not 0 <= value <= MAXIMUM:
            raise InvalidError(f"{control}: {value} is not a whole number from 0 to {MAXIMUM}; null is no limit")
    return amounts
