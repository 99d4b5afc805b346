"""Lines of the plaintext protocol, as what a gate decides on: for a host whose batches are buffers of lines."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from carbonquota.controls import Admission
from carbonquota.controls.capacity_limits import RefusedMetric
from carbonquota.kernel import PointList
from carbonquota.metric_name import DEEPEST, normalize

Decide = Callable[[bytes, Callable[[], Admission]], Admission | None]
"""Has lines decided by a function, and what is accepted written; None where a bug kept it from that."""

_PLAIN: Final = string.ascii_letters.encode() + string.digits.encode() + b"_-:.\n"
"""What names of the plain kind are made of, and what stands between them."""

_ODD: Final = (b"..", b".\n", b"\n.", b"\n\n")
"""What stands in none of them: dots that no normal name has, and nothing at all."""


class LineEngine(Protocol):
    """What is asked of the engine; see `QuotaEngine`."""

    def admit(self, buffer: bytes | PointList) -> Admission:
        """Decide lines, or points, and hold new metrics back."""

    def admit_new(self, buffer: bytes) -> Admission:
        """Decide lines that were held back."""

    def refuse(self, lines: Sequence[bytes], refused: Sequence[RefusedMetric]) -> Admission:
        """Drop lines that were held back."""


class LineHolder(Protocol):
    """Who has lines of new metrics wait; see `Gate`."""

    def hold_back(self, items: Sequence[bytes]) -> None:
        """Have these wait."""


class LineBatches:
    """Lines, each with its end."""

    def __init__(self, engine: LineEngine, decide: Decide) -> None:
        """The engine must hold new metrics back."""
        self._engine = engine
        self._decide = decide

    def admit(self, buffer: bytes | PointList, holder: LineHolder) -> Admission:
        """Decide lines, or points, of known metrics; others are decided later, as lines."""
        admission = self._engine.admit(buffer)
        lines = admission.take_new()
        if lines:
            holder.hold_back(lines)
        return admission

    def names(self, items: Sequence[bytes]) -> list[str]:
        """The normal names of the metrics of well-formed lines."""
        return names_of(items)

    def size(self, items: Sequence[bytes]) -> int:
        """Their length."""
        return sum(map(len, items))

    def admit_new(self, items: Sequence[bytes]) -> Admission | None:
        """Decide lines by what is known here."""
        joined = b"".join(items)
        return self._decide(joined, partial(self._engine.admit_new, joined))

    def refuse(self, items: Sequence[bytes], refused: Sequence[RefusedMetric]) -> None:
        """Drop lines."""
        self._decide(b"".join(items), partial(self._engine.refuse, items, refused))


def names_of(lines: Sequence[bytes]) -> list[str]:
    """The normal names of the metrics of well-formed lines."""
    return normal_names([line.split(maxsplit=1)[0] for line in lines])


def normal_names(spelled: Sequence[bytes]) -> list[str]:
    """The normal names of metrics, all of which can be one."""
    joined = b"\n" + b"\n".join(spelled) + b"\n"
    # Nearly all names are plain ones in their normal form; to prove it of all at once takes a tenth of the time.
    if (
        max(map(len, spelled), default=0) < DEEPEST
        and not joined.translate(None, _PLAIN)
        and not any(map(joined.__contains__, _ODD))
    ):
        return joined[1:-1].decode().split("\n")
    return list(map(normalize, spelled))
