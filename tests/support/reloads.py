"""Rules in the middle of whose reload something happens, at a moment that a test can choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from carbonquota import RuleSet
from carbonquota.rules.matcher import Matcher

if TYPE_CHECKING:
    from collections.abc import Callable


class _InterruptedMatcher(Matcher):
    """A matcher whose first walk starts with a call: the index is copied by then, and not locked."""

    __slots__ = ("_meanwhile",)

    def __init__(self, rules: RuleSet, meanwhile: Callable[[], None]) -> None:
        super().__init__(rules.patterns)
        self._meanwhile: Callable[[], None] | None = meanwhile

    def root(self) -> tuple[int, int]:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().root()


@dataclass(frozen=True, slots=True)
class InterruptedRules(RuleSet):
    """Rules that call `meanwhile` half-way when they are put in force."""

    meanwhile: Callable[[], None] = lambda: None

    def matcher(self) -> Matcher:
        """The matcher that calls."""
        return _InterruptedMatcher(self, self.meanwhile)


def interrupted(rules: RuleSet, meanwhile: Callable[[], None]) -> InterruptedRules:
    """The rules, made to call `meanwhile` in the middle of their reload."""
    return InterruptedRules(rules.source, rules.rules, rules.patterns, rules.sections, meanwhile)
