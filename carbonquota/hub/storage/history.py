"""What was used when, in the same blocks of 256 customers as what is used now."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from carbonquota.hub.storage.tables import history, history_slots
from carbonquota.hub.storage.utilization import BLOCK

Numbers = NDArray[np.int64]


def take_slot(connection: Connection, span: int, time: int) -> bool:
    """Whether the history of a moment is ours to write, as nobody has."""
    make = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement = make(history_slots).values(span=span, time=time).on_conflict_do_nothing()
    return connection.execute(statement.returning(history_slots.c.time)).first() is not None


def write_moment(connection: Connection, span: int, time: int, provider: int, control: int, amounts: Numbers) -> None:
    """Write all that a provider knows at a moment: by customer, -1 for not known."""
    padded = np.full(-(-len(amounts) // BLOCK) * BLOCK, -1, np.int64)
    padded[: len(amounts)] = amounts
    table = padded.reshape(-1, BLOCK)
    known = np.flatnonzero((table >= 0).any(axis=1)).tolist()
    place = {"span": span, "time": time, "provider": provider, "control": control}
    rows = [place | {"block": block, "amounts": zlib.compress(table[block].tobytes(), 1)} for block in known]
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
