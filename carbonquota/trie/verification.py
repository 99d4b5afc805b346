"""Holdings that come from outside, looked at before anything is done with them.

A file of many millions of series is to be read within seconds, so the kernel looks at the names, and Python only at
those that leave a doubt: tags, long names, letters beyond ASCII.
"""

from __future__ import annotations

from collections.abc import Mapping

from carbonquota.errors import MetricNameError, QuotaError
from carbonquota.kernel import JoinedNames, Survey, survey
from carbonquota.metric_name import normalize, normalize_namespace
from carbonquota.model import MAXIMUM
from carbonquota.trie.holdings import Holdings


def check(holdings: Holdings) -> Survey:
    """The names surveyed; QuotaError where these holdings cannot be an index's.

    That is where columns do not go together, a name is not in normal form or there twice, or a flow is none.
    """
    count = len(holdings.names)
    if not count == len(holdings.size_numbers) == len(holdings.seen):
        raise QuotaError(
            f"holdings do not go together: {count:,} names, {len(holdings.size_numbers):,} sizes"
            f" and {len(holdings.seen):,} times"
        )
    numbers = holdings.size_numbers
    if count and not 0 <= numbers.min() <= numbers.max() < len(holdings.sizes):
        raise QuotaError(f"holdings do not go together: a size number is none of {len(holdings.sizes):,} sizes")
    surveyed = _check_names(holdings)
    _check_rates(holdings.rates)
    return surveyed


def _check_names(holdings: Holdings) -> Survey:
    """The names surveyed; QuotaError where one is not in normal form, or there twice."""
    try:
        surveyed = survey(JoinedNames.of(holdings.names))
    except ValueError:
        name = next(name for name in holdings.names if b"\n" in name)
        raise QuotaError(f"metric name {name[:40]!r} is not in normal form") from None
    for place in surveyed.doubtful:
        name = holdings.names[place]
        if not _is_normal(name):
            raise QuotaError(f"metric name {name[:40]!r} is not in normal form")
    if surveyed.twice:
        raise QuotaError("the same metric is in the holdings twice")
    return surveyed


def _is_normal(name: bytes) -> bool:
    """Whether a name is in normal form."""
    try:
        return normalize(name.decode()).encode() == name
    except (MetricNameError, UnicodeError):
        return False


def _check_rates(rates: Mapping[str, int]) -> None:
    """QuotaError where a namespace is not spelled as the index does, or its points are no number of points."""
    for name, points in rates.items():
        if normalize_namespace(name) != name:
            raise QuotaError(f"namespace {name!r} is not in normal form")
        if not 0 <= points <= MAXIMUM:
            raise QuotaError(f"points must be from 0 to {MAXIMUM}, not {points}")
