"""The engine: rules, index and controls behind one lock, as the calls that a program makes.

Theory of operation. Every call that reads or changes the index holds the engine's lock; what need not (the scan of a
batch, formatting a report, finding the rules of a hundred thousand namespaces anew) is done outside. So each call is
one step in some order of all calls, and limits hold exactly under any number of threads. The clock is read under the
lock, which is why counts never fall between two intervals. What takes long and can be taken apart (the expiry of many
series) lets go of the lock in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from operator import index
from time import sleep

import numpy as np

from carbonquota.controls import (
    Admission,
    BatchDecision,
    Explanation,
    compiled_rules,
)
from carbonquota.controls.children import Children, names_at, take_children, usages_at
from carbonquota.controls.explain import explain
from carbonquota.controls.quota_columns import usage_of
from carbonquota.engine.core import TURN
from carbonquota.engine.reports import Reports
from carbonquota.engine.shared_limits import SharedLimits
from carbonquota.kernel import UNKNOWN, PointList
from carbonquota.metric_name import Name, dotted_part, normalize, normalize_namespace
from carbonquota.model import MAXIMUM, ROOT, Size, SizeOf, Usage, Verdict
from carbonquota.rules import RuleSet
from carbonquota.trie import Change, ChangeRun, Holdings, Rebuild
from carbonquota.trie.transfer import copy_of, restore, restore_rates
from carbonquota.trie.verification import check

_AT_A_STRETCH = 500
"""How many series expire before another thread's call has its turn: some milliseconds of work."""


