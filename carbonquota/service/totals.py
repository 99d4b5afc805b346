"""What was counted of each namespace since the program started, though the engine counts anew after each report.

Theory of operation. `QuotaEngine.quotas()` gives the counts that no report has given yet, and they only grow until a
report gives them. So between two looks without a report in between, what was counted is the difference. Across a report
it is what the report gave, plus the counts after it, less those before it; all three are taken by one caller at a time,
though traffic goes on. A report gives the dropped points of a namespace as one number. Where several controls of one
namespace drop points between the looks before and after a report, which is a moment, those few points may be put down
to the wrong one of them; their sum is always right, and no total ever goes back. A namespace that comes,
is rejected and goes again, all in the moment of a report in mid-interval, is not seen.

Bounds: only namespaces that were over a quota are kept, and no longer than until a report finds them gone. So a
namespace that was rejected before it existed keeps its total over at least one whole interval after its last drop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final

from carbonquota.controls import CONTROLS, NamespaceQuota
from carbonquota.naming import collision_suffix, stat_name

_NONE: Final[Mapping[str, int]] = {}
_OVER: Final = ""
"""Under this key, beside the controls, stand the points over a quota, dropped or not."""


@dataclass(frozen=True, slots=True)
class OverQuota:
    """The points that one namespace was over its quota by: `over`, enforced or not, and `dropped` by control.

    `quota` is how the namespace stood when it was last seen. Controls are spelled as in the rule file.
    """

    quota: NamespaceQuota
    over: int
    dropped: Mapping[str, int]


@dataclass(slots=True)
class _Account:
    """One namespace's counts, by control and `_OVER`.

    `total` is since the start, `last` what the engine gave at the last look, `reported` the total at the last report.
    """

    quota: NamespaceQuota
    total: dict[str, int] = field(default_factory=dict)
    last: Mapping[str, int] = field(default_factory=dict)
    reported: Mapping[str, int] = field(default_factory=dict)

    def look(self, quota: NamespaceQuota) -> None:
        """Add what was counted since the last look, no report being in between."""
        now = _counts(quota)
        # Counts that went down were taken away by a change of rules, and began anew.
        began_anew = now.get(_OVER, 0) < self.last.get(_OVER, 0)
        self._add(now, _NONE, _NONE if began_anew else self.last)
        self.last, self.quota = now, quota

    def add_report(self, quota: NamespaceQuota, given: Mapping[str, int]) -> None:
        """Add what was counted since the last look, a report having `given` these counts in between."""
        now = _counts(quota)
        self._add(now, given, self.last)
        self.last, self.quota = now, quota

    def _add(self, now: Mapping[str, int], given: Mapping[str, int], before: Mapping[str, int]) -> None:
        """Add what there is now and what was given, as far as it was not there before."""
        for key in now.keys() | given.keys():
            counted = now.get(key, 0) + given.get(key, 0) - before.get(key, 0)
            # A change of rules at the moment of a report may have taken counts away that were added already.
            self.total[key] = self.total.get(key, 0) + max(counted, 0)

    def tally(self, since: Mapping[str, int] = _NONE) -> OverQuota:
        """The total as a value, less these counts."""
        grown = {key: count - since.get(key, 0) for key, count in self.total.items()}
        return OverQuota(
            self.quota, grown.pop(_OVER, 0), {control: points for control, points in grown.items() if points}
        )


class Totals:
    """The totals of all namespaces. Every look and report of the engine must pass through one of these, in order."""

    def __init__(self) -> None:
        """Start without any."""
        self._accounts: dict[str, _Account] = {}

    def __len__(self) -> int:
        """How many namespaces are kept."""
        return len(self._accounts)

    @property
    def namespaces(self) -> AbstractSet[str]:
        """Those that are kept. A look or report may leave out all others that were over no quota."""
        return self._accounts.keys()

    def look(self, quotas: Iterable[NamespaceQuota]) -> None:
        """Take in how all namespaces stand, no report having been made since the last look."""
        seen = {quota.namespace for quota in quotas if self._take(quota)}
        for namespace in self._accounts.keys() - seen:
            # Gone, or no longer under a rule: if it comes back, its counts begin anew.
            self._accounts[namespace].last = _NONE

    def report(
        self, before: Iterable[NamespaceQuota], values: Mapping[str, int], after: Iterable[NamespaceQuota]
    ) -> list[OverQuota]:
        """Take in a report: its values, and how all namespaces stood before and after it.

        Gives what was counted since the report before, of each namespace that was over its quota.
        """
        before_by_name = {quota.namespace: quota for quota in before}
        after_by_name = {quota.namespace: quota for quota in after}
        self.look(before_by_name.values())
        come = {name: _without_counts(quota) for name, quota in after_by_name.items() if name not in before_by_name}
        gone = {name: _without_counts(quota) for name, quota in before_by_name.items() if name not in after_by_name}
        before_by_name |= come
        after_by_name |= gone
        for namespace, quota in before_by_name.items():
            self._add_report(quota, values, after_by_name[namespace])
        return self._close(before_by_name.keys())

    def _add_report(self, before: NamespaceQuota, values: Mapping[str, int], after: NamespaceQuota) -> None:
        """Take in a report's values for one namespace."""
        name = _reported_name(before, values)
        over = values.get(f"throttle.{name}", 0)
        account = self._accounts.get(before.namespace)
        if account is None and (over or after.throttle):
            account = self._accounts[before.namespace] = _Account(before)
        if account is not None:
            dropped = _given(before, values.get(f"dropped.{name}", 0), after)
            account.add_report(after, {_OVER: over, **dropped})

    def _take(self, quota: NamespaceQuota) -> bool:
        """Look at one namespace; whether it has an account."""
        account = self._accounts.get(quota.namespace)
        if account is None:
            if not quota.throttle:
                return False
            account = self._accounts[quota.namespace] = _Account(quota)
        account.look(quota)
        return True

    def _close(self, existing: AbstractSet[str]) -> list[OverQuota]:
        """What was counted since the last close; drops the accounts of namespaces that are gone."""
        grown = []
        for namespace, account in list(self._accounts.items()):
            tally = account.tally(account.reported)
            if tally.over:
                grown.append(tally)
            account.reported = account.total.copy()
            if namespace not in existing:
                del self._accounts[namespace]
        return grown

    def tallies(self) -> dict[str, OverQuota]:
        """The totals since the start, by namespace."""
        return {namespace: account.tally() for namespace, account in self._accounts.items()}


