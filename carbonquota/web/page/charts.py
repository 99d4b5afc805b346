"""Line charts as SVG made by the server, with the same values as a table, and as data for uPlot where that is there.

The plot is stretched to the room there is, so nothing in it is text: labels of the axes stand beside it in HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

from carbonquota.web.page.amounts import clock_time, moment, short_amount_of

WIDTH: Final = 1000
HEIGHT: Final = 200
"""The plot in its own units."""

_ROWS: Final = 12
"""Rows of the table: means over parts of the time."""
_STEPS: Final = 4
"""Parts that lines across the plot divide it into."""
_LABELS: Final = 5
"""Times below the plot."""
_DAY: Final = 86_400
_MINUTE: Final = 60


@dataclass(frozen=True, slots=True)
class ChartLine:
    """One line: its name, its values over time (None: not known then), and the tone that it is drawn in."""

    name: str
    values: Sequence[float | None]
    tone: str


@dataclass(frozen=True, slots=True)
class TableRow:
    """A part of the time, and the mean of each line over it."""

    time: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One line as drawn: the path of an SVG, and its last value as text."""

    name: str
    tone: str
    path: str
    last: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart as a template shows it; `data` is for uPlot: the times, then each line."""

    title: str
    lines: tuple[Drawn, ...]
    ticks: tuple[str, ...]
    times: tuple[str, ...]
    rows: tuple[TableRow, ...]
    data: list[list[float | None]]
    control: str = ""

    @property
    def names(self) -> list[str]:
        """The names of the lines."""
        return [line.name for line in self.lines]

    @property
    def tones(self) -> list[str]:
        """Their tones."""
        return [line.tone for line in self.lines]

    @property
    def grid(self) -> list[float]:
        """The heights of lines across the plot."""
        return [HEIGHT * step / _STEPS for step in range(_STEPS + 1)]


def chart(title: str, times: Sequence[float], lines: Sequence[ChartLine], control: str = "") -> Chart | None:
    """A chart of lines over times in seconds since the epoch, ascending; None for fewer than two times.

    Amounts are of `control`, which tells bytes from other numbers.
    """
    if len(times) < 2:
        return None
    top = nice_top(max((value for line in lines for value in line.values if value is not None), default=0.0), control)
    begin, end = times[0], times[-1]
    written = _stamped(end - begin)
    drawn = tuple(
        Drawn(line.name, line.tone, path_of(times, line.values, top), short_amount_of(control, _last(line.values)))
        for line in lines
    )
    stamps = (begin + (end - begin) * step / (_LABELS - 1) for step in range(_LABELS))
    return Chart(
        title=title,
        lines=drawn,
        ticks=tuple(short_amount_of(control, top * step / _STEPS) for step in range(_STEPS, -1, -1)),
        times=tuple(written(stamp) for stamp in stamps),
        rows=tuple(_rows(times, lines, control)),
        data=[list(times), *(list(line.values) for line in lines)],
        control=control,
    )


def _stamped(length: float) -> Callable[[float], str]:
    """How times are written below a plot of this length in seconds: as days, minutes, or seconds."""
    if length > 2 * _DAY:
        return lambda stamp: moment(stamp)[5:10]
    return clock_time if length > 5 * _MINUTE else lambda stamp: moment(stamp)[11:19]


def nice_top(most: float, control: str = "") -> float:
    """A round number at or above `most` whose quarters are round, too: 4, 8, 12, 20, 40 ... times a power of ten."""
    if most <= 0:
        return float(_STEPS)
    base, power = (1024.0, 0) if control.endswith(("size", "bytes")) else (10.0, 0)
    unit = base ** (floor(log10(most) / log10(base)) + power)
    for factor in (1, 2, 4, 6, 8, 10, 12, 16, 20, 40, 60, 80, 100, 200, 400, 600, 800):
        if factor * unit >= most:
            return factor * unit
    return ceil(most / unit) * unit


def path_of(times: Sequence[float], values: Sequence[float | None], top: float) -> str:
    """The path of a line: broken where a value is not known; a lone value is a short dash."""
    begin, length = times[0], times[-1] - times[0] or 1.0
    parts: list[str] = []
    run: list[str] = []
    for time, value in zip(times, values, strict=True):
        if value is None:
            parts += _closed(run)
            run = []
            continue
        x = WIDTH * (time - begin) / length
        y = HEIGHT * (1 - min(max(value / top, 0.0), 1.0))
        run.append(f"{x:.1f} {y:.1f}")
    parts += _closed(run)
    return " ".join(parts)


def _closed(run: list[str]) -> list[str]:
    """One unbroken run as commands of a path."""
    if not run:
        return []
    return [f"M{run[0]} " + (" ".join(f"L{point}" for point in run[1:]) or "h2")]


def _last(values: Sequence[float | None]) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)


def _rows(times: Sequence[float], lines: Sequence[ChartLine], control: str) -> list[TableRow]:
    """Means over equal parts of the values."""
    width = ceil(len(times) / _ROWS)
    rows = []
    for start in range(0, len(times), width):
        end = min(start + width, len(times))
        means = (_mean(line.values[start:end]) for line in lines)
        rows.append(TableRow(moment(times[end - 1]), tuple(short_amount_of(control, mean) for mean in means)))
    return rows


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
