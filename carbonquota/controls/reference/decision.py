"""The decision on one offer: throughput first, then, for a new metric, what the namespaces above it hold.

Before all that, a new metric is turned away if this second has brought as many as are allowed, whatever the rules
say of it. That is asked first because it is the answer to a flood of new names, so it has to cost next to nothing.

Nothing is counted, charged or created before the outcome is known. A new metric's size is asked for only where a limit
of a size decides, or where the metric is accepted: working out a size may take long, and a quota that rejects without
it must not be kept waiting by the names that it rejects. A namespace that the offer would create is under its rule
already: an empty namespace can only be passed by an offer that is larger than a limit by itself. Where it rejects one,
it does not come; what it counts stands beside the index, see `trie.absent`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor
from typing import Final

from carbonquota.controls.reference import throughput
from carbonquota.controls.reference.capacities import Need, first_over
from carbonquota.controls.reference.creates import Creates
from carbonquota.controls.rejections import NO_RULES_QUOTA, absent_by, of_absent
from carbonquota.controls.table import CREATES, KEYS, THROUGHPUT, CompiledRule
from carbonquota.errors import MetricNameError, NoFileError, QuotaError
from carbonquota.kernel import UNKNOWN, Malformed, Times
from carbonquota.metric_name import Name, dotted_part, normalize
from carbonquota.model import ROOT, Size, SizeOf, Storable, Verdict
from carbonquota.trie import NO_QUOTA, Index

Outcome = tuple[int, int]
"""The quota that rejects an offer and the control, or `ACCEPTED`; see `rejections` for numbers that are no quota's."""

ACCEPTED: Outcome = (NO_QUOTA, -1)

TOO_MANY: Outcome = (NO_RULES_QUOTA, CREATES)
"""As many metrics as are allowed were created in this second."""

_ACCEPTED: Final = Verdict(accepted=True)
_TOO_MANY: Final = Verdict(accepted=False, namespace=ROOT, control=KEYS[CREATES])


@dataclass(frozen=True, slots=True)
class Over:
    """An offer is over a limit of `control`; the quota is the one at row `quota`, or ~n for the n-th still to come."""

    quota: int
    control: int
    enforcing: bool


@dataclass(frozen=True, slots=True)
class Coming:
    """A namespace under a rule that is still to be created."""

    namespace: str
    rule: int
    compiled: CompiledRule


@dataclass(frozen=True, slots=True)
class NewPlace:
    """Where a new metric would lie: in the namespace at `row`, or in the last of `missing`, to be created below it.

    `coming` are the missing namespaces that have a rule, topmost first.
    """

    row: int
    missing: Sequence[str]
    coming: Sequence[Coming]


