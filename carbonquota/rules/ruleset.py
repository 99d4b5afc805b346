"""The rules of one `storage-quotas.conf`: read with every problem told at once, and asked namespace by namespace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from carbonquota.errors import Problem
from carbonquota.model import ROOT, Rule
from carbonquota.rules.component import Component, Pattern
from carbonquota.rules.fields import read_rule
from carbonquota.rules.files import read_text
from carbonquota.rules.glob import Tokens, parse_pattern
from carbonquota.rules.ini import Section
from carbonquota.rules.matcher import Matcher
from carbonquota.rules.sections import read_sections


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules in file order, the later winning over the earlier.

    `rules`, `patterns` and `sections` run side by side: what each section means, its compiled name, and the
    section as it stands in the file. Immutable, so any thread may use it.
    """

    source: str
    rules: tuple[Rule, ...] = ()
    patterns: tuple[Pattern, ...] = field(default=(), repr=False, compare=False)
    sections: tuple[Section, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> RuleSet:
        """Read a file; raises ConfigError with all of its problems, or with why it cannot be read."""
        return cls.from_text(read_text(path), os.fspath(path))

    @classmethod
    def from_text(cls, text: str, source: str = "<text>") -> RuleSet:
        """Read the text of a file, called `source` in messages; raises ConfigError with all of its problems."""
        rules, _, sections = read_sections(text, source, _read_section)
        compiled: dict[Tokens, Component] = {}
        patterns = tuple(_compile_pattern(rule.pattern, compiled) for rule in rules)
        return cls(source, tuple(rules), patterns, sections)

    def matcher(self) -> Matcher:
        """A fresh matcher, to descend a tree of namespaces with."""
        return Matcher(self.patterns)

    def match(self, namespace: str) -> Rule | None:
        """The rule that holds the namespace (`/` is the root), or None."""
        return next(self._matching(namespace, reversed(range(len(self.rules)))), None)

    def matches(self, namespace: str) -> tuple[Rule, ...]:
        """All rules that match the namespace, in file order; the last one wins."""
        return tuple(self._matching(namespace, range(len(self.rules))))

    def _matching(self, namespace: str, order: range | Iterator[int]) -> Iterator[Rule]:
        names = () if namespace == ROOT else tuple(namespace.split("."))
        return (self.rules[index] for index in order if self.patterns[index].matches(names))


def _read_section(section: Section) -> tuple[Rule, list[Problem], tuple[()]]:
    rule, problems = read_rule(section)
    return rule, [*_pattern_problems(section), *problems], ()


def _pattern_problems(section: Section) -> Iterator[Problem]:
    if section.name is not None:
        for flaw in parse_pattern(section.name)[1]:
            yield section.line.problem(section.column + flaw.offset, flaw.width, flaw.message, flaw.suggestion)


def _compile_pattern(text: str, compiled: dict[Tokens, Component]) -> Pattern:
    """The pattern, its components shared with all others of the same tokens."""
    components = []
    for tokens in parse_pattern(text)[0]:
        if tokens not in compiled:
            compiled[tokens] = Component(tokens)
        components.append(compiled[tokens])
    return Pattern(text, tuple(components))
