"""Many names as one text, which takes no object a name: how snapshots have them and tables take them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

_END: Final = b"\n"
_STRETCH: Final = 1 << 24
"""So many bytes are looked through at a time."""

_NAMES_AT_A_TIME: Final = 4096


class JoinedNames(Sequence[bytes]):
    """Names without line feeds, each ended by one in `text`; `ends` are the places of these, int64."""

    __slots__ = ("ends", "text")

    def __init__(self, text: bytes) -> None:
        """The names of a text; what stands behind the last line feed is none."""
        self.text = text
        codes = np.frombuffer(text, np.uint8)
        places = [
            np.flatnonzero(codes[start : start + _STRETCH] == _END[0]) + start
            for start in range(0, len(codes), _STRETCH)
        ]
        self.ends: NDArray[np.int64] = np.concatenate(places) if places else np.zeros(0, np.int64)

    @classmethod
    def of(cls, names: Iterable[bytes]) -> JoinedNames:
        """These names, which may be joined already; ValueError where one has a line feed."""
        if isinstance(names, cls):
            return names
        listed = list(names)
        joined = cls(b"".join([name + _END for name in listed]))
        if len(joined) != len(listed):
            raise ValueError("a name has a line feed in it")
        return joined

    def __eq__(self, other: object) -> bool:
        """Whether the other sequence has the same names in the same order."""
        if isinstance(other, JoinedNames):
            return self.text[: self._length()] == other.text[: other._length()]
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def _length(self) -> int:
        """Where the last name's line feed ends."""
        return int(self.ends[-1]) + 1 if len(self) else 0

    def __len__(self) -> int:
        """The number of names."""
        return len(self.ends)

    @overload
    def __getitem__(self, place: int) -> bytes: ...

    @overload
    def __getitem__(self, place: slice) -> JoinedNames: ...

    def __getitem__(self, place: int | slice) -> bytes | JoinedNames:
        """One name, or those of some stretch."""
        if isinstance(place, slice):
            return JoinedNames.of(list(self)[place])
        place = range(len(self))[place]
        start = int(self.ends[place - 1]) + 1 if place else 0
        return self.text[start : int(self.ends[place])]

    def __iter__(self) -> Iterator[bytes]:
        """The names, in order."""
        start = 0
        for last in range(_NAMES_AT_A_TIME, len(self) + _NAMES_AT_A_TIME, _NAMES_AT_A_TIME):
            end = int(self.ends[min(last, len(self)) - 1])
            yield from self.text[start:end].split(_END)
            start = end + 1

    def without(self, places: Iterable[int]) -> JoinedNames:
        """All names but those at these places, which are in ascending order."""
        pieces, start = [], 0
        for place in places:
            pieces.append(self.text[start : int(self.ends[place - 1]) + 1 if place else 0])
            start = int(self.ends[place]) + 1
        pieces.append(self.text[start : self._length()])
        return JoinedNames(b"".join(pieces))

    def joined_with(self, names: Iterable[bytes]) -> JoinedNames:
        """These names and others behind them."""
        return JoinedNames(self.text[: self._length()] + JoinedNames.of(names).text)


@dataclass(frozen=True, slots=True)
class Survey:
    """What is to be known of many names before they are put into a table.

    `doubtful` has the places of those that may not be in normal form; `twice` tells whether some name is there twice.
    `namespaces` are the names' namespaces, each once, the root as an empty one, and `groups` has the place there of
    each name's, int64.
    """

    doubtful: list[int]
    twice: bool
    namespaces: list[bytes]
    groups: NDArray[np.int64]
