"""How all namespaces under rules stand, asked of the engine so seldom that traffic does not feel it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from time import monotonic
from typing import Final

from carbonquota.controls import NamespaceQuota

_SHARE: Final = 10
"""An answer is given again for so many times as long as it took to make."""


class Standings:
    """The quotas of an engine, which decides nothing while it lists them: at most a tenth of its time goes into that.

    With a thousand quotas an answer is milliseconds old at most, with a hundred thousand some seconds, however many
    tables are watched. May be used from any thread.
    """

    def __init__(self, quotas: Callable[[], Sequence[NamespaceQuota]], clock: Callable[[], float] = monotonic) -> None:
        """Ask `quotas`; `clock` gives seconds that never go back."""
        self._ask = quotas
        self._clock = clock
        self._lock = Lock()
        self._quotas: Sequence[NamespaceQuota] = ()
        self._good_until = -1.0

    def quotas(self) -> Sequence[NamespaceQuota]:
        """All of them, the root first, then by name."""
        with self._lock:
            begun = self._clock()
            if begun >= self._good_until:
                self._quotas = self._ask()
                ended = self._clock()
                self._good_until = ended + _SHARE * (ended - begun)
            return self._quotas
