"""Amounts as people read them on a page: digits in groups, sizes in binary units, shares, times and ages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from carbonquota.model import MAXIMUM

NOTHING: Final = "\N{EN DASH}"
"""Stands where there is no value, so that columns stay readable."""

_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB")
_POWERS: Final = ("", "k", "M", "G", "T", "P", "E")
_SPANS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def whole(amount: float | None) -> str:
    """A number with its digits in groups; `max` for the largest limit."""
    if amount is None:
        return NOTHING
    return "max" if amount == MAXIMUM else f"{amount:,.0f}"


def short(amount: float | None) -> str:
    """A number in at most five characters: `9,999`, `12.3k`, `4.56M`."""
    if amount is None:
        return NOTHING
    if amount == MAXIMUM:
        return "max"
    return f"{amount:,.0f}" if abs(amount) < 10_000 else _scaled(amount, 1000, _POWERS)


def size(amount: float | None) -> str:
    """Bytes in a binary unit, with three digits: `512 B`, `1.50 MiB`."""
    if amount is None:
        return NOTHING
    if amount == MAXIMUM:
        return "max"
    return f"{amount:,.0f} B" if abs(amount) < 1024 else _scaled(amount, 1024, _SIZES, " ")


def is_size(control: str) -> bool:
    """Whether a control, in either spelling, counts bytes."""
    return control.endswith(("size", "bytes"))


def amount_of(control: str, amount: float | None) -> str:
    """An amount of a control: bytes with their unit, all else as a number."""
    return size(amount) if is_size(control) else whole(amount)


def short_amount_of(control: str, amount: float | None) -> str:
    """The same in few characters."""
    return size(amount) if is_size(control) else short(amount)


def share(percent: float | None) -> str:
    """A percentage; what is not quite full is never shown as 100 %, nor what is not empty as 0 %."""
    if percent is None:
        return NOTHING
    if 99.9 <= percent < 100:
        return "99.9 %"
    if 0 < percent < 0.1:
        return "< 0.1 %"
    return f"{percent:,.1f} %" if percent < 1000 else f"{percent:,.0f} %"


def span(seconds: float) -> str:
    """A length of time by its two largest units: `45 s`, `3 min 20 s`, `2 d 4 h`."""
    left = max(round(seconds), 0)
    parts: list[str] = []
    for length, unit in _SPANS:
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts)


def moment(seconds: float) -> str:
    """A time since the epoch as UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock_time(seconds: float) -> str:
    """A time since the epoch as hours and minutes, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M")


def _scaled(amount: float, base: int, units: tuple[str, ...], gap: str = "") -> str:
    power = 0
    scaled = float(amount)
    # What would be rounded up to a thousand is told in the next unit.
    while power < len(units) - 1 and abs(scaled) >= base - 0.5 * (base == 1000):
        scaled /= base
        power += 1
    digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
    return f"{scaled:,.{digits}f}{gap}{units[power]}"