def _counts(quota: NamespaceQuota) -> dict[str, int]:
    """The unreported counts of a namespace."""
    return {_OVER: quota.throttle, **quota.dropped} if quota.throttle else {}


def _without_counts(quota: NamespaceQuota) -> NamespaceQuota:
    """The namespace as it stood before anything was counted, or after a report that took it out of the index."""
    return replace(quota, throttle=0, dropped={})


def _given(before: NamespaceQuota, reported: int, after: NamespaceQuota) -> dict[str, int]:
    """The `reported` dropped points by control, from how the namespace stood before and after the report."""
    given = {control: max(points - after.dropped.get(control, 0), 0) for control, points in before.dropped.items()}
    rest = reported - sum(given.values())
    if rest > 0:
        # Dropped while the report was made; nearly always there is one control only that this can belong to.
        controls = before.dropped.keys() | after.dropped.keys() or set(limited_controls(before))
        busiest = max(controls, key=lambda control: (after.dropped.get(control, 0), before.dropped.get(control, 0)))
        given[busiest] = given.get(busiest, 0) + rest
    return given


def limited_controls(quota: NamespaceQuota) -> list[str]:
    """The controls that a namespace's rule limits, as the rule file spells them."""
    return [control.key for control in CONTROLS if getattr(quota.limits, control.stat) is not None]


def _reported_name(quota: NamespaceQuota, values: Mapping[str, int]) -> str:
    """What a namespace is called in this report: its name in stats, with a suffix if another one has that."""
    name = stat_name(quota.namespace, quota.rule.stat_prefix)
    suffixed = name + collision_suffix(quota.namespace)
    return suffixed if f"throttle.{suffixed}" in values else name
