"""What was used when, in the same blocks of 256 customers as what is used now."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from math import inf
from typing import Final

import numpy as np
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from carbonquota.hub.storage.tables import history, history_slots, utilization
from carbonquota.hub.storage.utilization import BLOCK

_AT_ONCE: Final = 2_000
"""Blocks."""


def take_slot(connection: Connection, span: int, time: int) -> bool:
    """Whether the history of a moment is ours to write, as nobody has."""
    make = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement = make(history_slots).values(span=span, time=time).on_conflict_do_nothing()
    return connection.execute(statement.returning(history_slots.c.time)).first() is not None


def write_moment(connection: Connection, span: int, time: int, fresh_since: Mapping[int, float]) -> None:
    """Write what is stored as used now: by customer, -1 where a provider (by number) told nothing since then.

    It comes from the database and not from memory, which may not hold all customers.
    """
    result = connection.execute(select(utilization).execution_options(yield_per=_AT_ONCE))
    for some in result.partitions():
        rows = []
        for provider, control, block, packed, times, _ in some:
            fresh = np.frombuffer(times, np.float64) > max(fresh_since.get(provider, inf), 0.0)
            if fresh.any():
                amounts = np.where(fresh, np.frombuffer(packed, np.int64), -1)
                place = {"span": span, "time": time, "provider": provider, "control": control, "block": block}
                rows.append(place | {"amounts": zlib.compress(amounts.tobytes(), 1)})
        if rows:
            connection.execute(insert(history), rows)


def read_moments(
    connection: Connection, span: int, since: int, control: int, customer: int
) -> Iterator[tuple[int, int, int]]:
    """Time, provider and usage of a customer since then, in the order of time; what is not known is left out."""
    columns = history.c
    statement = (
        select(columns.time, columns.provider, columns.amounts)
        .where(
            columns.span == span,
            columns.control == control,
            columns.block == customer // BLOCK,
            columns.time >= since,
        )
        .order_by(columns.time, columns.provider)
    )
    place = customer % BLOCK
    for time, provider, packed in connection.execute(statement):
        amount = int(np.frombuffer(zlib.decompress(packed), np.int64)[place])
        if amount >= 0:
            yield time, provider, amount


def prune(connection: Connection, span: int, before: int) -> None:
    """Forget what is older."""
    for table in (history, history_slots):
        connection.execute(delete(table).where(table.c.span == span, table.c.time < before))
