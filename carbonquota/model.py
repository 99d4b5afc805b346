"""The values that all layers speak in: sizes, limits, rules, usage, verdicts, and the clock.

They are frozen and hold no behaviour beyond reading themselves. Amounts are Python ints; inside the index
they are int64, so `MAXIMUM` (2^63 - 1, what go-carbon's `max` means) is the largest of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from fractions import Fraction
from operator import attrgetter
from typing import Final, Literal, Protocol, runtime_checkable

MAXIMUM: Final = 2**63 - 1
"""The largest amount and the meaning of `max`: practically no limit, yet reported."""

ROOT: Final = "/"
"""How the root namespace is written."""

ThroughputUnit = Literal["interval", "minute"]
"""What a throughput limit is per: a report interval (go-carbon before 0.18) or a minute (since)."""

Clock = Callable[[], float]
"""Gives the seconds since the epoch. `time.time` is one; tests take `carbonquota.testing.ManualClock`."""


@dataclass(frozen=True, slots=True)
class Size:
    """What one metric holds: `logical` and `physical` size in bytes, and its number of `data_points`."""

    logical: int = 0
    physical: int = 0
    data_points: int = 0

    def __post_init__(self) -> None:
        """Refuse what a store cannot hold: ValueError for a negative amount or one past 2^63 - 1."""
        for amount in (self.logical, self.physical, self.data_points):
            if not 0 <= amount <= MAXIMUM:
                raise ValueError(f"a size is from 0 to {MAXIMUM}, not {amount}")


size_fields: Final[Callable[[Size], tuple[int, ...]]] = attrgetter(*(one.name for one in fields(Size)))
"""A size as a tuple; `astuple` takes twenty times as long, as it copies what it finds."""

SizeOf = Callable[[str], Size]
"""Gives the size that a new metric will have, from its name in normal form."""


@runtime_checkable
class SizeTable(Protocol):
    """A `SizeOf` that knows what its answers come to, so that most need not be asked for."""

    def __call__(self, metric: str, /) -> Size:
        """The size that a new metric will have."""

    def sizes_of(self, metrics: Sequence[str]) -> list[Size]:
        """The same for many."""

    def size_below(self, namespace: str) -> Size | None:
        """The size of all new metrics at and below this namespace, if it is one; "" is the root."""

    @property
    def bounds(self) -> tuple[Size, Size]:
        """The least and the most that a size may be, each field by itself."""


@dataclass(frozen=True, slots=True)
class Storable:
    """What the store behind an engine can keep: what it cannot is malformed, and charged to nobody.

    `check` raises MetricNameError for a metric, by its normal name, that there can be no file of. It is asked for new
    metrics only, and for none whose name has up to `sure_length` bytes, no tags and does not begin with
    `doubtful_prefix` (ASCII, at most 64 characters). `earliest` and `latest` are the first and the last timestamp that
    there is room for, in seconds since the epoch; -1, which in carbon stands for the time of arrival, can be stored.
    """

    check: Callable[[str], object]
    sure_length: int = 0
    doubtful_prefix: str = ""
    earliest: int = 1
    latest: int = 2**32 - 1

    def __post_init__(self) -> None:
        """ValueError where this is out of range."""
        if not 0 <= self.earliest <= self.latest < 2**43:
            raise ValueError(f"no store has room from {self.earliest} to {self.latest}")
        if len(self.doubtful_prefix) > 64 or not self.doubtful_prefix.isascii():
            raise ValueError(f"{self.doubtful_prefix!r} must be at most 64 characters of ASCII")


class DroppingPolicy(Enum):
    """What a rule does with an offer over its limit: `NEW` rejects it, `NONE` only counts it."""

    NEW = "new"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one rule, a field a control; None where the control is not set.

    Field names are the controls' names in stats (`logical_size`); in the file they have dashes.
    """

    namespaces: int | None = None
    metrics: int | None = None
    logical_size: int | None = None
    physical_size: int | None = None
    data_points: int | None = None
    throughput: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One section of `storage-quotas.conf`: which namespaces it holds and what it grants them.

    `pattern` is the section name as written; `source` and `line` tell where it stands (the line from 1).
    """

    pattern: str
    limits: Limits = field(default_factory=Limits)
    policy: DroppingPolicy = DroppingPolicy.NEW
    stat_prefix: str = ""
    source: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """Where the rule stands: `file:line`."""
        return f"{self.source}:{self.line}"

    @property
    def enforcing(self) -> bool:
        """Whether an offer over a limit of this rule is rejected."""
        return self.policy is DroppingPolicy.NEW

    def __str__(self) -> str:
        """The section as a person refers to it: `[pattern] (file:line)`."""
        return f"[{self.pattern}] ({self.place})"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a namespace holds now: the amounts below it, and its accepted points of this interval.

    `throughput` is counted only where a rule limits it, and is 0 elsewhere.
    """

    namespaces: int = 0
    metrics: int = 0
    logical_size: int = 0
    physical_size: int = 0
    data_points: int = 0
    throughput: int = 0


CONTROL_FIELDS: Final = tuple(f.name for f in fields(Limits))
"""The controls in their one order, as the fields of `Limits` and `Usage` name them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one offer. When rejected: which namespace, control (as in the file) and rule did it."""

    accepted: bool
    namespace: str | None = None
    control: str | None = None
    rule: Rule | None = None

    def __bool__(self) -> bool:
        """Whether the offer was accepted."""
        return self.accepted


def throughput_per_interval(limit: int, interval: float, unit: ThroughputUnit) -> int:
    """What a throughput limit comes to in an interval of so many seconds; points are whole, so a fraction is none."""
    if unit == "interval" or limit == MAXIMUM:
        return limit
    return min(int(limit * Fraction(interval) / 60), MAXIMUM)
