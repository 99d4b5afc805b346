"""What is known of the usage of many customers at once, as columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Usages:
    """What a provider knows of customers for one control: by position the customer, the amount, and since when."""

    provider: int
    control: int
    customers: Numbers
    amounts: Numbers
    times: Times
