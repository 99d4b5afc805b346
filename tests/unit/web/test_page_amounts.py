"""Amounts as people read them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from carbonquota.model import MAXIMUM
from carbonquota.web.page import amounts


@pytest.mark.parametrize(
    ("shown", "amount", "text"),
    [
        (amounts.whole, 1_234_567, "1,234,567"),
        (amounts.whole, MAXIMUM, "max"),
        (amounts.whole, None, "\N{EN DASH}"),
        (amounts.short, 0, "0"),
        (amounts.short, 9_999, "9,999"),
        (amounts.short, 12_345, "12.3k"),
        (amounts.short, 999_999, "1.00M"),
        (amounts.short, 4_560_000, "4.56M"),
        (amounts.short, -12_345, "-12.3k"),
        (amounts.short, MAXIMUM, "max"),
        (amounts.size, 0, "0 B"),
        (amounts.size, 1023, "1,023 B"),
        (amounts.size, 1536, "1.50 KiB"),
        (amounts.size, 5_000_000_000, "4.66 GiB"),
        (amounts.size, 2**62, "4.00 EiB"),
        (amounts.share, 0, "0.0 %"),
        (amounts.share, 0.01, "< 0.1 %"),
        (amounts.share, 99.99, "99.9 %"),
        (amounts.share, 100, "100.0 %"),
        (amounts.share, 1234.5, "1,234 %"),
        (amounts.share, None, "\N{EN DASH}"),
        (amounts.span, 0, "0 s"),
        (amounts.span, 59.6, "1 min"),
        (amounts.span, 200, "3 min 20 s"),
        (amounts.span, 3_600, "1 h"),
        (amounts.span, 187_300, "2 d 4 h"),
        (amounts.moment, 0, "1970-01-01 00:00:00 UTC"),
    ],
)
def test_amounts_are_written_so(shown: Callable[[float | None], str], amount: float | None, text: str) -> None:
    assert shown(amount) == text


def test_only_sizes_have_units_of_bytes() -> None:
    assert amounts.amount_of("logical-size", 2048) == "2.00 KiB"
    assert amounts.amount_of("metrics", 2048) == "2,048"
