"""What takes slices of prepaid limits, in the hands of a test."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from carbonquota import QuotaEngine
from carbonquota.trie.columns import Column


class GrantingStore:
    """Grants what a test says, when it says so."""

    def __init__(self, engine: QuotaEngine) -> None:
        self.spent: Column | None = np.empty(0, np.int64)
        self.asked = 0
        self._engine = engine
        self._call: Callable[[], object] = bool

    def on_answer(self, call: Callable[[], object]) -> None:
        self._call = call

    def hurry(self) -> None:
        self.asked += 1

    def grant(self, points: int) -> None:
        """Grant so many to each namespace in demand, and say so."""
        found = self._engine.counted()
        assert self._engine.grant(found.start, found.namespaces, np.full(len(found.over), points))
        self._call()

    def refuse(self) -> None:
        self.spent = self._engine.counted().namespaces.generation
        self._call()
