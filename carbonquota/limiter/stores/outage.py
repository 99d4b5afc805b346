"""How the store is: what is wrong with it, since when, how often it was so, and the log of all that."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from threading import Lock

from carbonquota.cluster.store import StoreError

_log = logging.getLogger(__name__)


class Outage:
    """What is wrong with the store now. Safe to use from any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Nothing is; `clock` gives seconds that only grow."""
        self._clock = clock
        self._lock = Lock()
        self._last: StoreError | None = None
        self._diagnosis: StoreError | None = None
        self._kind = ""
        self._began = 0.0
        self.trouble = ""
        """One line, empty while all is well."""
        self.errors: Counter[str] = Counter()
        """How often the store could not be used, by kind."""

    def failed(self, error: StoreError) -> bool:
        """Note an error; False where it is the one that was noted last, as all who waited have the same."""
        with self._lock:
            if error is self._last:
                return False
            self._last = error
            if error.kind == "slow" and self._diagnosis is not None:
                # Why it is too late was found out before.
                error = self._diagnosis
            self._take(error)
            return True

    def diagnosed(self, error: StoreError) -> None:
        """Note what was found out about answers that did not come in time; nothing where all is well again."""
        with self._lock:
            if self.trouble:
                self._diagnosis, self._kind = error, ""
                self._take(error)

    def _take(self, error: StoreError) -> None:
        self.errors[error.kind] += 1
        if not self.trouble:
            self._began = self._clock()
        self.trouble = str(error)
        if error.kind != self._kind:
            self._kind = error.kind
            _log.warning("%s; until it can be used again, each rule does what its on_outage says", error)

    def ended(self) -> None:
        """It can be used."""
        with self._lock:
            if self.trouble:
                self.trouble, self._kind, self._last, self._diagnosis = "", "", None, None
                _log.info("the store is used again, after %.1f s", self._clock() - self._began)
