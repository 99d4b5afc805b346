"""Durations as Go writes them (`1m0s`, `300ms`) and sizes with units (`64MB`, `1GiB`)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from carbonquota.service.values.value_error import SettingValueError, described

_UNITS: Final = {
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("1e-3"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "μs": Decimal("1e-6"),
    "ns": Decimal("1e-9"),
}
_PART: Final = re.compile(r"([0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DAYS: Final = re.compile(r"([0-9]{1,6})\s*(d|w|y|days?|weeks?|years?)", re.ASCII)
_HOURS: Final = {"d": 24, "w": 7 * 24, "y": 365 * 24}
_NUMBER: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?", re.ASCII)
_LONGEST: Final = 9_000_000_000
"""Seconds, about 285 years: more than Go's durations hold, and than anybody means."""

_SIZE: Final = re.compile(r"([0-9][0-9_,]{0,30}(?:\.[0-9]{1,30})?)\s*(?:([kmgt])(i?))?b?", re.ASCII | re.IGNORECASE)


def read_duration(value: object, least: float, zero: str) -> float:
    """The seconds of a duration, at least `least`; `zero` tells what 0 means. SettingValueError says what is wrong."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SettingValueError(f"this is a duration, not {described(value)}", 'for example "1m30s", or seconds: 90')
    seconds = _seconds(value) if isinstance(value, str) else float(min(max(value, -1), _LONGEST + 1))
    if not least <= seconds <= _LONGEST:
        shortest = f"at least {write_duration(least).strip(chr(34))}" if least else "not negative"
        shown = f'"{value}"' if isinstance(value, str) else f"{value} s"
        remedy = zero if seconds < least else "the longest is about 285 years"
        raise SettingValueError(f"this duration is {shortest if seconds < least else 'too long'}, not {shown}", remedy)
    return seconds


def _seconds(text: str) -> float:
    """The seconds that the text says."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    parts = _PART.findall(rest)
    if not parts or "".join(map("".join, parts)) != rest:
        raise SettingValueError(f'"{text}" is not a duration', _meant_duration(rest))
    return float(sign * sum(Decimal(number) * _UNITS[unit] for number, unit in parts))


def _meant_duration(text: str) -> str:
    """The duration that somebody may have meant."""
    days = _DAYS.fullmatch(text.strip().lower())
    if days:
        return f'the longest unit is the hour: did you mean "{int(days[1]) * _HOURS[days[2][0]]}h"?'
    if _NUMBER.fullmatch(text):
        return f'a unit is missing: did you mean "{text}s"?'
    squeezed = re.sub(r"\s+", "", text.lower())
    if squeezed != text and _PART.match(squeezed):
        return f'did you mean "{squeezed}"?'
    return 'write it as "1h30m", "90s" or "500ms"'


def write_duration(seconds: float) -> str:
    """Whole seconds in hours, minutes and seconds, in quotes; others as a number, which loses nothing."""
    if seconds != int(seconds):
        return repr(seconds)
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    text = (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"
    return f'"{text}"'


def read_size(value: object) -> object:
    """The bytes that text with a unit means; what is no text is given back as it is."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise SettingValueError(
            f'"{value}" is not a size', 'write it in bytes, or as "64MB" (1000s) or "64MiB" (1024s)'
        )
    number, prefix, binary = match.groups()
    base = 1024 if binary else 1000
    scaled = Decimal(re.sub("[_,]", "", number)) * base ** " kmgt".index((prefix or " ").lower())
    if scaled != int(scaled):
        raise SettingValueError(f'"{value}" is not a whole number of bytes', f'did you mean "{int(scaled)}"?')
    return int(scaled)
