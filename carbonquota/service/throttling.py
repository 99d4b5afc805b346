"""One log line for each namespace and control that starts or stops dropping points, and no more however many they are.

Theory of operation. What was dropped is worked out only when asked for, so batches are looked at no more often than
every `PACE` seconds: enough to log a start at once with names, and nothing that a flood could feel. What this misses
the next report tells. A spell ends with the first whole interval without a drop, which is what reports show. Control
`""` stands for a rule with `dropping-policy = none`, whose namespace is over its quota while nothing is dropped.

Bounds: one spell for each namespace and control being throttled; `most` lines an interval, then one line for the rest.
Namespaces that are rejected before they exist may be ever-new, so looks begin no spell beyond `MOST_SEEN`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from carbonquota.controls import CONTROLS, THROUGHPUT
from carbonquota.model import ROOT, Clock, Rule
from carbonquota.service.totals import OverQuota

CREATES: Final = "creates"
"""The control that bounds new metrics a second; no rule sets it."""

CREATES_KEY: Final = "max-creates-per-second"
"""What the daemon's configuration calls its limit."""

PACE: Final = 0.1
"""Seconds between two looks at what a batch dropped."""

MOST_SEEN: Final = 1000
"""From so many spells on, only a report begins another one."""

_NOT_ENFORCED: Final = ""

_log = logging.getLogger(__name__)


LimitInForce = Callable[[int], int]
"""Gives what a throughput limit, as the file has it, comes to in an interval."""


class Dropped(Protocol):
    """The points that one namespace and control dropped from a batch: `carbonquota.controls.admission.Drop`."""

    @property
    def rule(self) -> Rule | None:
        """Whose limit it was; None for `CREATES`."""

    @property
    def samples(self) -> tuple[str, ...]:
        """A few names of metrics."""


class Dropping(Protocol):
    """The answer to a batch: `carbonquota.controls.Admission`."""

    @property
    def dropped(self) -> int:
        """How many points were dropped."""

    @property
    def drops(self) -> Mapping[tuple[str, str], Dropped]:
        """These, by namespace and control."""


@dataclass(slots=True)
class _ThrottleSpell:
    """A time of being throttled: since when, the points dropped so far, and whether no report has covered it yet."""

    since: float
    points: int = 0
    fresh: bool = True


