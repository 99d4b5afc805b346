"""What this node holds under limits that nodes of mode sync share, as versions that are told to the others.

The opposite side of run_holdings.py: each metric that comes gets the next version, and so does each that goes, so that
who missed that notices. What went lately is remembered, to be told to who missed a little; who missed more is told all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

MOST_GONE: Final = 100_000
"""So many versions that are gone are remembered."""


class VersionsPart(NamedTuple):
    """A stretch of versions: those that are present, with the digests of their metrics, and what is gone since."""

    after: int
    until: int
    versions: list[int]
    digests: list[bytes]
    gone: list[int]


class OwnHoldings:
    """Metrics by digest, each with its version."""

    def __init__(self, most_gone: int = MOST_GONE) -> None:
        """None yet; so many that are gone are remembered."""
        self.last = 0
        """The last version that was given."""
        self._version_of: dict[bytes, int] = {}
        self._at: dict[int, bytes] = {}
        self._fresh: list[int] = []
        self._gone: deque[tuple[int, int]] = deque()
        self._gone_before = 0
        self._most_gone = most_gone
        self._told = 0

    def __len__(self) -> int:
        """How many metrics there are."""
        return len(self._version_of)

    def __contains__(self, digest: bytes) -> bool:
        """Whether a metric is held."""
        return digest in self._version_of

    def digests(self) -> Iterator[bytes]:
        """All metrics."""
        return iter(self._version_of)

    def add(self, digest: bytes) -> None:
        """Hold a metric that is not held."""
        self.last += 1
        self._version_of[digest] = self.last
        self._at[self.last] = digest
        self._fresh.append(self.last)

    def remove(self, digest: bytes) -> bool:
        """Hold a metric no more; whether it was held."""
        version = self._version_of.pop(digest, None)
        if version is None:
            return False
        del self._at[version]
        self.last += 1
        self._gone.append((self.last, version))
        if len(self._gone) > self._most_gone:
            self._gone_before = self._gone.popleft()[0]
        return True

    @property
    def has_news(self) -> bool:
        """Whether something came or went since `news` was last called."""
        return self.last > self._told

    def news(self, most: int) -> Iterator[VersionsPart]:
        """What came and went since this was last called, in parts of so many metrics; one if that is nothing.

        Where more went than is remembered, it is all there is, so that what is not in it is known to be gone.
        """
        fresh, self._fresh = self._fresh, []
        told, self._told = self._told, self.last
        if told < self._gone_before:
            return self._parts(0, list(self._at), most)
        return self._parts(told, fresh, most)

    def since(self, version: int, most: int) -> Iterator[VersionsPart]:
        """All after a version, in parts, for who knows everything until then; or all there is, if that is long ago.

        Metrics may come and go before the next part is taken.
        """
        after = version if self._gone_before <= version <= self.last else 0
        return self._parts(after, [one for one in self._at if one > after], most)

    def _parts(self, after: int, versions: Sequence[int], most: int) -> Iterator[VersionsPart]:
        """A stretch from after a version until the last, in parts; those versions are left out that go meanwhile."""
        gone = deque(both for both in self._gone if after < both[0])
        return self._cut(after, versions, gone, most, self.last)

    def _cut(
        self, after: int, versions: Sequence[int], gone: deque[tuple[int, int]], most: int, end: int
    ) -> Iterator[VersionsPart]:
        """The parts of a stretch that ends with a version."""
        for start in range(0, max(len(versions), 1), most):
            some = versions[start : start + most]
            until = some[-1] if start + most < len(versions) else end
            lost = []
            while gone and gone[0][0] <= until:
                lost.append(gone.popleft()[1])
            present = [version for version in some if version in self._at]
            yield VersionsPart(after, until, present, [self._at[version] for version in present], lost)
            after = until
