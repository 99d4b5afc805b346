"""What is known of the usage of many customers at once, as columns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Usages:
    """What a provider knows of customers for one control: by position the customer, the amount, and since when.

    Customers stand by their ids, as in the database, or, once they are in the book, by their numbers there.
    """

    provider: int
    control: int
    customers: Numbers
    amounts: Numbers
    times: Times

    def of(self, customers: Numbers) -> Usages:
        """Those of some customers alone."""
        there = np.isin(self.customers, customers)
        return replace(self, customers=self.customers[there], amounts=self.amounts[there], times=self.times[there])
