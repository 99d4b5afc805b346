"""The engine: rules, index and controls behind one lock, as the calls that a program makes.

Theory of operation. Every call that reads or changes the index holds the engine's lock; what need not (the scan of a
batch, formatting a report, finding the rules of a hundred thousand namespaces anew) is done outside. So each call is
one step in some order of all calls, and limits hold exactly under any number of threads. The clock is read under the
lock, which is why counts never fall between two intervals. What takes long and can be taken apart (the expiry of many
series) lets go of the lock in between.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from math import floor, isfinite
from operator import index
from time import sleep, time
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from carbonquota.controls import (
    Admission,
    BatchDecision,
    ClockWatch,
    Decider,
    Explanation,
    FixedWindow,
    NamespaceQuota,
    Refill,
    ThroughputUnit,
    Turn,
    backend_of,
    capacity_limits,
    compiled_rules,
    sharing,
)
from carbonquota.controls.capacity_limits import NamespaceLimits, RefusedMetric
from carbonquota.controls.children import Children, names_at, take_children, usages_at
from carbonquota.controls.explain import explain
from carbonquota.controls.holding import AnyDecision, HeldBack, hold_back, let_go
from carbonquota.controls.quota_columns import QuotaColumns, quota_columns, unnamed_quota_columns, usage_of
from carbonquota.controls.rejections import Rejections
from carbonquota.controls.sharing import Counted, NamespaceRows
from carbonquota.controls.table import CompiledRule
from carbonquota.kernel import UNKNOWN, Lock, Malformed, PlainLines, PlainNames, PointList
from carbonquota.metric_name import Name, dotted_part, normalize, normalize_namespace
from carbonquota.model import MAXIMUM, ROOT, Clock, Size, SizeOf, Storable, Usage, Verdict
from carbonquota.rules import RuleSet, Schemas
from carbonquota.stats import ReportColumns, ended_intervals
from carbonquota.trie import Change, ChangeRun, Holdings, Index, Rebuild, Taking, take_counts, take_ended_counts
from carbonquota.trie.columns import Column
from carbonquota.trie.quotas import in_turn
from carbonquota.trie.transfer import copy_of, restore, restore_rates
from carbonquota.trie.verification import check

_AT_A_STRETCH = 500
"""How many series expire before another thread's call has its turn: some milliseconds of work."""

_TURN = 0.0005
"""Seconds between two stretches: a thread that waits for the lock, asleep, takes some time to wake and have it."""

_NAMES_AT_A_STRETCH = 1_024
"""How many namespaces get their names in stats before another thread's call has its turn."""

_ROUNDS_OF_NAMES = 4
"""So often those are named that came while the ones before were; what still comes then is named in one go."""


def _check_settings(interval: float, throughput_unit: ThroughputUnit, max_creates_per_second: int | None) -> None:
    """ValueError says which of an engine's settings is out of range."""
    if not (interval >= 1 and isfinite(interval)):
        raise ValueError(f"the interval must be at least 1 second, not {interval}")
    if throughput_unit not in get_args(ThroughputUnit):
        raise ValueError(f"throughput_unit must be {' or '.join(get_args(ThroughputUnit))}, not {throughput_unit}")
    if max_creates_per_second is not None and max_creates_per_second < 1:
        raise ValueError(f"max_creates_per_second must be at least 1, or None, not {max_creates_per_second}")


