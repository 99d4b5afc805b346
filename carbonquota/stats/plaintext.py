"""Named values as carbon's plaintext lines."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite


def plaintext_lines(prefix: str, values: Mapping[str, float], timestamp: int) -> bytes:
    r"""Each value as `prefix.name value timestamp\n`, or without the prefix where it is empty.

    Whole numbers are written as such, of any size. What is not finite has no line: stores differ on what it means.
    """
    start = f"{prefix}." if prefix else ""
    return "".join(
        [f"{start}{name} {number(value)} {timestamp}\n" for name, value in values.items() if isfinite(value)]
    ).encode()


def number(value: float) -> int | float:
    """A finite value as it is best written: a whole number without a fraction."""
    return int(value) if isinstance(value, int) or value.is_integer() else value
