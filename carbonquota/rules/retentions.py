"""Retentions: how often a metric has a point, and how many of them are kept.

`60:1440` is seconds a point and number of points. A unit (s m h d w y, or the word) makes either a duration:
`60s:1d` is a point a minute for a day, the same. A bare number before the colon is always seconds and after it
always points, as Whisper reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from carbonquota.rules.glob import Flaw

MOST: Final = 2**32 - 1
"""The largest precision and number of points: Whisper keeps both in 32 bits."""

_UNITS: Final = {
    "seconds": 1,
    "minutes": 60,
    "hours": 3_600,
    "days": 86_400,
    "weeks": 7 * 86_400,
    "years": 365 * 86_400,
}
_PART: Final = re.compile(r"0*([0-9]{1,10})([a-z]*)", re.ASCII)
_HOW: Final = "write it as 60s:30d (precision:duration) or 60:43200 (seconds:points)"


@dataclass(frozen=True, slots=True)
class Retention:
    """One archive: `points` of them kept, one every `seconds_per_point`."""

    seconds_per_point: int
    points: int

    @property
    def duration(self) -> int:
        """How far back it reaches, in seconds."""
        return self.seconds_per_point * self.points

    def __str__(self) -> str:
        """The spelling of seconds and points: `60:1440`."""
        return f"{self.seconds_per_point}:{self.points}"


def read_retentions(text: str) -> tuple[tuple[Retention, ...], tuple[Flaw, ...], tuple[Flaw, ...]]:
    """The retentions of a list parted by commas, finest first, its flaws, and why they do not go together.

    Carbon starts with a file whose retentions do not go together, and passes over that schema.
    """
    read: list[tuple[Retention, int, str]] = []
    flaws: list[Flaw] = []
    offset = 0
    for definition in text.split(","):
        start = offset + len(definition) - len(definition.lstrip())
        written = definition.strip()
        found = _read_retention(written, start)
        if isinstance(found, Flaw):
            flaws.append(found)
        else:
            read.append((found, start, written))
        offset += len(definition) + 1
    read.sort(key=lambda item: item[0].seconds_per_point)
    invalid = [flaw for finer, coarser in pairwise(read) if (flaw := _mismatch(finer, coarser))]
    retentions = tuple(retention for retention, _, _ in read)
    return retentions, tuple(flaws), tuple(sorted(invalid, key=lambda flaw: flaw.offset))


def _read_retention(written: str, offset: int) -> Retention | Flaw:
    width = max(len(written), 1)
    parts = [_PART.fullmatch(part.strip()) for part in written.split(":")]
    if len(parts) != 2 or None in parts:
        return Flaw(offset, width, f'"{written}" is not a retention', _HOW)
    (precision, precision_unit), (kept, kept_unit) = (part.groups() for part in parts if part)
    for unit in (precision_unit, kept_unit):
        if unit and not _unit(unit):
            return Flaw(offset, width, f'"{unit}" is not a unit of time', "units are: s, m, h, d, w, y")
    seconds = int(precision) * (_unit(precision_unit) or 1)
    duration = _unit(kept_unit)
    points = int(kept) * duration // max(seconds, 1) if duration else int(kept)
    if not seconds or not points:
        return Flaw(offset, width, f'"{written}" keeps no point', _HOW)
    if max(seconds, points) > MOST:
        return Flaw(offset, width, f"a Whisper file counts seconds and points up to {MOST:,}", _HOW)
    return Retention(seconds, points)


def _unit(word: str) -> int | None:
    """The seconds of a unit, given by any beginning of its name; None if there is no such unit."""
    return next((seconds for name, seconds in _UNITS.items() if word and name.startswith(word)), None)


def _mismatch(finer: tuple[Retention, int, str], coarser: tuple[Retention, int, str]) -> Flaw | None:
    """Why no Whisper file can hold these two next to each other, or None; each comes with its place and spelling."""
    (fine, _, finer_text), (coarse, offset, text) = finer, coarser
    for spoilt, message, suggestion in _LAWS:
        if spoilt(fine, coarse):
            return Flaw(offset, len(text), message.format(finer=finer_text, coarser=text), suggestion)
    return None


_LAWS: Final[tuple[tuple[Callable[[Retention, Retention], bool], str, str], ...]] = (
    (
        lambda finer, coarser: finer.seconds_per_point == coarser.seconds_per_point,
        "{finer} and {coarser} have the same precision",
        "keep the longer one",
    ),
    (
        lambda finer, coarser: coarser.seconds_per_point % finer.seconds_per_point != 0,
        "{coarser} cannot be made from {finer}: its precision is no multiple",
        "make each precision a multiple of the next finer one",
    ),
    (
        lambda finer, coarser: finer.duration >= coarser.duration,
        "{coarser} reaches no further back than {finer}, which is finer",
        "make it last longer, or take it out",
    ),
    (
        lambda finer, coarser: finer.duration < coarser.seconds_per_point,
        "{finer} has too few points to make one of {coarser}",
        "keep more of the finer points",
    ),
)
