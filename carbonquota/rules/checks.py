"""The questions that lint asks a rule set, each a function from the subject to its problems."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, product
from math import ceil
from typing import Final

from carbonquota.errors import Problem
from carbonquota.model import MAXIMUM, ThroughputUnit, throughput_per_interval
from carbonquota.naming import stat_name
from carbonquota.rules.comparison import PatternComparison
from carbonquota.rules.component import Component, Pattern
from carbonquota.rules.fields import CONTROL_KEYS, PREFIX_KEY
from carbonquota.rules.foreign_syntax import foreign_in
from carbonquota.rules.ini import Entry
from carbonquota.rules.matcher import NO_RULE
from carbonquota.rules.pattern_index import NONE, PatternIndex
from carbonquota.rules.ruleset import RuleSet
from carbonquota.rules.tree import Tree, descend, tree_of
from carbonquota.suggest import nearest

_ADDED_UP: Final = {key: name for key, name in CONTROL_KEYS.items() if name != "namespaces"}
"""The controls under which what a namespace holds, its parents hold too. `namespaces` counts direct children."""

_MOST_LITERALS: Final = 64


class Subject:
    """What the checks look at: the rules, the namespaces if given, and what throughput is counted by."""

    def __init__(
        self, ruleset: RuleSet, namespaces: Iterable[str] | None, interval: float, unit: ThroughputUnit
    ) -> None:
        """Take the rule set, and arrange it for the checks; `interval` is in seconds."""
        self.ruleset = ruleset
        self.namespaces = None if namespaces is None else tuple(namespaces)
        self.tree = None if self.namespaces is None else tree_of(self.namespaces)
        self.interval = interval
        self.unit = unit
        self.comparison = PatternComparison()
        self.last_of_pattern = {rule.pattern: index for index, rule in enumerate(ruleset.rules)}
        self.index = PatternIndex(self.comparison)
        self.replaced = [self._add(index) for index in range(len(ruleset.rules))]
        self.covering = {index: self._later_covering(index) for index in self.last_of_pattern.values()}

    def can_win(self, index: int) -> bool:
        """Whether no single later section takes all namespaces of the rule."""
        return index in self.covering and self.covering[index] is None

    def _add(self, index: int) -> int | None:
        """Add a rule's pattern to the index; the last rule before it that would win all of its namespaces, if any."""
        pattern = self.ruleset.patterns[index]
        earlier = self.index.latest_covering(pattern)
        self.index.add(pattern, index)
        return None if earlier == NONE else earlier

    def _later_covering(self, index: int) -> int | None:
        later = self.index.latest_covering(self.ruleset.patterns[index], after=index)
        return None if later == index else later


def rules_that_never_win(subject: Subject) -> Iterator[Problem]:
    """Q001: rules all of whose namespaces a later pattern matches."""
    for index, later in subject.covering.items():
        if later is not None:
            winner = subject.ruleset.rules[later]
            message = f"this rule never wins: [{winner.pattern}] at line {winner.line} matches all that it does"
            yield subject.ruleset.sections[index].name_problem(
                message, "put this section below that one, or take it out"
            )


def duplicate_sections(subject: Subject) -> Iterator[Problem]:
    """Q002: sections that stand again further down."""
    rules = subject.ruleset.rules
    for rule, section in zip(rules, subject.ruleset.sections, strict=True):
        last = rules[subject.last_of_pattern[rule.pattern]]
        if last is not rule:
            message = f"this section stands again at line {last.line}, and that one wins"
            yield section.name_problem(message, "keep one of the two")


