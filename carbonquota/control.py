"""The controls, each declared once: what the rules can limit, in the order of all columns that go by control.

From a row here follow the keys of the rule file, the columns of usage and of counts, what is asked of a new metric, the
stats, what the compiled decision goes over, and what is shown of a namespace. A control's amount has a field in
`Limits` and in `Usage`, too; what a metric brings of it by its size has one in `Size`. C is told their number when it
is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from typing import Final

from carbonquota.model import Size


class ControlKind(Enum):
    """What becomes of what was used: of a `CAPACITY` it stays used, of a `RATE` it comes back in time."""

    CAPACITY = "capacity"
    RATE = "rate"


Amount = Callable[[Size], int]
"""What a metric of a size adds to each namespace above it."""


@dataclass(frozen=True, slots=True)
class Control:
    """One control: `stat` is its name in stats, and in `Limits` and `Usage`.

    `turn` tells when it is asked: of those of a namespace the lowest first, a rate before all capacities. `shown` tells
    where it stands when the amounts of a namespace are shown, again the lowest first.
    """

    index: int
    stat: str
    kind: ControlKind
    turn: int
    shown: int
    amount: Amount

    @property
    def key(self) -> str:
        """How the rule file spells it: with dashes."""
        return self.stat.replace("_", "-")

    @property
    def title(self) -> str:
        """What a person calls it."""
        return self.stat.replace("_", " ").capitalize()


def _nothing(_size: Size) -> int:
    """What a new metric adds of what is not counted by metrics."""
    return 0


def _one(_size: Size) -> int:
    return 1


def _declared(*rows: tuple[str, ControlKind, int, int, Amount]) -> tuple[Control, ...]:
    return tuple(Control(index, *row) for index, row in enumerate(rows))


CONTROLS: Final = _declared(
    # Sub-namespaces are counted where a namespace gains one.
    ("namespaces", ControlKind.CAPACITY, 5, 2, _nothing),
    ("metrics", ControlKind.CAPACITY, 1, 1, _one),
    ("logical_size", ControlKind.CAPACITY, 2, 4, attrgetter("logical")),
    ("physical_size", ControlKind.CAPACITY, 3, 5, attrgetter("physical")),
    ("data_points", ControlKind.CAPACITY, 4, 3, attrgetter("data_points")),
    # Data points are counted as they are offered, new metrics' or not.
    ("throughput", ControlKind.RATE, 0, 6, _nothing),
)
"""All of them: those that count what is held come before the one that counts what passes."""

CAPACITIES: Final = tuple(control for control in CONTROLS if control.kind is ControlKind.CAPACITY)
"""The controls of what is held, by index."""

SHOWN: Final = tuple(sorted(CONTROLS, key=attrgetter("shown")))
"""All controls as they are shown."""

HELD: Final = tuple(control.stat for control in SHOWN if control.kind is ControlKind.CAPACITY)
"""The fields of `Usage` that are amounts of what is held, as they are shown."""


_AMOUNTS: Final = tuple(control.amount for control in CAPACITIES)


def amounts_of(size: Size) -> tuple[int, ...]:
    """What a metric of this size adds to each namespace above it, by the index of `CAPACITIES`."""
    return tuple([amount(size) for amount in _AMOUNTS])
