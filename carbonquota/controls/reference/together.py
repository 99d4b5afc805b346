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
    taken.let_go()
    return Verdict(accepted=True)


class _Taken:
    """What accepted offers took, so that they can give it back."""

    def __init__(self, decider: Decider) -> None:
        """Begin before the first offer."""
        self._decider = decider
        self._index = decider.index
        self._creates_left = decider.creates.left
        self._changes = 0 if self._index.changes is None else self._index.changes.mark()
        self._before: Counters = {}
        self._after: Counters = {}
        self._seen: dict[int, int] = {}
        self._created: list[bytes] = []
        self._namespaces: list[int] = []
        self._name = b""
        self._is_new = False

    def watch(self, name: str) -> None:
        """Look at all that an offer may change, just before it is decided; its namespaces are created for that."""
        index = self._index
        nearest, missing = index.locate(dotted_part(name))
        namespace = index.create(nearest, missing)
        self._namespaces.append(namespace)
        for quota in index.quotas.chain(index.namespaces.quota_at[namespace]):
            self._before.setdefault(quota, index.quotas.counters(quota))
        self._name = name.encode()
        row = index.find(self._name)
        self._is_new = row == UNKNOWN
        if not self._is_new and index.seen is not None:
            self._seen.setdefault(row, index.seen.time_at[row])
        self._after = {quota: index.quotas.counters(quota) for quota in self._before}

    def note(self) -> None:
        """The offer was accepted."""
        if self._is_new:
            self._created.append(self._name)

    def give_back(self) -> None:
        """Have all stand as before the first offer, but for what the last one counted as it was rejected."""
        index, quotas = self._index, self._index.quotas
        for quota, before in self._before.items():
            counted = zip(before, self._after[quota], quotas.counters(quota), strict=True)
            quotas.put_counters(quota, [start + now - after for start, after, now in counted])
        for name in reversed(self._created):
            index.remove(name)
        if index.seen is not None:
            for row, time in self._seen.items():
                index.seen.time_at[row] = time
        if index.changes is not None:
            index.changes.rewind(self._changes)
        self._decider.creates.left = self._creates_left
        self.let_go()

    def let_go(self) -> None:
        """Remove what was created of namespaces and is not used."""
        for namespace in self._namespaces:
            # Some may have gone with others.
            if self._index.namespaces.born_at[namespace]:
                self._index.sweep(namespace)