def limits_out_of_reach(subject: Subject) -> Iterator[Problem]:
    """Q003: limits above what an enforcing rule grants one or more levels up. `max` is meant to be so."""
    for index in filter(subject.can_win, range(len(subject.ruleset.rules))):
        above = [subject.ruleset.rules[upper] for upper in _rules_above(subject, index)]
        for key, control in _ADDED_UP.items():
            limit = getattr(subject.ruleset.rules[index].limits, control)
            if limit is None or limit == MAXIMUM:
                continue
            for upper in above:
                granted = getattr(upper.limits, control)
                if upper.enforcing and granted is not None and granted < limit:
                    yield _out_of_reach(subject, index, key, f"[{upper.pattern}] at line {upper.line}", granted)
                    break


def _rules_above(subject: Subject, index: int) -> Iterator[int]:
    """The rule of each level above, from the nearest up, where one surely wins for all of the rule's namespaces."""
    patterns = subject.ruleset.patterns
    lower = patterns[index]
    for depth in range(lower.depth - 1, -1, -1):
        upper = subject.index.latest_overlapping(lower, depth)
        if upper != NONE and subject.comparison.covers_above(patterns[upper], lower):
            yield upper


def _out_of_reach(subject: Subject, index: int, key: str, above: str, granted: int) -> Problem:
    entry = subject.ruleset.sections[index].entry(key)
    message = f"{key} can never reach this: {above}, above it, grants {granted:,}"
    return entry.value_problem(message, f"lower it to {granted:,} or less, or raise the one above")


def shared_stat_names(subject: Subject) -> Iterator[Problem]:
    """Q004: namespaces, given or named literally, that bear the stat name of another one."""
    first: dict[str, str] = {}
    shared: dict[int, list[tuple[str, str, str]]] = defaultdict(list)
    for namespace, index in _ruled_namespaces(subject):
        name = stat_name(namespace, subject.ruleset.rules[index].stat_prefix)
        other = first.setdefault(name, namespace)
        if other != namespace:
            shared[index].append((name, other, namespace))
    for index, ((name, other, namespace), *more) in shared.items():
        message = f'"{other}" and "{namespace}" bear the same stat name, "{name}"'
        message += f" ({len(more):,} more like it)" if more else ""
        hint = "a stat-metric-prefix of its own tells it apart; without one the later gets a suffix"
        yield subject.ruleset.sections[index].name_problem(message, hint)


def _ruled_namespaces(subject: Subject) -> Iterator[tuple[str, int]]:
    literal = (name for pattern in subject.ruleset.patterns for name in _literal_namespaces(pattern))
    for namespace, rule in descend(tree_of(chain(literal, subject.namespaces or ())), subject.ruleset.matcher()):
        if rule != NO_RULE:
            yield namespace, rule


def _literal_namespaces(pattern: Pattern) -> Iterator[str]:
    names: list[Sequence[str]] = []
    spellings = 1
    for component in pattern.components:
        names.append(sorted(component.literals or ()))
        spellings *= len(names[-1])
    if names and 0 < spellings <= _MOST_LITERALS:
        yield from map(".".join, product(*names))


def prefixes_without_dot(subject: Subject) -> Iterator[Problem]:
    """Q005: stat prefixes that run into the name."""
    for rule, section in zip(subject.ruleset.rules, subject.ruleset.sections, strict=True):
        entry = section.get(PREFIX_KEY)
        if entry is not None and rule.stat_prefix and not rule.stat_prefix.endswith("."):
            message = f'{PREFIX_KEY} does not end with a dot, so that names become "{rule.stat_prefix}..."'
            yield entry.value_problem(message, f'did you mean "{rule.stat_prefix}."?')


def rules_without_namespace(subject: Subject) -> Iterator[Problem]:
    """Q006: rules that match none of the given namespaces."""
    if subject.tree is None:
        return
    for pattern, section in zip(subject.ruleset.patterns, subject.ruleset.sections, strict=True):
        missing = _first_missing(subject.tree, pattern)
        if missing is not None:
            yield section.name_problem("this rule matches none of the namespaces", missing)


def _first_missing(tree: Tree, pattern: Pattern) -> str | None:
    """A remedy for the first component that matches nothing, or None where the whole pattern matches something."""
    level = [tree]
    for component in pattern.components:
        below = [child for here in level for child in _children(here, component)]
        if not below:
            return _misspelt(level, component)
        level = below
    return None


