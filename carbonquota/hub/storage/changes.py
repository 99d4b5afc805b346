"""What was changed since: every row that servers keep in memory bears the number of its last change."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, func, select

from carbonquota.hub.domain.controls import CONTROLS
from carbonquota.hub.domain.values import Provider
from carbonquota.hub.storage.providers import provider_of
from carbonquota.hub.storage.tables import customers, providers, quotas

_AT_ONCE: Final = 50_000
"""Rows."""

Numbers = NDArray[np.int64]


def changed_customers(connection: Connection, since: int) -> Iterator[list[tuple[int, str, bool, int]]]:
    """Number, name, whether it is gone, and change of customers changed after `since`, some at a time."""
    columns = customers.c.id, customers.c.name, customers.c.deleted, customers.c.change
    yield from _some(connection, select(*columns).where(customers.c.change > since))


def changed_providers(connection: Connection, since: int) -> Iterator[tuple[int, Provider, bool, int]]:
    """The same of providers."""
    for row in connection.execute(select(providers).where(providers.c.change > since)).mappings().all():
        yield row["id"], provider_of(row), row["deleted"], row["change"]


def changed_quotas(connection: Connection, since: int) -> Iterator[Numbers]:
    """Arrays with rows of customer, provider, change, and a limit a control, -1 for none."""
    limits = (func.coalesce(quotas.c[control], -1) for control in CONTROLS)
    statement = select(quotas.c.customer, quotas.c.provider, quotas.c.change, *limits).where(quotas.c.change > since)
    width = 3 + len(CONTROLS)
    for rows in _some(connection, statement):
        numbers = np.fromiter(chain.from_iterable(rows), np.int64, len(rows) * width)
        yield numbers.reshape(-1, width)


def _some(connection: Connection, statement: Select[Any]) -> Iterator[list[Any]]:
    """The rows, some at a time, as the driver has them: there may be millions."""
    result = connection.execute(statement)
    cursor = result.cursor
    while rows := cursor.fetchmany(_AT_ONCE):
        yield list(rows)
    result.close()
