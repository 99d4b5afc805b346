"""Searches by Python's `re` under a limit of time, so that no name and no pattern can hold up the program.

Theory of operation. `re` goes back and forth in a name, for hours where pattern and name are made for it, and holds the
interpreter's lock meanwhile: no thread would help. So names are searched in another process, which is given a budget
of processor time with each request and stops itself when it is used up. A process that does not even do that is killed.

Each pattern has a budget of its own. An ordinary search is for free; what goes beyond that is taken from the budget,
which fills up again slowly. So one name that costs too much and many that cost a little are bounded alike. A pattern
that has used up its budget is set aside: it counts as found in no name, until the files have it no more. Processor time
is measured rather than time, for a busy machine must not set aside a good pattern. Those who ask wait for half of the
time at most, whatever the number of patterns; names that are not answered by then count as not matched, they alone.
Who makes files waits for the answer, as a file keeps its retentions for good.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from time import monotonic
from typing import Final

from carbonquota.rules.expressions import HAS_RE2, WITHOUT_RE2, Expression
from carbonquota.service.bounded_log import BoundedLog
from carbonquota.service.health import HealthSample
from carbonquota.service.patterns.helper import Helper, SilentError

_log = logging.getLogger(__name__)

BUDGET: Final = 0.1
"""Seconds of processor time that a pattern may use beyond what is free."""
_REFILL: Final = 0.05
"""Seconds that its budget gains each second."""
_FREE: Final = 0.0001
"""Seconds of a search that are not taken from the budget."""
_TIMEOUT: Final = 0.6
"""Seconds that those who ask wait at a stretch at most."""
_GAIN: Final = 0.2
"""Seconds of waiting that come back each second: so much of the time new metrics may hold up all others."""
_FOR_FILES: Final = 30.0
"""Seconds that are waited where a file is to be made by the answer: no search takes so long."""
_LEAST: Final = 0.2
"""With less time than that nothing is asked: it would hardly be answered."""
_MOST_CHARACTERS: Final = 8_000
"""The names of one request: they must fit into a pipe, escaped."""


class PatternGuard:
    """A `Search` for patterns that may take long. From any thread; one searches, and the others wait."""

    def __init__(self) -> None:
        """Nothing is begun before it is needed."""
        self._helper = Helper()
        self._lock = Lock()
        self._budgets: dict[str, _Refilled] = {}
        self._aside: dict[str, str] = {}
        self._unanswered = 0
        self._time = _Refilled(_TIMEOUT, _GAIN)
        self._bounded = BoundedLog(_log, monotonic)

    def __call__(self, pattern: re.Pattern[str], names: Sequence[str]) -> Sequence[bool]:
        """Whether the pattern is found in each of the names; within half a second, whatever they cost."""
        begun, time_left = monotonic(), self._time.left
        # While one asks for a file, the others wait for no longer than they would for their own answer.
        if time_left < _LEAST or not self._lock.acquire(timeout=time_left):
            if pattern.pattern not in self._aside:
                self._count_unanswered(pattern.pattern, len(names))
            return [False] * len(names)
        try:
            return self._search_all(pattern, names, begun + time_left)
        finally:
            self._time.take(monotonic() - begun)
            self._lock.release()

    def search_for_files(self, pattern: re.Pattern[str], names: Sequence[str]) -> Sequence[bool]:
        """The same for a thread that may wait: only a pattern that is set aside has no answer."""
        with self._lock:
            return self._search_all(pattern, names, monotonic() + _FOR_FILES)

    def _search_all(self, pattern: re.Pattern[str], names: Sequence[str], until: float) -> Sequence[bool]:
        """Search in requests, as far as the pattern is not set aside."""
        found: list[bool] = []
        for request in _requests(names):
            if pattern.pattern not in self._aside:
                found += self._search(pattern, request, until)
        return found + [False] * (len(names) - len(found))

    def use(self, expressions: Iterable[Expression]) -> None:
        """These are in force: begin the helper if any needs it, and forget what was set aside and is gone."""
        needed = {one.text for one in expressions if one.re is not None and one.costly is not None}
        with self._lock:
            self._budgets = {text: budget for text, budget in self._budgets.items() if text in needed}
            self._aside = {text: trouble for text, trouble in self._aside.items() if text in needed}
            if needed:
                self._begin()
        if needed and not HAS_RE2:
            _log.warning("%s, and so in a process of their own; install google-re2", WITHOUT_RE2)

    def close(self) -> None:
        """End the helper."""
        with self._lock:
            self._helper.end()

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why new metrics may not get the sizes that the files mean, one line a pattern."""
        return tuple(self._aside.copy().values())

    def health(self) -> Iterator[HealthSample]:
        """How many patterns are set aside, and how many searches had no answer."""
        yield HealthSample("patterns_aside", len(self._aside))
        yield HealthSample("pattern_timeouts", self._unanswered)

    def _search(self, pattern: re.Pattern[str], names: Sequence[str], until: float) -> list[bool]:
        """One request; shorter than the names where the pattern is set aside on the way."""
        text = pattern.pattern
        budget = self._budgets.setdefault(text, _Refilled(BUDGET, _REFILL))
        left = budget.left
        free = _FREE * len(names)
        try:
            found, spent = self._helper.ask(text, pattern.flags, names, left + free, until)
            is_late = len(found) < len(names)
        except SilentError as error:
            found, spent = [], error.spent
            is_late = spent >= left + free
            self._begin()
        budget.take(max(spent - free, 0.0))
        if is_late:
            self._set_aside(text, names[len(found)] if found or len(names) == 1 else "")
        elif not found:
            self._count_unanswered(text, len(names))
            found = [False] * len(names)
        return found

    def _set_aside(self, text: str, name: str) -> None:
        """Use the pattern no more."""
        at = f" at the metric {name[:100]!r}" if name else ""
        _log.error(
            "pattern = %s: took more than %g s of processor time%s and is set aside: it counts as found in no metric "
            "until the file has another; `carbonquota check` shows its costly part", text, BUDGET, at)  # fmt: skip
        self._aside[text] = f"pattern = {text} took too long and is set aside: mend it and reload"

    def _count_unanswered(self, text: str, names: int) -> None:
        self._unanswered += names
        self._bounded.warning(text, "pattern = %s: no answer in %g s, so %d new metrics follow the next pattern that "
                              "matches", text, _TIMEOUT, names)  # fmt: skip

    def _begin(self) -> None:
        """Have a helper running."""
        try:
            self._helper.begin()
        except OSError as error:
            self._bounded.warning("helper", "cannot begin a process to match patterns in: %s", error.strerror or error)


class _Refilled:
    """An amount that is taken from, and grows by so much a second up to its start."""

    __slots__ = ("_at", "_growth", "_left", "_most")

    def __init__(self, most: float, growth: float) -> None:
        self._most, self._growth = most, growth
        self._left, self._at = most, monotonic()

    @property
    def left(self) -> float:
        """What is left now, from 0 on."""
        return max(min(self._left + (monotonic() - self._at) * self._growth, self._most), 0.0)

    def take(self, amount: float) -> None:
        """Take so much, if it is there."""
        self._left, self._at = self.left - amount, monotonic()


def _requests(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """The names in pieces that fit into a request."""
    start, characters = 0, 0
    for place, name in enumerate(names):
        if characters and characters + len(name) > _MOST_CHARACTERS:
            yield names[start:place]
            start, characters = place, 0
        characters += len(name) + 4
    if names:
        yield names[start:]