class QuotaEngine:
    """Decides every offered data point by the quotas of the namespaces above it.

    All methods may be called from any thread. Metric names are given as text or UTF-8, in any spelling that
    `carbonquota.metric_name.normalize` takes; MetricNameError says why a name is none.
    """

    def __init__(  # noqa: PLR0913 - all but the rules are named, and have defaults
        self,
        rules: RuleSet,
        *,
        size_of: SizeOf | None = None,
        clock: Clock = time,
        interval: float = 60.0,
        throughput_unit: ThroughputUnit = "interval",
        record_changes: bool = False,
        keep_seen: bool = False,
        max_creates_per_second: int | None = None,
        storable: Storable | None = None,
        prepaid: bool = False,
        hold_new: bool = False,
        steady: Clock | None = None,
    ) -> None:
        """Start without metrics.

        `size_of` gives the size of a new metric (without it: what no schema means, 172,800 points); it is called
        under the engine's lock, so it must be quick and not call the engine. `clock` gives the seconds since the
        epoch, `interval` is the length of a report interval in seconds, at least 1, and `throughput_unit` tells whether
        throughput limits are per interval or per minute. `record_changes` is for `take_changes` and `dump`, and
        `keep_seen` for `expire`. `max_creates_per_second`, at least 1, bounds the metrics that offers may create in a
        second of the clock. What is not `storable` is malformed, as nobody is to be charged for what is lost;
        without it the engine knows no store. `prepaid` has throughput limits that reject begin with nothing, until
        `grant` is called. `hold_new` has `admit` and `admit_names` hold new metrics back, for `take_new` of the answer,
        until `admit_new` or `admit_new_names` is called. `steady` gives seconds that never go back: where it is given,
        an interval that begins by the clock's being set begins with nothing of prepaid limits. ValueError says what is
        out of range.
        """
        _check_settings(interval, throughput_unit, max_creates_per_second)
        self._lock = Lock()
        self._reload_lock = threading.Lock()
        self._clock = clock
        self._interval: Refill = FixedWindow(interval, clock())
        self._unit: ThroughputUnit = throughput_unit
        self._rules = rules
        compiled = compiled_rules(rules.rules, interval, throughput_unit)
        default_size = Schemas.from_text("").default_size
        self._index = Index(rules.matcher(), compiled, record_changes=record_changes, keep_seen=keep_seen)
        size_of = size_of or (lambda _: default_size)
        self._decider = Decider(self._index, compiled, size_of, max_creates_per_second, storable, hold_new=hold_new)
        self._unclaimed: tuple[list[str], list[str]] | None = None
        self._timed = keep_seen or max_creates_per_second is not None
        if prepaid:
            self._index.quotas.parts = self._index.quotas.next_parts = 0
            self._decider.divide(0)
        self._parts = self._index.quotas.parts
        self._is_shared = prepaid
        self._clock_watch = None if steady is None else ClockWatch(steady, clock())
        turn = Turn(self._lock, clock, clock_is_system=clock is time, begin=self._begin)
        self._backend = backend_of(self._decider, turn)
        # Until the clock leaves this stretch, it is the same interval and, where these matter, the same second.
        self._quiet_from, self._quiet_until = 0.0, 0.0

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

    def _begin(self) -> None:
        """What comes before a decision: time may have passed."""
        self._keep_time()

    def admit_new(self, buffer: bytes) -> Admission:
        """`admit` for lines that were held back; no other thread may admit meanwhile."""
        with self._decider.creates.opened():
            return self.admit(buffer)

    def admit_new_names(self, names: Sequence[Name]) -> BatchDecision:
        """`admit_names` for names that were held back; no other thread may admit meanwhile."""
        with self._decider.creates.opened():
            return self.admit_names(names)

    def refuse(self, lines: Sequence[bytes], refused: Sequence[RefusedMetric]) -> Admission:
        """Have lines that were held back be dropped, each by the limit that all nodes together are at."""
        return Admission(PlainLines(b"".join(lines)), 0, *self._refuse(refused))

    def refuse_names(self, names: Sequence[Name], refused: Sequence[RefusedMetric]) -> BatchDecision:
        """The same for names."""
        return BatchDecision(PlainNames(names), 0, *self._refuse(refused))

    def _refuse(
        self, refused: Sequence[RefusedMetric]
    ) -> tuple[Rejections, dict[Malformed, Sequence[int]], Sequence[CompiledRule]]:
        """Count what is refused: the rejections, nothing malformed, and what they were decided by."""
        with self._lock:
            self._begin()
            return capacity_limits.refuse(self._decider, refused), {}, self._decider.compiled

    def limits_above(self, namespaces: Iterable[str]) -> list[NamespaceLimits]:
        """The limits of what may be held in these namespaces and all above them, each after the one above it."""
        with self._lock:
            return capacity_limits.limits_above(self._decider, namespaces)

    def sizes_of(self, metrics: Sequence[str]) -> list[Size]:
        """What these new metrics would hold, by their normal names."""
        sizes: list[Size] = []
        for start in range(0, len(metrics), _AT_A_STRETCH):
            with self._lock:
                sizes += map(self._decider.size_of, metrics[start : start + _AT_A_STRETCH])
        return sizes

    def has_each(self, metrics: Iterable[str]) -> list[bool]:
        """Whether each of these metrics is in the index, by their normal names."""
        with self._lock:
            return [self._index.find(name.encode()) != UNKNOWN for name in metrics]

    def take_unclaimed(self) -> tuple[list[str], list[str]]:
        """The metrics that were loaded, and those that went, since the last call; the first call gives none."""
        with self._lock:
            found, self._unclaimed = self._unclaimed, ([], [])
        return found or ([], [])

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
            sleep(_TURN)
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

    def report(self) -> dict[str, int]:
        """Close the interval and give every stat by its name, without the graph prefix.

        `quota.<control>.<name>`, `usage.<control>.<name>`, `throttle.<name>` and `dropped.<name>`; throughput usage,
        throttle and dropped are the points since the last report, as far as their intervals have ended: where limits
        are shared (`share`), a report ends no interval, and the counts of the running one are left to the next.
        Of namespaces that were rejected before they existed, those past the first 1,000 may be told too low, or not
        at all.
        """
        values: dict[str, int] = {}
        for piece in self.report_with_counts()[0].pieces():
            values |= piece
        return values

    def report_with_counts(self) -> tuple[ReportColumns, QuotaColumns, QuotaColumns]:
        """`report` as columns, with how all quotas stood right before and after it.

        A position is the same quota's in all three.
        """
        self._give_stat_names()
        taking = Taking(self._index)
        for stretch in self._index.quotas.stretches():
            with self._lock:
                self._index.quotas.have_memory_to_close(stretch)
            sleep(_TURN)
        with self._lock:
            self._keep_time()
            self._index.note_absent()
            taking.take(self._index)
            quotas, in_force = self._index.quotas, self._decider.compiled
            before = take_counts(quotas)
            ends_early = self._interval.report()
            # Nodes that share limits share their intervals as well: none of them begins one anew by itself.
            if ends_early and not self._is_shared:
                quotas.close()
            taking.take_ended(quotas)
            ended = take_ended_counts(quotas)
            quotas.clear_closed()
            after = take_counts(quotas)
            self._index.prune_reported()
        taken = taking.taken()
        columns = ended_intervals(taken, ended, [rule.limits for rule in in_force])
        return columns, quota_columns(taken, before, in_force), quota_columns(taken, after, in_force)

    def _give_stat_names(self) -> None:
        """Give new namespaces their names in stats, some at a time: nobody is to wait long for the lock."""
        for _ in range(_ROUNDS_OF_NAMES):
            with self._lock:
                quotas = self._index.quotas
                if quotas.wanting_names < _NAMES_AT_A_STRETCH:
                    return
                waiting = quotas.waiting_names()
            rows, turns = in_turn(*waiting)
            if quotas.lacks_room_for_names(len(rows)):
                room = quotas.room_for_names(len(rows))
                with self._lock:
                    quotas.take_room_for_names(room, len(rows))
            for start in range(0, len(rows), _NAMES_AT_A_STRETCH):
                stretch = slice(start, start + _NAMES_AT_A_STRETCH)
                with self._lock:
                    # What other rules brought meanwhile has rows of its own.
                    if self._index.quotas is quotas:
                        quotas.name_some(rows[stretch], turns[stretch])
                sleep(_TURN)

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

    def share(self) -> None:
        """Have throughput limits be shared with other nodes: intervals end by the clock alone from now on."""
        with self._lock:
            self._is_shared = True

    def are_there(self, namespaces: NamespaceRows) -> NDArray[np.bool_]:
        """Which of the namespaces that `counted` gave still exist."""
        with self._lock:
            return sharing.are_there(self._index, namespaces)

    def counted(self) -> Counted:
        """What was accepted in the running interval under throughput limits, for who shares these with other nodes."""
        with self._lock:
            self._keep_time()
            return sharing.counted(self._index, self._interval.start)

    def names_of(self, namespaces: NamespaceRows) -> list[str]:
        """The full names of namespaces as `counted` gives them; empty for one that is gone."""
        with self._lock:
            return sharing.names(self._index, namespaces)

    def leave_to_others(self, start: float, namespaces: NamespaceRows, points: Column) -> bool:
        """Of the throughput limits, leave these points to others in the interval that began at `start`.

        No more is accepted then than the limit less these points, whatever was said before. It is done only while that
        interval runs; whether it was.
        """
        with self._lock:
            self._keep_time()
            if self._interval.start != start:
                return False
            sharing.leave_to_others(self._index, namespaces, points)
            return True

    def prepay(self, parts: int) -> None:
        """Have throughput limits that reject begin each interval, from the next on, with one of so many `parts`.

        With 0 parts they begin with nothing, and with 1, as without this call, with the whole limit. NamespaceRows that
        come under a limit from now on begin so at once. More is accepted as it is granted.
        """
        with self._lock:
            self._keep_time()
            self._index.quotas.prepay(parts)

    def grant(self, start: float, namespaces: NamespaceRows, points: Column) -> bool:
        """Let so many more points be accepted in the interval that began at `start`, or that begins next then.

        It is done only while that interval runs or comes next; whether it was.
        """
        with self._lock:
            self._keep_time()
            running = self._interval
            ahead = running.is_near(start, running.end)
            if not ahead and not running.is_near(start, running.start):
                return False
            sharing.grant(self._index, namespaces, points, ahead=ahead)
            return True

    def take_back(self, start: float, namespaces: NamespaceRows, points: Column) -> Column:
        """Let so many points fewer be accepted in the interval that began at `start`, as far as they are left.

        How many of each, so that they can be granted elsewhere: none if that interval does not run.
        """
        with self._lock:
            self._keep_time()
            if self._interval.start != start:
                return points * 0
            return sharing.take_back(self._index, namespaces, points)

    def hold_back(self, decision: AnyDecision, spent: Column, most: int) -> tuple[AnyDecision, HeldBack | None]:
        """Take out of a batch just decided the rejected points that more may be granted for, to be offered again later.

        They are no longer counted as rejected, but as waiting, until `let_go` is called. Of the limits of namespaces
        of these generations (`spent`) nothing remains to be granted. No more than `most` bytes are held back.
        """
        with self._lock:
            self._keep_time()
            return hold_back(self._index, decision, spent, most)

    def let_go(self, held: HeldBack) -> None:
        """Count points as waiting no more, as they are about to be offered again."""
        with self._lock:
            let_go(self._index, held)

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

    def quotas(self) -> list[NamespaceQuota]:
        """How every namespace under a rule stands now, the root first, then by name."""
        return self.quota_columns().values()

    def quota_columns(self) -> QuotaColumns:
        """The same as columns, where there are many of them."""
        self._give_stat_names()
        taking = Taking(self._index)
        with self._lock:
            self._keep_time()
            self._index.note_absent()
            taking.take(self._index)
            counts, in_force = take_counts(self._index.quotas), self._decider.compiled
        return quota_columns(taking.taken(), counts, in_force)

    def unnamed_quota_columns(self) -> QuotaColumns:
        """The same for who shows a few of them: names are looked up by `names_at` alone, and may be gone by then."""
        taking = Taking(self._index)
        with self._lock:
            self._keep_time()
            self._index.note_absent()
            taking.take_unnamed(self._index)
            counts, in_force = take_counts(self._index.quotas), self._decider.compiled
            index = self._index
        return unnamed_quota_columns(taking.taken_unnamed(index), counts, in_force)

    def explain(self, metric: Name, points: int = 1) -> Explanation:
        """Everything that decides about an offer of this metric now; nothing is charged. Raises what `offer` does.

        `max_creates_per_second` has no say in it, as what is left of a second tells nothing of the next.
        """
        points = _whole(points)
        name = normalize(metric)
        with self._lock:
            self._keep_time()
            return explain(self._decider, self._rules.matches, name, points)

    def _keep_time(self) -> None:
        """End the running interval if its time has passed."""
        if not self._quiet_from <= (now := self._clock()) < self._quiet_until:
            self._turn_to(now)

    def _turn_to(self, now: float) -> None:
        """Have it be another interval, or another second where these matter."""
        interval = self._interval
        if interval.is_over(now):
            self._index.note_absent()
            quotas = self._index.quotas
            expected = interval.end
            interval.advance(now, counted=quotas.have_counts())
            was_set = self._clock_watch is not None and self._clock_watch.was_set(now)
            quotas.close(in_order=interval.is_near(interval.start, expected) and not was_set)
            if quotas.parts != self._parts:
                self._parts = quotas.parts
                self._decider.divide(self._parts)
                self._backend.rebind()
        self._quiet_from, self._quiet_until = interval.floor, interval.end
        if self._timed:
            self._decider.keep_time(now)
            self._quiet_from = max(self._quiet_from, floor(now))
            self._quiet_until = min(self._quiet_until, floor(now) + 1)
        self._backend.set_time(self._quiet_from, self._quiet_until)


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
