"""Holdings that come from outside, looked at before anything is done with them.

A file of a million series is to be read within seconds, so whole stretches of names are looked at as one text, and
name by name only where that leaves a doubt: tags, long names, letters beyond ASCII.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from carbonquota.errors import MetricNameError, QuotaError
from carbonquota.metric_name import normalize, normalize_namespace
from carbonquota.model import MAXIMUM
from carbonquota.trie.holdings import Holdings

_STRETCH: Final = 4096
_SHORT: Final = 500
"""A name of so many bytes or fewer has neither too many characters nor too many parts."""

_CONTROL: Final = bytes([*range(32), 127])
_DOUBTFUL: Final = (b";", b"..", b"\n.", b".\n", b"\n\n")
"""What does not stand in lines that are plain names: tags, stray dots and empty names."""


def check(holdings: Holdings) -> None:
    """QuotaError where columns do not go together, a name is not in normal form or there twice, or a flow is none."""
    count = len(holdings.names)
    if not count == len(holdings.size_numbers) == len(holdings.seen):
        raise QuotaError(
            f"holdings do not go together: {count:,} names, {len(holdings.size_numbers):,} sizes"
            f" and {len(holdings.seen):,} times"
        )
    numbers = holdings.size_numbers
    if count and not 0 <= numbers.min() <= numbers.max() < len(holdings.sizes):
        raise QuotaError(f"holdings do not go together: a size number is none of {len(holdings.sizes):,} sizes")
    for start in range(0, count, _STRETCH):
        _check_names(holdings.names[start : start + _STRETCH])
    if len(set(holdings.names)) != count:
        raise QuotaError("the same metric is in the holdings twice")
    _check_flows(holdings.flows)


def _check_names(names: Sequence[bytes]) -> None:
    """QuotaError where a name is not in normal form."""
    if _are_plain(names):
        return
    for name in names:
        if not _is_normal(name):
            raise QuotaError(f"metric name {name[:40]!r} is not in normal form")


def _are_plain(names: Sequence[bytes]) -> bool:
    """Whether all names are in normal form without a doubt."""
    text = b"\n%b\n" % b"\n".join(names)
    if len(max(names, key=len)) > _SHORT or not text.isascii() or any(doubt in text for doubt in _DOUBTFUL):
        return False
    # All control characters are the ends of lines; one more is in a name.
    return len(text.translate(None, _CONTROL)) == len(text) - len(names) - 1


def _is_normal(name: bytes) -> bool:
    """Whether a name is in normal form."""
    try:
        return normalize(name.decode()).encode() == name
    except (MetricNameError, UnicodeError):
        return False


def _check_flows(flows: Mapping[str, int]) -> None:
    """QuotaError where a namespace is not spelled as the index does, or its points are no number of points."""
    for name, points in flows.items():
        if normalize_namespace(name) != name:
            raise QuotaError(f"namespace {name!r} is not in normal form")
        if not 0 <= points <= MAXIMUM:
            raise QuotaError(f"points must be from 0 to {MAXIMUM}, not {points}")
