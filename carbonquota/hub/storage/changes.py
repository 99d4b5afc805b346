"""What was changed since: every row that servers keep in memory bears the number of its last change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, Table, func, select

from carbonquota.hub.domain.controls import CONTROLS
from carbonquota.hub.domain.values import Provider
from carbonquota.hub.storage.providers import provider_of
from carbonquota.hub.storage.tables import customers, providers, quotas
from carbonquota.hub.storage.upsert import stretches

_AT_ONCE: Final = 50_000
"""Rows."""

Numbers = NDArray[np.int64]


CustomerRow = tuple[int, str, bool, int]
"""Id, name, whether it is gone, and its last change."""


def changed_customers(connection: Connection, since: int, first: int = 0) -> Iterator[list[CustomerRow]]:
    """Customers changed after `since`, those with ids from `first` on, some at a time."""
    columns = customers.c.id, customers.c.name, customers.c.deleted, customers.c.change
    statement = select(*columns).where(customers.c.change > since)
    yield from _some(connection, statement.where(customers.c.id >= first) if first else statement)


def customers_called(connection: Connection, names: Iterable[str]) -> list[tuple[int, str]]:
    """Ids and names of those that there are."""
    found: list[tuple[int, str]] = []
    columns = customers.c
    for some in stretches(sorted(set(names))):
        statement = select(columns.id, columns.name).where(columns.name.in_(some), columns.deleted.is_(False))
        found += [(number, name) for number, name in connection.execute(statement)]
    return found


def newest_customers(connection: Connection, most: int) -> int:
    """The first id of the `most` newest customers; 0 where there are not more."""
    statement = select(customers.c.id).where(customers.c.deleted.is_(False)).order_by(customers.c.id.desc())
    found = connection.execute(statement.offset(most).limit(1)).scalar()
    return 0 if found is None else int(found) + 1


def count_customers(connection: Connection) -> int:
    """How many there are."""
    statement = select(func.count()).select_from(customers).where(customers.c.deleted.is_(False))
    return int(connection.execute(statement).scalar_one())


def last_change(connection: Connection, table: Table) -> int:
    """The newest change of a table's rows."""
    return int(connection.execute(select(func.max(table.c.change))).scalar() or 0)


def changed_providers(connection: Connection, since: int) -> Iterator[tuple[int, Provider, bool, int]]:
    """The same of providers."""
    for row in connection.execute(select(providers).where(providers.c.change > since)).mappings().all():
        yield row["id"], provider_of(row), row["deleted"], row["change"]


def changed_quotas(connection: Connection, since: int, first: int = 0) -> Iterator[Numbers]:
    """Arrays with rows of customer, provider, change, and a limit a control, -1 for none."""
    statement = _quotas().where(quotas.c.change > since)
    yield from _arrays(connection, statement.where(quotas.c.customer >= first) if first else statement)


def quotas_of(connection: Connection, ids: Sequence[int]) -> Iterator[Numbers]:
    """The same of these customers."""
    for some in stretches(ids):
        yield from _arrays(connection, _quotas().where(quotas.c.customer.in_(some)))


def _quotas() -> Select[Any]:
    limits = (func.coalesce(quotas.c[control], -1) for control in CONTROLS)
    return select(quotas.c.customer, quotas.c.provider, quotas.c.change, *limits)


def _arrays(connection: Connection, statement: Select[Any]) -> Iterator[Numbers]:
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