def _children(tree: Tree, component: Component) -> Iterator[Tree]:
    if component.literals is not None:
        return (tree[name] for name in component.literals if name in tree)
    return (child for name, child in tree.items() if component.matches(name))


def _misspelt(level: list[Tree], component: Component) -> str:
    names = dict.fromkeys(name for here in level for name in here)
    for literal in sorted(component.literals or ()):
        near = nearest(literal, names)
        if near:
            return f'did you mean "{near}"?'
    return "check its spelling, or take it out"


def _throughputs(subject: Subject) -> Iterator[tuple[Entry, int, int]]:
    """The throughput limits that are numbers: as written, and what they come to in an interval."""
    for rule, section in zip(subject.ruleset.rules, subject.ruleset.sections, strict=True):
        entry = section.get("throughput")
        limit = rule.limits.throughput
        if entry is not None and limit is not None and limit != MAXIMUM:
            yield entry, limit, throughput_per_interval(limit, subject.interval, subject.unit)


def throughput_per_second(subject: Subject) -> Iterator[Problem]:
    """Q007: what the throughput limits come to in a second."""
    for entry, _, limit in _throughputs(subject):
        if limit:
            rate = _three_digits(limit / subject.interval)
            points = "point" if rate == "1" else "points"
            yield entry.value_problem(
                f"throughput is {rate} {points} per second, in intervals of {subject.interval:g} s"
            )


def _three_digits(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def throughput_of_nothing(subject: Subject) -> Iterator[Problem]:
    """Q009: throughput limits per minute that leave no whole point to a shorter interval."""
    least = ceil(60 / subject.interval)
    for entry, written, limit in _throughputs(subject):
        if not limit:
            points = "1 point a minute is" if written == 1 else f"{written:,} points a minute are"
            message = f"{points} 0 in each interval of {subject.interval:g} s: "
            yield entry.value_problem(message + "every point is rejected", f"write {least:,} or more")


def patterns_in_another_language(subject: Subject) -> Iterator[Problem]:
    """Q010: section names with what patterns do not have, unless they match a namespace that there is."""
    for pattern, section in zip(subject.ruleset.patterns, subject.ruleset.sections, strict=True):
        if subject.tree is not None and _first_missing(subject.tree, pattern) is None:
            continue
        for found in foreign_in(pattern.text):
            yield section.line.problem(section.column + found.offset, found.width, found.message, found.suggestion)


def limits_that_are_dropped(subject: Subject) -> Iterator[Problem]:
    """Q011: rules that say nothing of a control which the rule that they take the place of limits.

    A key that is written and left empty is taken to be meant.
    """
    for index, earlier in enumerate(subject.replaced):
        if earlier is None or not subject.can_win(index):
            continue
        rule, section = subject.ruleset.rules[earlier], subject.ruleset.sections[index]
        dropped = [
            key
            for key, control in CONTROL_KEYS.items()
            if getattr(rule.limits, control) not in {None, MAXIMUM} and section.get(key) is None
        ]
        if dropped and rule.pattern != subject.ruleset.rules[index].pattern:
            message = f"[{rule.pattern}] at line {rule.line} limits {' and '.join(dropped)}, and this rule does not: "
            hint = f'nothing is inherited; write them here, or "{dropped[0]} =" if no limit is meant'
            yield section.name_problem(message + "here there is none", hint)


def repeated_keys(subject: Subject) -> Iterator[Problem]:
    """Q008: keys that a section sets again."""
    for section in subject.ruleset.sections:
        seen: dict[str, int] = {}
        for entry in section.entries:
            if entry.key in seen:
                message = f'"{entry.key}" stands at line {seen[entry.key]} of this section already, and this one counts'
                yield entry.key_problem(message, "keep one of the two")
            seen[entry.key] = entry.line.number