class QuotaEngine(SharedLimits, Reports):
    """Decides every offered data point by the quotas of the namespaces above it.

    All methods may be called from any thread. Metric names are given as text or UTF-8, in any spelling that
    `carbonquota.metric_name.normalize` takes; MetricNameError says why a name is none.
    """

    @property
    def rules(self) -> RuleSet:
        """The rules in force."""
        return self._rules

    def __len__(self) -> int:
        """The number of metrics in the index."""
        with self._lock:
            return len(self._index)

    def __contains__(self, metric: Name) -> bool:
        """Whether a metric is in the index."""
        name = normalize(metric).encode()
        with self._lock:
            return self._index.find(name) != UNKNOWN

    def load(self, metric: Name, size: Size | None = None) -> None:
        """Put an existing metric into the index, asking no quota; if it is there, count it with the size given.

        Where it is kept when metrics were last seen, this one is seen now.
        """
        name = normalize(metric)
        key = name.encode()
        with self._lock:
            if self._timed:
                self._keep_time()
            known = self._index
            row = known.find(key)
            if row == UNKNOWN:
                size = self._decider.checked_size(name, size)
                known.add(key, known.create(*known.locate(dotted_part(name))), size)
                if self._unclaimed is not None:
                    self._unclaimed[0].append(name)
                return
            if size is not None:
                self._decider.resize(name, row, size)
            if known.seen is not None:
                known.seen.note(row)

    def offer(self, metric: Name, points: int = 1, size: Size | None = None) -> Verdict:
        """Offer `points` data points of a metric: accepted or rejected as a whole, and charged if accepted.

        `size` is what the metric would hold if it is new; without it `size_of` is asked. ValueError where `points`
        is not from 1 to 2^63 - 1.
        """
        if points.__class__ is not int or not 1 <= points <= MAXIMUM:
            points = _whole(points)
        return self._backend.offer(metric, points, size)

    def offer_all(self, offers: Sequence[tuple[Name, int]]) -> Verdict:
        """Offer points of several metrics as one: all are accepted and charged, or none is, in one step.

        Each offer is decided on top of the ones before it. Where one is rejected the verdict says by what, its points
        count as throttled and dropped, and the others leave no trace. Raises what `offer` does, with nothing charged.
        """
        return self._backend.offer_all([(metric, _whole(points)) for metric, points in offers])

    def admit(self, buffer: bytes | bytearray | memoryview | PointList) -> Admission:
        """Offer a batch of plaintext lines, one point each, in their order; any number, also none.

        A last line without its line end counts as one. Malformed lines are cut out and counted. Points that came
        otherwise are decided as the lines that mean the same, without these being made.
        """
        if not isinstance(buffer, bytes):
            if isinstance(buffer, PointList):
                return self._admit_points(buffer)
            buffer = _bytes(buffer)
        return self._backend.admit(buffer)

    def _admit_points(self, points: PointList) -> Admission:
        """The same for points that are no lines."""
        wrong = points.wrong(self._decider.times)
        # An empty name is none, so that nobody is charged.
        names: list[Name] = [b"" if at in wrong else name for at, name in enumerate(points.names)]
        return self._backend.admit_names(names, None).of_points(points, wrong)

    def admit_names(self, names: Sequence[Name], points: Sequence[int] | None = None) -> BatchDecision:
        """Offer points of metrics by their names, one of each or so many, in their order.

        What is no metric's name counts as malformed. ValueError where names and points do not go pairwise, or points
        are not from 1 to 2^63 - 1.
        """
        amounts = None if points is None else np.array([_whole(amount) for amount in points], np.int64)
        if amounts is not None and len(amounts) != len(names):
            raise ValueError(f"names and points must go pairwise, not {len(names):,} names and {len(amounts):,} points")
        return self._backend.admit_names(list(names), amounts)

    def forget(self, metric: Name) -> bool:
        """Take a deleted metric out of the index and give back what it held; whether it was there."""
        name = normalize(metric).encode()
        with self._lock:
            if self._index.find(name) == UNKNOWN:
                return False
            self._index.remove(name)
            if self._unclaimed is not None:
                self._unclaimed[1].append(name.decode())
            return True

    def expire(self, before: float, most: int = 10_000) -> list[str]:
        """Take up to `most` metrics out that were last seen before this time, in seconds since the epoch; their names.

        Seen is a metric when a point of it is accepted, or it is loaded; times are kept in whole seconds, in doubt to
        the metric's favour. None is ever taken out without `keep_seen`. Other calls have their turn in between.
        """
        expired: list[str] = []
        while len(expired) < most:
            number = min(_AT_A_STRETCH, most - len(expired))
            with self._lock:
                names = self._index.expire(floor(before), number)
                if self._unclaimed is not None:
                    self._unclaimed[1].extend(name.decode() for name in names)
            expired += [name.decode() for name in names]
            if len(names) < number:
                break
            sleep(TURN)
        return expired

    def take_changes(self) -> list[Change]:
        """The metrics that came, got another size or went since the last call, in order; with `record_changes`.

        They are kept until they are taken, so do take them.
        """
        return _one_by_one(self.take_change_runs())

    def take_change_runs(self) -> list[ChangeRun]:
        """The same as runs of names, which takes no object a metric."""
        with self._lock:
            return self._index.take_changes()

    @property
    def has_changes(self) -> bool:
        """Whether there are changes to be taken, those of calls that have returned at least; never waits."""
        return bool(self._index.changes)

    def dump(self) -> tuple[Holdings, list[Change]]:
        """All that the index holds at one moment, and the changes up to it that were not taken yet, which it takes."""
        with self._lock:
            self._keep_time()
            copied, changes, start = copy_of(self._index), self._index.take_changes(), self._interval.start
        return copied.holdings(start), _one_by_one(changes)

    def holdings(self) -> Holdings:
        """All that the index holds at one moment."""
        with self._lock:
            self._keep_time()
            copied, start = copy_of(self._index), self._interval.start
        return copied.holdings(start)

    def restore(self, holdings: Holdings) -> None:
        """Put what another engine held into the index, asking no quota and recording no change.

        Metrics that are there already stay as they are. Accepted points count on only where the running interval
        began when theirs did. A metric of which it is not known when it was seen is seen now. QuotaError says what is
        wrong with the holdings (names not in normal form or given twice, sums past 2^63 - 1), and nothing is changed.
        """
        surveyed = check(holdings)
        with self._lock:
            self._keep_time()
            restore(self._index, holdings, surveyed)
            if holdings.interval_start == self._interval.start:
                restore_rates(self._index, holdings.rates)

    def apply(self, rules: RuleSet, size_of: SizeOf | None = None) -> None:
        """Put other rules in force, atomically; other threads go on offering meanwhile.

        With a `size_of`, new metrics get their sizes by that one from the same moment on.
        What is used stays used, and the counts of the interval stay with the namespaces that had a rule and have one.
        """
        compiled = compiled_rules(rules.rules, self._interval.length, self._unit)
        with self._reload_lock:
            matcher = rules.matcher()
            matcher.plan()  # made before the lock is taken, since it takes a while where rules are many
            with self._lock:
                rebuild = Rebuild(self._index, matcher, compiled)
            rebuild.run(give_way=lambda: sleep(0))
            with self._lock:
                self._keep_time()
                rebuild.finish()
                self._decider.put_in_force(compiled, size_of)
                self._backend.rebind()
                self._rules = rules

    def usage(self, namespace: str = ROOT) -> Usage:
        """What a namespace holds now, all zeros where it does not exist, and its points of this interval."""
        with self._lock:
            self._keep_time()
            return usage_of(self._index, self._index.namespaces.find(normalize_namespace(namespace)))

    def children(self, namespace: str = ROOT) -> list[str]:
        """The full names of the direct sub-namespaces, sorted."""
        with self._lock:
            namespaces = self._index.namespaces
            row = namespaces.find(normalize_namespace(namespace))
            if row == UNKNOWN:
                return []
            children = namespaces.children(row)
            names = namespaces.names_at(children[namespaces.metrics[children] > 0])
        return sorted(names)

    def children_by(self, namespace: str = ROOT, amount: str = "") -> Children:
        """The direct sub-namespaces as rows, with the `amount` that each holds (a field of `Usage`; empty: none)."""
        name = normalize_namespace(namespace)
        with self._lock:
            self._keep_time()
            return take_children(self._index, self._index.namespaces.find(name), amount)

    def usages_at(self, children: Children) -> list[tuple[str, Usage]]:
        """The names and usage of sub-namespaces, as they are now; those that are gone are left out."""
        with self._lock:
            self._keep_time()
            return usages_at(self._index, children)

    def names_at(self, children: Children) -> list[str]:
        """The full names of sub-namespaces, empty for those that are gone; it waits for nobody."""
        return names_at(self._index, children)

    def namespaces(self) -> list[str]:
        """The names of all namespaces that hold a metric, sorted, the root left out."""
        with self._lock:
            namespaces = self._index.namespaces
            names = namespaces.names_at(namespaces.occupied())
        return sorted(names)

    def namespace_count(self) -> int:
        """How many namespaces hold a metric, the root left out: `len(namespaces())`, at next to no cost."""
        with self._lock:
            return self._index.namespaces.count()

    def explain(self, metric: Name, points: int = 1) -> Explanation:
        """Everything that decides about an offer of this metric now; nothing is charged. Raises what `offer` does.

        `max_creates_per_second` has no say in it, as what is left of a second tells nothing of the next.
        """
        points = _whole(points)
        name = normalize(metric)
        with self._lock:
            self._keep_time()
            return explain(self._decider, self._rules.matches, name, points)


def _one_by_one(runs: list[ChangeRun]) -> list[Change]:
    """The changes of all runs, in order."""
    return [change for run in runs for change in run.changes()]


def _bytes(buffer: object) -> bytes:
    """What a buffer of any kind holds; TypeError where it is none."""
    try:
        return memoryview(buffer).tobytes()  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"a batch of lines must be bytes, not {type(buffer).__name__}") from None


def _whole(points: int) -> int:
    """The points of an offer as an int; TypeError where they are no whole number, ValueError where out of range."""
    points = index(points)
    if not 1 <= points <= MAXIMUM:
        raise ValueError(f"points must be from 1 to {MAXIMUM}, not {points}")
    return points
