"""What a node remembers of what all namespaces held, to tell it to a store that forgot."""

from __future__ import annotations

from typing import Final

from carbonquota.cluster.claim_store import Usages

_MOST: Final = 200_000
"""Namespaces whose usage over all nodes is remembered, some 200 bytes each."""


class Recalled:
    """What all namespaces held by the store's last word, looked at in turns."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.usages: Usages = {}
        self.cursor = "0"
        self._fresh: Usages = {}

    def note(self, usages: Usages) -> None:
        """These are the latest."""
        if len(self.usages) < _MOST:
            self.usages.update(usages)
            self._fresh.update(usages)

    def go_on(self, cursor: str, usages: Usages) -> None:
        """The same, as part of a round; at its end those are forgotten that were not met."""
        self.note(usages)
        self.cursor = cursor
        if cursor == "0":
            self.usages, self._fresh = self._fresh, {}
