"""What names were found to mean, remembered within bounds: for speed only, as whatever is forgotten is found anew.

Theory of operation. There are two generations. What is asked for lives in the young one; when that is full it becomes
the old one, and the old one is forgotten. What is asked for in the old one moves back to the young one. So at most two
generations are kept, and of ever-new names those go that nobody asks for again. Both the number and the bytes of a
generation are bounded: a name may have 4,096 characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Meaning = TypeVar("Meaning")


@dataclass(frozen=True, slots=True)
class SpellingBounds:
    """What one generation may hold: so many names, of so many bytes together."""

    names: int
    size: int


class Spellings(Generic[Meaning]):
    """A mapping of names that forgets. For one thread at a time.

    `young` may be read directly, in an innermost loop; what is not in it must be asked for by `find`.
    """

    def __init__(self, bounds: SpellingBounds) -> None:
        """Start with nothing."""
        self.young: dict[bytes, Meaning] = {}
        self._old: dict[bytes, Meaning] = {}
        self._bounds = bounds
        self._size = 0

    def __len__(self) -> int:
        """How many names are remembered."""
        return len(self.young) + len(self._old)

    def find(self, name: bytes) -> Meaning | None:
        """What a name means, None where that is not known, or no longer."""
        found = self.young.get(name)
        if found is None and (found := self._old.pop(name, None)) is not None:
            self.remember(name, found)
        return found

    def remember(self, name: bytes, meaning: Meaning) -> None:
        """Remember what a name means, that is not remembered yet."""
        if len(self.young) >= self._bounds.names or self._size + len(name) > self._bounds.size:
            # Changed in place, as the one who reads `young` may hold on to it.
            self._old = self.young.copy()
            self.young.clear()
            self._size = 0
        self.young[name] = meaning
        self._size += len(name)
