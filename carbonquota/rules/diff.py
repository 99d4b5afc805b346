"""What changes from one rule set to another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from carbonquota.model import MAXIMUM, Rule
from carbonquota.rules.comparison import PatternComparison
from carbonquota.rules.fields import CONTROL_KEYS, POLICY_KEY, PREFIX_KEY
from carbonquota.rules.ruleset import RuleSet

_MOST_LISTED: Final = 3

Value = int | str | None
"""A limit, a policy or a prefix; None where it is not set."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One key of a rule that has another value: the key as in the file, None for a limit that is not set."""

    control: str
    before: Value
    after: Value

    def __str__(self) -> str:
        """The key and both values."""
        return f"{self.control} {_shown(self.before)} -> {_shown(self.after)}"


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A section that stands in both files with other values."""

    before: Rule
    after: Rule
    fields: tuple[FieldChange, ...]

    def __str__(self) -> str:
        """The section as it stands now, and its changes."""
        return f"{self.after}: {', '.join(map(str, self.fields))}"


@dataclass(frozen=True, slots=True)
class RuleMove:
    """Two sections that may match the same namespace and changed places: now `winner` wins over `loser`."""

    winner: Rule
    loser: Rule

    def __str__(self) -> str:
        """Which one wins now."""
        return f"{self.winner} now wins over {self.loser}"


@dataclass(frozen=True, slots=True)
class RuleSetDiff:
    """All that is different; false where nothing is. Shown with a line for each difference."""

    added: tuple[Rule, ...] = ()
    removed: tuple[Rule, ...] = ()
    changed: tuple[RuleChange, ...] = ()
    moved: tuple[RuleMove, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is different."""
        return bool(self.added or self.removed or self.changed or self.moved)

    def __str__(self) -> str:
        """A line for each: `-` removed, `+` added, `~` changed, `>` moved."""
        lines = [f"- {_described(rule)}" for rule in self.removed]
        lines += [f"+ {_described(rule)}" for rule in self.added]
        lines += [f"~ {change}" for change in self.changed]
        lines += [f"> {line}" for line in _moves_shown(self.moved)]
        return "\n".join(lines) or "no difference"


def diff(old: RuleSet, new: RuleSet) -> RuleSetDiff:
    """What is different in `new`. Sections of the same name are paired from the last, which is the one that counts."""
    before, after = _by_identity(old), _by_identity(new)
    kept = [identity for identity in after if identity in before]
    changes = ((old.rules[before[identity]], new.rules[after[identity]]) for identity in kept)
    return RuleSetDiff(
        added=tuple(new.rules[index] for identity, index in after.items() if identity not in before),
        removed=tuple(old.rules[index] for identity, index in before.items() if identity not in after),
        changed=tuple(RuleChange(was, now, fields) for was, now in changes if (fields := _field_changes(was, now))),
        moved=tuple(_moves(new, [(before[identity], after[identity]) for identity in kept])),
    )


_Identity = tuple[str, int]


def _by_identity(ruleset: RuleSet) -> dict[_Identity, int]:
    """Each rule's index, in file order, by its pattern and how many of the same pattern stand behind it."""
    behind: dict[str, int] = {}
    found: list[tuple[_Identity, int]] = []
    for index in reversed(range(len(ruleset.rules))):
        pattern = ruleset.rules[index].pattern
        found.append(((pattern, behind.get(pattern, 0)), index))
        behind[pattern] = behind.get(pattern, 0) + 1
    return dict(reversed(found))


def _field_changes(before: Rule, after: Rule) -> tuple[FieldChange, ...]:
    pairs = zip(_values(before), _values(after), strict=True)
    return tuple(FieldChange(control, was, now) for (control, was), (_, now) in pairs if was != now)


def _values(rule: Rule) -> Iterator[tuple[str, Value]]:
    for key, control in CONTROL_KEYS.items():
        yield key, getattr(rule.limits, control)
    yield POLICY_KEY, rule.policy.value
    yield PREFIX_KEY, rule.stat_prefix


def _moves(new: RuleSet, positions: list[tuple[int, int]]) -> Iterator[RuleMove]:
    """The pairs that changed places and may match the same namespace; `positions` are (old, new), by the new one."""
    comparison = PatternComparison()
    for (old_loser, loser), (old_winner, winner) in combinations(positions, 2):
        if old_winner < old_loser and comparison.may_overlap(new.patterns[loser], new.patterns[winner]):
            yield RuleMove(new.rules[winner], new.rules[loser])


def _moves_shown(moves: tuple[RuleMove, ...]) -> Iterator[str]:
    """One line for each rule that moved past others, whether it now wins over them or loses to them."""
    winners: dict[Rule, list[Rule]] = {}
    losers: dict[Rule, list[Rule]] = {}
    for move in moves:
        winners.setdefault(move.winner, []).append(move.loser)
        losers.setdefault(move.loser, []).append(move.winner)
    if len(winners) <= len(losers):
        yield from (f"{winner} now wins over {_listed(others)}" for winner, others in winners.items())
    else:
        yield from (f"{loser} now loses to {_listed(others)}" for loser, others in losers.items())


def _listed(rules: list[Rule]) -> str:
    more = len(rules) - _MOST_LISTED
    return ", ".join(map(str, rules[:_MOST_LISTED])) + (f" and {more:,} more" if more > 0 else "")


def _described(rule: Rule) -> str:
    fields = [f"{change.control} {_shown(change.after)}" for change in _field_changes(Rule(rule.pattern), rule)]
    return f"{rule}: {', '.join(fields) or 'no limits'}"


def _shown(value: Value) -> str:
    if isinstance(value, int):
        return "max" if value == MAXIMUM else f"{value:,}"
    return "unset" if value is None else value or '""'
