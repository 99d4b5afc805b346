"""Columns by provider and control, one entry a customer: all that is known of a million customers, without objects.

A column is made when something is first put into it, and its memory is taken page by page as customers get entries, so
what nobody has costs nothing. numpy is quick over whole columns and a memoryview at single entries; a grid has both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    View = memoryview[Any]
else:
    View = memoryview

Number = TypeVar("Number", bound=np.generic)

TOTAL: Final = 0
"""The provider that stands for all of them together."""

_WIDTH: Final = 8
"""More than there are controls."""


class Grid(Generic[Number]):
    """Columns of one type. An entry that was never put is 0."""

    def __init__(self, dtype: type[Number], capacity: int = 0) -> None:
        """Have room for customers with numbers below `capacity`."""
        self._dtype = dtype
        self._capacity = capacity
        self._columns: dict[int, NDArray[Number]] = {}
        self.views: dict[int, View] = {}
        """The same memory for single entries, by `key`."""

    @staticmethod
    def key(provider: int, control: int) -> int:
        """Under which a column stands in `views`."""
        return provider * _WIDTH + control

    @staticmethod
    def place(key: int) -> tuple[int, int]:
        """Provider and control of a key."""
        return divmod(key, _WIDTH)

    def reserve(self, capacity: int) -> None:
        """Have room for customers with numbers below `capacity`."""
        if capacity <= self._capacity:
            return
        self._capacity = capacity
        for key, column in list(self._columns.items()):
            longer: NDArray[Number] = np.zeros(capacity, self._dtype)
            longer[: len(column)] = column
            self._put(key, longer)

    def _put(self, key: int, column: NDArray[Number]) -> None:
        self._columns[key] = column
        self.views[key] = memoryview(column)  # type: ignore[arg-type] # numpy's types do not say that it is a buffer

    def column(self, provider: int, control: int) -> NDArray[Number]:
        """The whole column, made if need be. Do not keep it over `reserve`."""
        key = self.key(provider, control)
        if key not in self._columns:
            self._put(key, np.zeros(self._capacity, self._dtype))
        return self._columns[key]

    def has(self, provider: int, control: int) -> bool:
        """Whether something was put into a column."""
        return self.key(provider, control) in self._columns

    def get(self, provider: int, control: int, customer: int) -> Any:  # noqa: ANN401 - int or float, by the type
        """One entry."""
        view = self.views.get(self.key(provider, control))
        return 0 if view is None or customer >= len(view) else view[customer]

    def keys(self) -> Iterator[tuple[int, int]]:
        """Provider and control of the columns that there are."""
        for key in sorted(self._columns):
            yield divmod(key, _WIDTH)

    def wipe(self, customer: int) -> None:
        """Set all entries of a customer to 0."""
        for view in self.views.values():
            if customer < len(view) and view[customer]:
                view[customer] = 0

    def drop(self, provider: int) -> None:
        """Have no column of a provider any more."""
        for key in [key for key in self._columns if self.place(key)[0] == provider]:
            del self._columns[key], self.views[key]

    def clear(self) -> None:
        """Have no column any more."""
        self._columns.clear()
        self.views.clear()
