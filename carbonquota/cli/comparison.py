"""What changes for a source between two rules files: the limits whose outcome is not the same under both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from carbonquota.cli.limit_usages import LimitUsage
from carbonquota.cli.trial import TrialOutcome, TrialTarget
from carbonquota.rules import diff


@dataclass(frozen=True, slots=True)
class LimitChange:
    """One limit under the `old` and the `new` rules, None where they do not set it.

    `latest` is the new one, or the old one where the limit is gone.
    """

    latest: LimitUsage
    old: LimitUsage | None
    new: LimitUsage | None


@dataclass(frozen=True, slots=True)
class RulesComparison:
    """What is different in the rules, a line each, what `changes` by that, and the `outcome` under the new ones.

    A limit has changed if it differs in amount, in what is over it, in what it rejects or in being enforced at all.
    They stand as in `outcome`, those that are gone last.
    """

    rules_changed: tuple[str, ...]
    changes: tuple[LimitChange, ...]
    outcome: TrialOutcome


def compare(old: TrialTarget, new: TrialTarget) -> RulesComparison:
    """Compare two trials, which then can be offered nothing any more."""
    difference = diff(old.rules, new.rules)
    before, after = old.outcome(), new.outcome()
    return RulesComparison(
        rules_changed=tuple(str(difference).splitlines()) if difference else (),
        changes=tuple(change for change in _pairs(before, after) if _gist(change.old) != _gist(change.new)),
        outcome=after,
    )


def _pairs(old: TrialOutcome, new: TrialOutcome) -> Iterator[LimitChange]:
    """Every limit of either side, with its counterpart."""
    before = {(one.namespace, one.control): one for one in old.limits}
    for one in new.limits:
        yield LimitChange(one, before.pop((one.namespace, one.control), None), one)
    for one in before.values():
        yield LimitChange(one, one, None)


def _gist(one: LimitUsage | None) -> tuple[int, int, int, bool] | None:
    """What of it makes a difference."""
    return (one.limit, one.over, one.rejected, one.rule.enforcing) if one else None
