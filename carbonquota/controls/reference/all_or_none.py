"""Several offers decided as one: all are accepted and charged, or none is.

Each is decided in its turn, so that it sees what the ones before it would take. Where one is rejected, its points are
counted as those of any rejected offer are, and the ones before it give back all that they took.
"""

from __future__ import annotations

from collections.abc import Sequence

from carbonquota.controls.reference.decision import ACCEPTED, Decider
from carbonquota.kernel import UNKNOWN
from carbonquota.metric_name import Name, dotted_part, normalize
from carbonquota.model import Verdict

Counters = dict[int, tuple[int, ...]]
"""What quotas, by their rows, have left of their throughput and have counted."""


def offer_all(decider: Decider, offers: Sequence[tuple[Name, int]]) -> Verdict:
    """Decide on all of them; the verdict on the first that is rejected, if any is.

    MetricNameError where one cannot be a metric's name. What is raised leaves nothing charged.
    """
    named = [(normalize(metric), points) for metric, points in offers]
    taken = _Taken(decider)
    try:
        for name, points in named:
            taken.watch(name)
            outcome = decider.offer_named(name, points)
            if outcome != ACCEPTED:
                verdict = decider.verdict(name, outcome)
                taken.give_back()
                return verdict
            taken.note()
    except BaseException:
        taken.give_back()
        raise
    return Verdict(accepted=True)


class _Taken:
    """What accepted offers took, so that they can give it back."""

    def __init__(self, decider: Decider) -> None:
        """Begin before the first offer."""
        self._decider = decider
        self._index = decider.index
        self._creates_remaining = decider.creates.remaining
        self._changes = 0 if self._index.changes is None else self._index.changes.mark()
        self._before: Counters = {}
        self._after: Counters = {}
        self._seen: dict[int, int] = {}
        self._created: list[bytes] = []
        self._name = ""
        self._is_new = False

    def watch(self, name: str) -> None:
        """Look at all that an offer may change, just before it is decided."""
        index = self._index
        for quota in self._quotas_above(name):
            self._before.setdefault(quota, index.quotas.counters(quota))
        self._name = name
        row = index.find(name.encode())
        self._is_new = row == UNKNOWN
        if not self._is_new and index.seen is not None:
            self._seen.setdefault(row, index.seen.time_at[row])
        self._after = {quota: index.quotas.counters(quota) for quota in self._before}

    def _quotas_above(self, name: str) -> tuple[int, ...]:
        """The quotas above a metric, as far as its namespaces are there."""
        index = self._index
        nearest, _ = index.locate(dotted_part(name))
        return index.chain(nearest)

    def note(self) -> None:
        """The offer was accepted, so its namespaces are there."""
        if self._is_new:
            self._created.append(self._name.encode())
        for quota in self._quotas_above(self._name):
            self._before.setdefault(quota, self._index.quotas.fresh_counters(quota))

    def give_back(self) -> None:
        """Have all stand as before the first offer, but for what the last one counted as it was rejected."""
        index, quotas = self._index, self._index.quotas
        for quota, before in self._before.items():
            now = quotas.counters(quota)
            counted = zip(before, self._after.get(quota, now), now, strict=True)
            quotas.put_counters(quota, [start + last - after for start, after, last in counted])
        for name in reversed(self._created):
            index.remove(name)
        if index.seen is not None:
            for row, time in self._seen.items():
                index.seen.time_at[row] = time
        if index.changes is not None:
            index.changes.rewind(self._changes)
        self._decider.creates.remaining = self._creates_remaining
