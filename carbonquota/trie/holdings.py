"""What an index holds, as values that can be kept elsewhere: everything at one moment, and each change since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carbonquota.model import Size


class Change(NamedTuple):
    """One series that came, or got another size (`size`), or went (None). `name` is in normal form."""

    name: bytes
    size: Size | None


@dataclass(frozen=True, slots=True)
class Holdings:
    """Every series of an index at one moment, as parallel columns, one entry a series.

    `names` are in normal form and differ; `sizes[size_numbers[i]]` is what series i holds, int32; `seen` is when its
    last point came, uint32 in seconds since the epoch, 0 where that is not kept. `rates` are the accepted points
    of the running interval by namespace, which began at `interval_start`.
    """

    names: Sequence[bytes]
    sizes: Sequence[Size]
    size_numbers: NDArray[np.int32]
    seen: NDArray[np.uint32]
    interval_start: float = 0.0
    rates: Mapping[str, int] = field(default_factory=dict)