class ThrottleLog:
    """Logs who starts and stops being throttled. Both methods are to be called on one thread."""

    def __init__(
        self,
        clock: Clock,
        *,
        creates_limit: int = 0,
        creates_key: str = CREATES_KEY,
        in_force: LimitInForce | None = None,
        logger: logging.Logger = _log,
        most: int = 100,
    ) -> None:
        """Start with nobody throttled; `creates_limit` and its key in the configuration are for lines on `CREATES`.

        `in_force` gives what a throughput limit comes to in an interval.
        """
        self._clock = clock
        self._creates_limit = creates_limit
        self._creates_key = creates_key
        self._in_force = in_force or (lambda limit: limit)
        self._logger = logger
        self._most = most
        self._spells: dict[tuple[str, str], _ThrottleSpell] = {}
        self._looked = float("-inf")
        self._lines = 0

    def note(self, admission: Dropping) -> None:
        """Look at a batch that was decided, if it dropped points and the last look is long enough ago."""
        if not admission.dropped:
            return
        now = self._clock()
        # A clock that was set back must not stop the looks.
        if 0 <= now - self._looked < PACE:
            return
        self._looked = now
        for key, drop in admission.drops.items():
            if key not in self._spells and len(self._spells) < MOST_SEEN:
                self._spells[key] = _ThrottleSpell(now)
                self._say_start(key, drop.rule, drop.samples)

    def take_report(self, tallies: Iterable[OverQuota], creates: int = 0) -> None:
        """Take in what a report found over quota since the one before, `creates` being points that `CREATES` dropped.

        Logs starts that no look has seen, and the stop of each that went on no longer.
        """
        now = self._clock()
        counted = set()
        for key, rule, points in _counts(tallies, creates):
            counted.add(key)
            if key not in self._spells:
                self._spells[key] = _ThrottleSpell(now)
                self._say_start(key, rule)
            self._spells[key].points += points
        self._end_spells(counted, now)
        self._end_interval()

    def _end_spells(self, counted: set[tuple[str, str]], now: float) -> None:
        """End those of which nothing was counted in the whole interval."""
        for key, spell in list(self._spells.items()):
            if key not in counted and not spell.fresh:
                del self._spells[key]
                self._say_stop(key, spell, now)
            # A look after the report was made may have begun a spell that only the next report can tell of.
            spell.fresh = False

    def _end_interval(self) -> None:
        """Tell how many lines were left out, and begin to count anew."""
        if self._lines > self._most:
            self._logger.warning(
                "and %d more starts or stops of throttling in this interval, not logged", self._lines - self._most
            )
        self._lines = 0

    def _say_start(self, key: tuple[str, str], rule: Rule | None, samples: Sequence[str] = ()) -> None:
        """One line on a start."""
        namespace, control = key
        such_as = f"; dropped: {', '.join(samples)}" if samples else ""
        if control == _NOT_ENFORCED:
            text = "namespace %s is over its quota, and nothing is dropped: %s, dropping-policy = none%s%s"
            self._say(logging.WARNING, text, namespace, rule, _limits(rule), such_as)
        else:
            limit = self._limit(control, rule)
            self._say(logging.WARNING, "namespace %s is throttled by %s%s", namespace, limit, such_as)

    def _say_stop(self, key: tuple[str, str], spell: _ThrottleSpell, now: float) -> None:
        """One line on a stop."""
        namespace, control = key
        seconds = max(round(now - spell.since), 0)
        if control == _NOT_ENFORCED:
            text = "namespace %s is no longer over its quota: %d points in %d s, none dropped"
            self._say(logging.INFO, text, namespace, spell.points, seconds)
        else:
            text = "namespace %s is no longer throttled by %s: %d points dropped in %d s"
            self._say(logging.INFO, text, namespace, self._key(control), spell.points, seconds)

    def _say(self, level: int, text: str, *values: object) -> None:
        """Log it, unless there were too many lines in this interval."""
        self._lines += 1
        if self._lines <= self._most:
            self._logger.log(level, text, *values)

    def _key(self, control: str) -> str:
        """What the configuration calls the limit."""
        return self._creates_key if control == CREATES else control

    def _limit(self, control: str, rule: Rule | None) -> str:
        """A limit as the file has it, and where it stands."""
        if rule is None:
            return f"{self._key(control)} = {self._creates_limit:,}"
        written = _amount(rule, control)
        in_force = self._in_force(written) if control == CONTROLS[THROUGHPUT].key else written
        per_interval = "" if in_force == written else f" ({in_force:,} in each interval)"
        return f"{control} = {written:,}{per_interval} of {rule}"


def _counts(tallies: Iterable[OverQuota], creates: int) -> Iterator[tuple[tuple[str, str], Rule | None, int]]:
    """The points of an interval by namespace and control, with the rule."""
    for tally in tallies:
        namespace, rule = tally.quota.namespace, tally.quota.rule
        for control, points in tally.dropped.items():
            yield (namespace, control), rule, points
        passed = tally.over - sum(tally.dropped.values())
        if passed > 0 and not rule.enforcing:
            yield (namespace, _NOT_ENFORCED), rule, passed
    if creates:
        yield (ROOT, CREATES), None, creates


def _amount(rule: Rule, control: str) -> int:
    """The limit that a rule sets."""
    amount: int | None = getattr(rule.limits, control.replace("-", "_"))
    return amount or 0


def _limits(rule: Rule | None) -> str:
    """All limits of a rule, each after a comma."""
    if rule is None:
        return ""
    keys = (control.key for control in CONTROLS if getattr(rule.limits, control.stat) is not None)
    return "".join(f", {key} = {_amount(rule, key):,}" for key in keys)