class Decider:
    """Decides offers against an index, and charges them there. Not safe to use from two threads at once."""

    __slots__ = ("_second", "_undivided", "compiled", "creates", "index", "size_of", "storable", "times")

    def __init__(
        self,
        index: Index,
        compiled: tuple[CompiledRule, ...],
        size_of: SizeOf,
        creates_per_second: int | None = None,
        storable: Storable | None = None,
        *,
        hold_new: bool = False,
    ) -> None:
        """Decide by `compiled`, the compiled rules of the index; `size_of` is asked for the size of new metrics.

        `creates_per_second` bounds new metrics, where `keep_time` is called before each decision. What is not
        `storable` is malformed.
        """
        self.storable = storable
        self.times: Times | None = None if storable is None else (storable.earliest, storable.latest)
        self.creates = Creates(creates_per_second, hold_new=hold_new)
        self._second = -1
        self.index = index
        self.compiled = self._undivided = compiled
        self.size_of = size_of

    def put_in_force(self, compiled: tuple[CompiledRule, ...], size_of: SizeOf | None) -> None:
        """Decide by these from now on; the index must be under their rules. Without a `size_of` the old one stays."""
        self._undivided = compiled
        self.size_of = size_of or self.size_of
        self.divide(self.index.quotas.parts)

    def divide(self, parts: int) -> None:
        """Have throughput limits of new namespaces begin with one of so many parts."""
        self.compiled = tuple(rule.divided(parts) for rule in self._undivided)

    def keep_time(self, now: float) -> None:
        """Set the decision clock to `now`, in seconds since the epoch; only whole ones matter."""
        if not self._second <= now < self._second + 1:
            self._second = floor(now)
            self.creates.keep_time(now)
            if self.index.seen is not None:
                self.index.seen.keep_time(now)

    def verdict(self, metric: Name, outcome: Outcome) -> Verdict:
        """An outcome as a value that lasts; to be asked for before anything else is decided."""
        if outcome == ACCEPTED:
            return _ACCEPTED
        if outcome == TOO_MANY:
            return _TOO_MANY
        quota, control = outcome
        quotas = self.index.quotas
        if quota > NO_QUOTA:
            namespace, number = quotas.name(quota), quotas.rule_at[quota]
        else:
            namespace, number = absent_by(quota, normalize(metric), self.compiled)
        rule = self.compiled[number].rule
        return Verdict(accepted=False, namespace=namespace, control=KEYS[control], rule=rule)

    def offer_named(self, metric: Name, points: int, size: Size | None = None) -> Outcome:
        """Decide on points of a metric, in whatever spelling; MetricNameError where it cannot be one."""
        name = normalize(metric)
        row = self.index.find(name.encode())
        return self.offer_new(name, points, size) if row == UNKNOWN else self.offer_known(row, points)

    def offer_line(self, name: bytes, points: int, size: Size | None = None) -> Outcome | Malformed:
        """Decide on the points of a line, or of one of many names; or why it is malformed."""
        try:
            return self.offer_named(name, points, size)
        except NoFileError:
            return Malformed.NO_FILE
        except MetricNameError:
            return Malformed.NAME

    def check_name(self, metric: str) -> None:
        """NoFileError where the store can have no file of a new metric, by its normal name."""
        if self.storable is not None:
            try:
                self.storable.check(metric)
            except MetricNameError as error:
                raise NoFileError(str(error)) from error

    def offer_known(self, row: int, points: int) -> Outcome:
        """Decide on points of the series at this row."""
        index = self.index
        quotas = index.quotas
        chain = quotas.rate_chain(index.namespaces.quota_at[index.table.namespace_of(row)])
        rejecter = throughput.take(quotas, chain, points)
        if rejecter != NO_QUOTA:
            return rejecter, THROUGHPUT
        if (seen := index.seen) is not None:
            seen.time_at[row] = seen.now
        return ACCEPTED

    def offer_new(self, metric: str, points: int, size: Size | None = None) -> Outcome:
        """Decide on points of a metric that is not in the index, by its normal name; put it there if accepted."""
        self.check_name(metric)
        is_held = self.creates.remaining < 0
        if self.creates.remaining == 0:
            return TOO_MANY
        place = self._place(metric)
        need = Need(lambda: self.checked_size(metric, size))
        overs = list(self._overs(place, need, points))
        if is_held and not (overs and overs[-1].enforcing and overs[-1].control != THROUGHPUT):
            return TOO_MANY
        if overs and overs[-1].enforcing:
            if self._may_be_granted_more(place, overs) and self.index.may_await_report:
                row = self.index.create(place.row, place.missing)
                outcome = self._count(row, len(place.coming), overs, points)
                self.index.prune(row)
                return outcome
            return self._reject(place, overs, points)
        # Before anything is changed, as an error in it must leave nothing behind.
        size = need.size()
        row = self.index.create(place.row, place.missing)
        self._count(row, len(place.coming), overs, points)
        self._accept(metric, row, size, points)
        return ACCEPTED

    def _place(self, metric: str) -> NewPlace:
        """Where a new metric would lie."""
        row, missing = self.index.locate(dotted_part(metric))
        coming = [
            Coming(name, rule, self.compiled[rule])
            for name, rule in zip(missing, self.index.foresee(row, missing), strict=True)
            if rule >= 0
        ]
        return NewPlace(row, missing, coming)

    def _overs(self, place: NewPlace, need: Need, points: int) -> Iterator[Over]:
        """The limits that a new metric and its points are over, in the order of asking, to the first that rejects."""
        for asked in (self._rates_over(place, points), self._capacities_over(place, need)):
            for over in asked:
                yield over
                if over.enforcing:
                    return

    def _rates_over(self, place: NewPlace, points: int) -> Iterator[Over]:
        """The throughput limits, from the root down."""
        quotas = self.index.quotas
        for quota in quotas.rate_chain(self.index.namespaces.quota_at[place.row]):
            if quotas.remaining_at[quota] < points:
                yield Over(quota, THROUGHPUT, quotas.is_enforcing(quota))
        for number, coming in enumerate(place.coming):
            if coming.compiled.throughput < points:
                yield Over(~number, THROUGHPUT, coming.compiled.enforcing)

    def _capacities_over(self, place: NewPlace, need: Need) -> Iterator[Over]:
        """The limits of what is held, from the root down; of each namespace's only the first."""
        namespaces, quotas = self.index.namespaces, self.index.quotas
        usage = namespaces.usage_at
        gaining = namespaces.gaining(place.row, missing=bool(place.missing))
        for quota in self.index.chain(place.row):
            rule, row = self.compiled[quotas.rule_at[quota]], quotas.namespace_at[quota]
            held = [column[row] for column in usage]
            control = first_over(rule, held, need, gains=row == gaining)
            if control >= 0:
                yield Over(quota, control, rule.enforcing)
        for number, coming in enumerate(place.coming):
            control = first_over(coming.compiled, (0,) * len(usage), need, gains=False)
            if control >= 0:
                yield Over(~number, control, coming.compiled.enforcing)

    def _reject(self, place: NewPlace, overs: Sequence[Over], points: int) -> Outcome:
        """Count the points of a rejected metric at the quotas that they are over, of which the last rejects."""
        outcome = ACCEPTED
        for over in overs:
            if over.quota >= 0:
                throughput.over(self.index.quotas, over.quota, over.control, points)
                outcome = over.quota, over.control
            else:
                coming = place.coming[~over.quota]
                self.index.absent.count(coming.namespace, over.control, points, enforcing=over.enforcing)
                outcome = of_absent(coming.rule), over.control
        return outcome

    def _may_be_granted_more(self, place: NewPlace, overs: Sequence[Over]) -> bool:
        """Whether a namespace has to come so that it can be granted throughput which is shared with others."""
        rules = (place.coming[~over.quota].rule for over in overs if over.quota < 0 and over.control == THROUGHPUT)
        return any(self.compiled[rule].throughput < self._undivided[rule].throughput for rule in rules)

    def _count(self, row: int, coming: int, overs: Sequence[Over], points: int) -> Outcome:
        """Count points at the quotas that they are over, whose namespaces are there; the last of them.

        `coming` is how many quotas have come to be above the namespace at `row` by the creation of what was missing.
        """
        quotas, outcome = self.index.quotas, ACCEPTED
        chain = self.index.chain(row)
        for over in overs:
            quota = over.quota if over.quota >= 0 else chain[len(chain) - coming + ~over.quota]
            throughput.over(quotas, quota, over.control, points)
            outcome = quota, over.control
        return outcome

    def _accept(self, metric: str, row: int, size: Size, points: int) -> None:
        """Charge everything that the metric at `row` and its points take."""
        index = self.index
        index.add(metric.encode(), row, size)
        self.creates.remaining -= 1
        throughput.charge(index.quotas, index.quotas.rate_chain(index.namespaces.quota_at[row]), points)

    def checked_size(self, metric: str, size: Size | None) -> Size:
        """What a new metric holds, asked for where it is not given; QuotaError where the sums cannot take it."""
        size = self.size_of(metric) if size is None else size
        if not self.index.namespaces.can_hold(size):
            raise _too_large(metric, size)
        return size

    def resize(self, metric: str, row: int, size: Size) -> None:
        """Count a known metric with another size; QuotaError where the sums cannot take it."""
        index = self.index
        held = index.series.size_of(row)
        if not index.namespaces.can_hold(size, instead_of=held):
            raise _too_large(metric, size)
        if size != held:
            index.resize(metric.encode(), row, size)


def _too_large(metric: str, size: Size) -> QuotaError:
    return QuotaError(f"the sizes of all metrics would pass 2^63 - 1 with {metric!r} of {size}")
