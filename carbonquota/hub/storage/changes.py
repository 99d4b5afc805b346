"""What was changed since: every row that servers keep in memory bears the number of its last change."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, select

from carbonquota.hub.domain.controls import CONTROLS
from carbonquota.hub.domain.values import Provider
from carbonquota.hub.storage.providers import provider_of
from carbonquota.hub.storage.tables import customers, providers, quotas

_AT_ONCE: Final = 50_000
"""Rows."""

Numbers = NDArray[np.int64]


def changed_customers(connection: Connection, since: int) -> Iterator[tuple[int, str, bool, int]]:
    """Number, name, whether it is gone, and change of customers changed after `since`."""
    columns = customers.c.id, customers.c.name, customers.c.deleted, customers.c.change
    statement = select(*columns).where(customers.c.change > since)
    for rows in _some(connection, statement):
        yield from rows


def changed_providers(connection: Connection, since: int) -> Iterator[tuple[int, Provider, bool, int]]:
    """The same of providers."""
    for row in connection.execute(select(providers).where(providers.c.change > since)).mappings().all():
        yield row["id"], provider_of(row), row["deleted"], row["change"]


def changed_quotas(connection: Connection, since: int) -> Iterator[Numbers]:
    """Arrays with rows of customer, provider, change, and a limit a control, -1 for none."""
    statement = select(
        quotas.c.customer, quotas.c.provider, quotas.c.change, *(quotas.c[control] for control in CONTROLS)
    ).where(quotas.c.change > since)
    for rows in _some(connection, statement):
        flat = chain.from_iterable(rows)
        numbers = np.fromiter((-1 if number is None else number for number in flat), np.int64)
        yield numbers.reshape(-1, 3 + len(CONTROLS))


def _some(connection: Connection, statement: Select[Any]) -> Iterator[list[Any]]:
    """The rows, some at a time."""
    result = connection.execute(statement.execution_options(yield_per=_AT_ONCE))
    for rows in result.partitions():
        yield list(rows)
