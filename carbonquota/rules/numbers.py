"""The amounts of a configuration file: text to a whole number, or what is wrong with it and how to mend it."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from carbonquota.model import MAXIMUM
from carbonquota.suggest import nearest

_SEPARATORS: Final = str.maketrans("", "", ",_")
_WHOLE: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_SCALED: Final = re.compile(r"([0-9]{1,30}(?:\.[0-9]{0,30})?)(?:e\+?([0-9]{1,2}))?\s*((?:[kmgtp]i?)?)b?", re.ASCII)
_DIGITS_OF_MAXIMUM: Final = len(str(MAXIMUM))
_NO_LIMIT: Final = ("max", "maximum")
_NO_LIMIT_ELSEWHERE: Final = ("unlimited", "infinite", "inf", "infinity", "nolimit", "no limit")


def read_limit(text: str) -> int | tuple[str, str] | None:
    """The limit that a value gives, None for an empty value, or a message and a suggestion."""
    if not text:
        return None
    if text in _NO_LIMIT:
        return MAXIMUM
    digits = text.translate(_SEPARATORS)
    if not _WHOLE.fullmatch(digits):
        return "a limit is a whole number", _whole_number_for(text, digits)
    return _in_range(digits)


def _in_range(digits: str) -> int | tuple[str, str]:
    if not digits.strip("+-0"):
        return "a limit cannot be 0", "leave it empty for no limit, which is what go-carbon reads in it"
    if digits[0] == "-":
        return "a limit cannot be negative", "leave it empty for no limit"
    # Counted before it is converted: Python refuses to convert thousands of digits.
    if len(digits.lstrip("+0")) > _DIGITS_OF_MAXIMUM or int(digits) > MAXIMUM:
        return f"a limit is at most {MAXIMUM:,}", 'write "max" for practically no limit'
    return int(digits)


def _whole_number_for(text: str, digits: str) -> str:
    if "#" in text or ";" in text:
        return "a comment stands on a line of its own"
    lowered = text.strip().lower()
    if lowered in _NO_LIMIT_ELSEWHERE or nearest(text, _NO_LIMIT):
        return 'did you mean "max"?'
    if lowered in ("none", "off", "null", "-"):
        return "leave it empty for no limit"
    scaled = _SCALED.fullmatch(digits.lower())
    return _question(_amount(*scaled.groups())) if scaled else 'write it as 1000, 1,000 or 1_000; or "max"'


def _amount(number: str, exponent: str | None, unit: str) -> Decimal:
    base = 1024 if unit.endswith("i") else 1000
    return Decimal(number) * (Decimal(10) ** int(exponent or 0)) * (Decimal(base) ** " kmgtp".index(unit[:1] or " "))


def _question(amount: Decimal) -> str:
    low = int(amount)
    if low == amount:
        return f'did you mean "{low:,}"?'
    return f'did you mean "{low + 1:,}"?' if low == 0 else f'did you mean "{low:,}" or "{low + 1:,}"?'
