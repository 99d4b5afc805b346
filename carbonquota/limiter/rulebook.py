"""The limiter's rules in force, and their reload: read when the files have settled, put in force together, told.

What is bad changes nothing: the rules that were in force stay, and the error is told in full. The same holds where all
rules are gone, unless a comment `# empty` says that this is meant.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from carbonquota.errors import ConfigError, Problem
from carbonquota.limiter.rules import DomainRules, lint
from carbonquota.limiter.rules.files import files_of, read_files
from carbonquota.limiter.rules.releases import check_not_emptied, watched
from carbonquota.limiter.stats import Sample
from carbonquota.model import Clock
from carbonquota.rules import Severity
from carbonquota.service.rulebook import ReloadOutcome, ReloadResult
from carbonquota.service.settling import Signature, signatures, wait_until_settled

_LOGGER: Final = logging.getLogger(__name__)
_MOST_READINGS: Final = 5
"""How often files are read again because they changed meanwhile."""
_MOST_LINES: Final = 50
"""Errors, findings and changed rules that are logged at one reload."""

Texts = list[tuple[str, str]]
"""(path, text) of each file."""


@dataclass(frozen=True, slots=True)
class Released:
    """Rules that do not come from files; as a shadow they refuse nobody."""

    texts: Texts
    is_shadow: bool = False


class LimitRulebook:
    """Keeps rules as files say; `apply` is called with others each time they change."""

    def __init__(
        self,
        paths: Sequence[str],
        apply: Callable[[DomainRules], object],
        clock: Clock,
        *,
        settle: Callable[[Sequence[str]], tuple[Signature, ...] | None] = wait_until_settled,
        released: Callable[[], Released | None] = lambda: None,
    ) -> None:
        """Read files and directories; ConfigError with all that is wrong with them. `settle` waits for who writes.

        What `released` gives takes the place of the files; without it and without paths there are no rules.
        """
        self.paths = tuple(paths)
        self._apply = apply
        self._clock = clock
        self._settle = settle
        self._lock = Lock()
        self._get_released = released
        self._released = released()
        self.rules = DomainRules()
        self._texts = self._released.texts if self._released else read_files(paths) if paths else []
        self.rules = self._parsed(self._texts, self._released)
        self._counts: Counter[ReloadOutcome] = Counter()
        self.last = self._result(ReloadOutcome.APPLIED, "start")
        _log_findings(self.rules)

    def version(self) -> tuple[tuple[str, ...], tuple[Signature, ...]]:
        """Something by which a change of the files shows, also of which there are."""
        files = files_of(self.paths)
        return tuple(files), signatures(files)

    def reload(self, reason: str) -> ReloadResult:
        """Read the files again, and put what they say in force; `reason` says who asks for it."""
        with self._lock:
            try:
                released = self._get_released()
                texts = released.texts if released else self._read()
                is_same = texts == self._texts and released == self._released
                rules = self.rules if is_same else self._parsed(texts, released)
            except ConfigError as error:
                self.last = self._refused(reason, error)
            else:
                self._released = released
                self.last = self._accepted(reason, texts, rules)
            self._counts[self.last.outcome] += 1
            return self.last

    def samples(self) -> Iterator[Sample]:
        """How reloads went."""
        for outcome in ReloadOutcome:
            yield Sample("limiter_reloads", self._counts[outcome], (outcome.value,))
        yield Sample("limiter_reload_ok", float(self.last.ok))

    def _read(self) -> Texts:
        """The texts, once nobody is changing them; ConfigError where they cannot be read."""
        for _ in range(_MOST_READINGS):
            files = files_of(self.paths)
            if self._settle(files) is None:
                break
            before = self.version()
            texts = read_files(self.paths)
            if self.version() == before:
                return texts
        message = "the files keep changing, and half a file may not be put in force"
        raise ConfigError([Problem(", ".join(self.paths), 0, 0, 0, "", message, "ask again when they are written")])

    def _parsed(self, texts: Texts, released: Released | None) -> DomainRules:
        """The rules of texts; ConfigError also where all rules are gone without a word that this is meant."""
        rules = DomainRules.from_texts(texts)
        source = ", ".join(self.paths) if released is None else texts[0][0]
        check_not_emptied(source, [text for _, text in texts], len(self.rules.rules()), len(rules.rules()))
        return watched(rules) if released is not None and released.is_shadow else rules

    def _refused(self, reason: str, error: ConfigError) -> ReloadResult:
        _log(logging.ERROR, [str(problem) for problem in error.problems])
        _LOGGER.error("reload (%s) failed: the limits in force stay, until the files change again", reason)
        return self._result(ReloadOutcome.FAILED, reason, str(error))

    def _accepted(self, reason: str, texts: Texts, rules: DomainRules) -> ReloadResult:
        if rules is self.rules:
            _LOGGER.info("reload (%s): the files say what is in force already", reason)
            return self._result(ReloadOutcome.UNCHANGED, reason)
        changes = list(_changes(self.rules, rules))
        self._apply(rules)
        self._texts, self.rules = texts, rules
        _LOGGER.info("reload (%s): %d limits in force", reason, len(rules.rules()))
        _log(logging.INFO, changes)
        _log_findings(rules)
        return self._result(ReloadOutcome.APPLIED, reason)

    def _result(self, outcome: ReloadOutcome, reason: str, error: str = "") -> ReloadResult:
        return ReloadResult(outcome, reason, self._clock(), len(self.rules.rules()), error)


def _changes(before: DomainRules, after: DomainRules) -> Iterator[str]:
    """The rules that came, went, or grant something else."""
    was = {rule.name: rule for rule in before.rules()}
    now = {rule.name: rule for rule in after.rules()}
    for name in [*was, *(name for name in now if name not in was)]:
        if name not in now:
            yield f"- {name}"
        elif name not in was:
            yield f"+ {name}"
        elif (was[name].grants, was[name].tiers, was[name].kind) != (now[name].grants, now[name].tiers, now[name].kind):
            yield f"~ {name}"


def _log_findings(rules: DomainRules) -> None:
    _log(logging.WARNING, [str(found) for found in lint(rules) if found.severity is Severity.WARNING])


def _log(level: int, lines: Sequence[str]) -> None:
    """Log each line, but a bounded number of them."""
    for line in lines[:_MOST_LINES]:
        _LOGGER.log(level, "%s", line)
    if len(lines) > _MOST_LINES:
        _LOGGER.log(level, "and %d more, which `carbonquota limits check` tells", len(lines) - _MOST_LINES)
